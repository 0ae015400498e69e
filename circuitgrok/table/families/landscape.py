"""Columns that look at the loss around the weights: the Hessian's spectrum, the learning coefficient.

L is the mean training loss without decay and penalties, h its Hessian's eigenvalues.
"""

from circuitgrok.table.family import ANY, NOT_NEGATIVE, NOT_POSITIVE, SHARE, Family

_ALONG = "landscape/hessian_along.py"
_LLC, _NOISE = "landscape/llc.py", "landscape/noise_rise.py"
_DIAGNOSTICS = "samplers/diagnostics.py"
_LAU = "arXiv:2308.12108"
_MADDOX = "arXiv:2003.02139"
_VEHTARI = "arXiv:1903.08008"

HESSIAN = (
    Family(
        "curvature_radial",
        "uᵀHu along the ray, u = w / r: how fast the slope along it changes with the norm.",
        "nats/weights²", ANY, "here", ("hessian",), "landscape/polar_hessian.py",
    ),
    Family(
        "curvature_mixed",
        "|(1 − uuᵀ)Hu|: how fast the slope across the ray changes with the norm.",
        "nats/weights²", NOT_NEGATIVE, "here", ("hessian",), "landscape/polar_hessian.py",
    ),
    Family(
        "sharpness",
        "Largest eigenvalue; above 3000 weights that of Lanczos, which comes from below.",
        "nats/weights²", ANY, "arXiv:1901.10159", ("hessian",), _ALONG,
    ),
    Family(
        "hessian_trace",
        "Sum of the eigenvalues; above 3000 weights from random probes.",
        "nats/weights²", ANY, "arXiv:1901.10159", ("hessian",), _ALONG,
    ),
    Family(
        "hessian_trace_se",
        "Its standard error over the probes; 0 where all eigenvalues are computed.",
        "nats/weights²", NOT_NEGATIVE, "here", ("hessian",), _ALONG,
    ),
    Family(
        "negative_mass",
        "Sum of |h| over eigenvalues h < 0 as a share of the sum of all |h|.",
        "1", SHARE, "here", ("hessian",), _ALONG,
    ),
    Family(
        "negative_mass_se",
        "Its standard error, of probes and quadrature.",
        "1", NOT_NEGATIVE, "here", ("hessian",), _ALONG,
    ),
    Family(
        "effective_dimension[z]",
        "N_eff(z), the sum of h/(h + z) over eigenvalues h > 0: how many directions are curved by more than z.",
        "1", NOT_NEGATIVE, _MADDOX, ("hessian",), _ALONG,
    ),
    Family(
        "effective_dimension_se[z]",
        "Its standard error, of probes and quadrature; 0 where all eigenvalues are computed.",
        "1", NOT_NEGATIVE, "here", ("hessian",), _ALONG,
    ),
    Family(
        "effective_dimension_low[z]",
        "Proved lower bound of the quadrature for these probes.",
        "1", NOT_NEGATIVE, "here", ("hessian",), "landscape/positive_part.py",
    ),
    Family(
        "effective_dimension_high[z]",
        "Proved upper bound of the quadrature for these probes.",
        "1", NOT_NEGATIVE, "here", ("hessian",), "landscape/positive_part.py",
    ),
    Family(
        "effective_dimension_converged[z]",
        "1 where the quadrature's part of the error, a sixth of the way between the bounds, is at most 5 % of the "
        "value, else 0.",
        "1", SHARE, "here", ("hessian",), _ALONG,
    ),
)  # fmt: skip

