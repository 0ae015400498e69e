"""Rows on samplers, spectra and paths, where the answer is known: seconds, and no file."""

import math
from functools import cache

import torch
from published.exact import AOYAGI
from published.given import EXACT, Given, Rows
from torch import Tensor

from circuitgrok.exact.deep_linear import DeepLinear
from circuitgrok.exact.potentials import POTENTIALS, localized_llc, thermodynamic_llc
from circuitgrok.landscape.lanczos import spectral_density, spectral_sum
from circuitgrok.landscape.llc import estimate_llc
from circuitgrok.landscape.potential_loss import differentiated, stiffness
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.polar.trajectory import random_walk_ratios, trajectory_pca
from circuitgrok.samplers.target import LossGrad
from circuitgrok.study.sheet import Got, Row, about, at_most, got

WATANABE = "Watanabe 2009, Algebraic Geometry and Statistical Learning Theory"
LANDSCAPES = ["x^2", "x^4", "x^2 + y^2", "x^2 y^2", "min(x^2, y^2)", "x^2 y^4", "x^4 y^4"]
NBETAS, PULL = (100.0, 1000.0), 10.0
CURVATURES, NBETA, GAMMA, STEP = torch.tensor([2.0, 0.5, 0.01], dtype=torch.float64), 50.0, 5.0, 0.02
PULLS = NBETA * CURVATURES + GAMMA
IDEAL = (NBETA * CURVATURES / PULLS).sum().item() / 2
BIASED = (NBETA * CURVATURES / PULLS / (1 - STEP * PULLS / 4)).sum().item() / 2


def on_potentials(given: Given) -> Got:
    """Share of potentials and temperatures at which MALA is within .03 or three standard errors of the exact value."""
    near, far = [], []
    for name in LANDSCAPES:
        for nbeta in NBETAS:
            potential = POTENTIALS[name]
            exact = localized_llc(potential, nbeta, localization=PULL)
            step = 1 / stiffness(potential, nbeta, PULL)
            how = Sampling(
                sampler="mala", step_size=step, localization=PULL, nbeta=nbeta, n_chains=32, n_thin=5,
                n_draws=20 if given.quick else 120,
            )  # fmt: skip
            origin = torch.zeros(1, potential.dim, dtype=torch.float64)
            found = estimate_llc(differentiated(potential), origin, 1000, how)
            off = abs(found.llc.item() - exact)
            near.append(off <= max(0.03, 3 * found.mcse.item()))
            far += [] if near[-1] else [f"{name} at {nbeta:g}: {found.llc.item():.3f}, exact {exact:.3f}"]
    return got(sum(near) / len(near), f"{sum(near)} of {len(near)}{': not ' * bool(far)}{'; '.join(far)}")


def hidden_quartic(given: Given) -> Got:
    """nbeta E[K] of x^2 + y^4 at nbeta = 10^6, where half of the Hessian's rank is .5."""
    return got(thermodynamic_llc(POTENTIALS["x^2 + y^4"], 1e6), "half of the Hessian's rank: 0.5")


def deep_linear_sampled(given: Given) -> Got:
    """Lambda-hat by HMC at a most singular point of 5-3-5, rank 0."""
    network = DeepLinear((5, 3, 5), 0)
    how = Sampling(
        sampler="hmc", step_size=3e-5, localization=1.0, nbeta=1e4, n_leapfrog=40,
        n_draws=16 if given.quick else 100, n_chains=8,
    )  # fmt: skip
    found = estimate_llc(lambda w: LossGrad(*network.loss(w)), network.point[None], 1000, how)
    return got(found.llc.item(), f"Monte Carlo error {found.mcse.item():.2f}, {found.status[0]}")


def quadratic(w: Tensor) -> LossGrad:
    """A quadratic loss of known curvatures."""
    return LossGrad((CURVATURES * w.square()).sum(-1) / 2, CURVATURES * w)


@cache
def on_quadratic(sampler: str, n_draws: int) -> Got:
    """Lambda-hat of a quadratic, in standard errors from what theory gives for this sampler and step."""
    how = Sampling.model_validate({
        "sampler": sampler, "step_size": STEP, "localization": GAMMA, "nbeta": NBETA, "n_chains": 64,
        "n_draws": n_draws, "n_burnin": n_draws // 5, "n_thin": 10,
    })  # fmt: skip
    found = estimate_llc(quadratic, torch.zeros(1, 3, dtype=torch.float64), 1000, how)
    expected = BIASED if sampler == "sgld" else IDEAL
    off = (found.llc.item() - expected) / found.mcse.item()
    return got(abs(off), f"{found.llc.item():.4f} ± {found.mcse.item():.4f}, expected {expected:.4f}")