COEFFICIENT = (
    Family(
        "llc",
        "Local learning coefficient λ̂ = nβ (E[L(w)] − L(w*)), w from exp(−nβ L(w) − (γ/2)‖w − w*‖²) around the "
        "checkpoint w*.",
        "1", ANY, f"{_LAU}, 4", ("llc",), _LLC,
    ),
    Family("llc_mcse", "Monte Carlo standard error of λ̂.", "1", NOT_NEGATIVE, _VEHTARI, ("llc",), _DIAGNOSTICS),
    Family(
        "llc_r_hat",
        "R̂ of the chains' losses, rank-normalised and split: near 1 where they agree.",
        "1", NOT_NEGATIVE, f"{_VEHTARI}, 4", ("llc",), _DIAGNOSTICS,
    ),
    Family(
        "llc_ess_bulk",
        "Effective sample size of the losses, in the bulk.",
        "draws", NOT_NEGATIVE, f"{_VEHTARI}, 4", ("llc",), _DIAGNOSTICS,
    ),
    Family(
        "llc_ess_tail",
        "The smaller effective sample size of their 5 % and 95 % quantiles.",
        "draws", NOT_NEGATIVE, f"{_VEHTARI}, 4", ("llc",), _DIAGNOSTICS,
    ),
    Family(
        "llc_drift",
        "Mean loss of the first fifth of the draws less that of the last half.",
        "standard errors", ANY, "Geweke 1992", ("llc",), _DIAGNOSTICS,
    ),
    Family(
        "llc_n_burnin",
        "Draws of each chain that were left out in front.",
        "draws", NOT_NEGATIVE, "White 1997", ("llc",), _DIAGNOSTICS,
    ),
    Family("llc_init_loss", "L(w*), on the pairs that were sampled on.", "nats", NOT_NEGATIVE, _LAU, ("llc",), _LLC),
    Family("llc_mean_loss", "E[L(w)] over the draws that are left.", "nats", NOT_NEGATIVE, _LAU, ("llc",), _LLC),
    Family(
        "llc_acceptance",
        "Mean probability of accepting a step, tested (mala, hmc) or not (sgld); nan for other samplers.",
        "1", SHARE, "here", ("llc",), "samplers/sample.py",
    ),
    Family(
        "llc_curvature",
        "Largest curvature of the sampled loss in the moving weights, from differences of gradients: of ReLU networks "
        "also what neurons that switch on the way add (1.4 and 1.6 times `sharpness` in the reference run).",
        "nats/weights²", ANY, "here", ("llc",), "landscape/curvature.py",
    ),
    Family(
        "llc_spread",
        "E[∇U·(w − w*)]/d, corrected for the step: share of directions that the chains have spread along, 1 where they "
        "are stationary; nan on a sphere.",
        "1", ANY, "here", ("llc",), "samplers/spread.py",
    ),
    Family("llc_spread_se", "Its Monte Carlo standard error.", "1", NOT_NEGATIVE, _VEHTARI, ("llc",), _DIAGNOSTICS),
    Family(
        "llc_slope_shift",
        "What the slope of the loss at w* adds to λ̂; 0 at a critical point.",
        "1", NOT_POSITIVE, "here", ("llc",), _LLC,
    ),
    Family(
        "llc_displacement",
        "How far the draws are from w*, root mean square per weight.",
        "weights", NOT_NEGATIVE, "here", ("llc",), _LLC,
    ),
    Family(
        "llc_window",
        "That displacement over the root mean square of the weights at w*: above 0.1 the estimate is not local.",
        "1", NOT_NEGATIVE, "here", ("llc",), _LLC,
    ),
    Family(
        "llc_prior",
        "Prior-only λ̂, of chains that do not see the loss: nβ (E[L] − L(w*)) under noise of width 1/√γ; never below λ̂.",
        "1", ANY, "here", ("llc",), _NOISE,
    ),
    Family("llc_prior_se", "Its Monte Carlo standard error.", "1", NOT_NEGATIVE, "here", ("llc",), _NOISE),
    Family(
        "llc_noise",
        "nβ (E[L] − L(w*)) under Gaussian noise as wide as `llc_displacement`: robustness to noise in the unit of λ̂.",
        "1", ANY, "here", ("llc",), _NOISE,
    ),
    Family("llc_noise_se", "Its Monte Carlo standard error.", "1", NOT_NEGATIVE, "here", ("llc",), _NOISE),
    Family(
        "llc_status",
        "`diagnostics_passed`, `one_chain`, `not_a_critical_point`, `not_converged` or `diverged`.",
        "text", ANY, "here", ("llc",), _LLC,
    ),
    Family(
        "llc_faults",
        "Which rules the estimate breaks, each with its number; empty if none.",
        "text", ANY, "here", ("llc",), _DIAGNOSTICS,
    ),
)  # fmt: skip

FAMILIES: tuple[Family, ...] = HESSIAN + COEFFICIENT