def draws(given: Given) -> int:
    """Of a chain on the quadratic."""
    return 50 if given.quick else 200


@cache
def walk(quick: bool) -> Tensor:
    """Shares of the variance of a random walk of 500 steps that its principal components explain."""
    steps = torch.randn(500, 2000 if quick else 20_000, generator=torch.Generator().manual_seed(0))
    path = {"embed.W_E": steps.cumsum(0)[:, None].double()}
    return trajectory_pca(path, torch.arange(500))["global"].explained


def walk_is_off(given: Given) -> Got:
    """Largest relative difference of the first four to 6 / (pi k)^2."""
    found = walk(given.quick)[:4]
    law = 6 / (math.pi * torch.arange(1, 5)) ** 2
    said = ", ".join(f"{x:.4f}" for x in found.tolist())
    exact = ", ".join(f"{x:.4f}" for x in random_walk_ratios(torch.ones(499))[:4].tolist())
    return got((found / law - 1).abs().max().item(), f"{said}; exact for 500 points {exact}")


def lanczos_is_off(given: Given) -> Got:
    """Largest relative error of N_eff(z) by Lanczos quadrature on a planted spectrum, z from 1e-3 of the largest on."""
    dim, n_steps, n_probes = 3000, 80, 20
    values = 1 / torch.arange(1, dim + 1, dtype=torch.float64)
    found = spectral_density(
        lambda rows: rows * values, dim, n_steps=n_steps, n_probes=n_probes, generator=torch.Generator().manual_seed(1)
    )
    errors = []
    for z in (1e-3, 1e-2, 1e-1):
        exact = (values / (values + z)).sum().item()
        errors.append(abs(spectral_sum(found, lambda x, z=z: x / (x + z)).value.item() / exact - 1))
    by_z = ", ".join(f"{error:.2%}" for error in errors)
    return got(max(errors), f"{dim} eigenvalues 1/i, {n_steps} nodes, {n_probes} probes; by z {by_z}")


def rows() -> Rows:
    """All of them."""
    law = "no public number: Langevin at a finite step on a quadratic; Lau et al. 2023, arXiv:2308.12108"
    return [
        Row("A2 MALA", f"share of {len(LANDSCAPES)} potentials × nβ 100, 1000 within .03 or 3 errors of exact",
            f"{WATANABE}; Lau et al. 2023, arXiv:2308.12108", "1", about(1, 0, EXACT), on_potentials),
        Row("A2 x²+y⁴", "nβ E[K] at nβ = 10⁶: what no Hessian sees", WATANABE, "λ = 3/4",
            about(0.75, 1e-3, "nβ^(−1/2)"), hidden_quartic),
        Row("A2 5-3-5", "λ̂ by HMC at nβ = 10⁴", f"{AOYAGI}; Furman and Lau 2024, arXiv:2402.03698", "6.5 in the limit",
            about(6.5, 0.65, "a tenth"), deep_linear_sampled),
        Row("A2 quadratic", "MALA on a quadratic: λ̂ = ½ N_eff(γ/nβ), in standard errors off", law, f"0 ({IDEAL:.4f})",
            at_most(4, "4 sd"), lambda given: on_quadratic("mala", draws(given))),
        Row("A2 SGLD's bias", "SGLD at ε = .02 on it: its bias, in standard errors off", law, f"0 ({BIASED:.4f})",
            at_most(4, "4 sd"), lambda given: on_quadratic("sgld", draws(given))),
        Row("A18 walk", "a random walk's first four PCA shares off 6/(πk)²",
            "Antognini and Sohl-Dickstein 2018, arXiv:1806.08805, theorem 1", "0.608, 0.152, 0.068, 0.038",
            at_most(0.03, "√(2/d) and 500 points"), walk_is_off),
        Row("A18 Lanczos", "N_eff(z) by quadrature off the sum over a known spectrum, z ≥ 10⁻³ of the largest",
            "Maddox et al. 2020, arXiv:2003.02139; Ubaru, Chen and Saad 2017", "0",
            at_most(0.02, "the quadrature's rate, and probes"), lanczos_is_off),
    ]  # fmt: skip
