"""Whether chains may be believed: burn-in, R-hat, effective sample size, error of the mean, drift.

A trace is one number per chain and draw, such as the loss. Everything here takes a stack of them,
`[*stack, chain, draw]`, and answers for each entry of the stack: one sampler run covers many checkpoints.

None of this can see an error that all chains share from their first draw to their last: an unadjusted
sampler with too large a step converges, to the wrong law. Nor does a chain that diverged have an estimate:
it is never averaged with the others, and the mean is nan.

Source: Vehtari et al. 2021 (arXiv:1903.08008) for R-hat, effective sample sizes and the error of the mean;
White 1997 (Simulation 69) for the burn-in; Geweke 1992 for the drift.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Vehtari et al. 2021 ask for 1.01 and 400 before intervals are read off. A mean with its own error bar needs less.
R_HAT_MOST = 1.05
ESS_LEAST = 100.0
DRIFT_MOST = 4.0  # standard errors
DRAWS_LEAST = 20  # the first fifth of them must have the 4 draws that halves of chains need
FIRST, LAST = 0.2, 0.5  # shares of the draws whose means are compared; Geweke takes 0.1 and 0.5

Status = Literal["diagnostics_passed", "one_chain", "not_converged", "diverged"]
ONE_CHAIN = "one chain: whether others would agree with it (R-hat) cannot be known"


class Diagnosis(NamedTuple):
    """What the draws after burn-in say, for each entry of a stack of traces.

    The middle five are nan if a chain diverged or is stuck, or if there are fewer than `DRAWS_LEAST` draws.
    """

    mean: Float[Tensor, "*stack"]  # over chains and draws; nan if a chain diverged
    r_hat: Float[Tensor, "*stack"]  # rank-normalised, split, the larger of bulk and folded; nan for one chain
    ess_bulk: Float[Tensor, "*stack"]  # independent draws worth, in the bulk
    ess_tail: Float[Tensor, "*stack"]  # the smaller of those for the 5 % and the 95 % quantile
    mcse: Float[Tensor, "*stack"]  # standard error of the mean, autocorrelation accounted for
    drift: Float[Tensor, "*stack"]  # mean of the first fifth less that of the last half, in standard errors
    n_burnin: Int[Tensor, "*stack"]  # draws left out in front
    n_draws: Int[Tensor, "*stack"]  # draws left, per chain
    n_diverged: Int[Tensor, "*stack"]  # chains with a number that is not finite anywhere, burn-in included
    n_stuck: Int[Tensor, "*stack"]  # chains that are one constant after burn-in

    def at(self, *entry: int) -> "Diagnosis":
        """That of one entry of the stack."""
        return Diagnosis(*(field[entry] for field in self))


def burn_in(traces: Float[Tensor, "*stack chain draw"]) -> Int[Tensor, "*stack"]:
    """How many draws to leave out in front, so that the mean of the others has the smallest standard error.

    With y the mean over chains, the cut d minimises

        sum_{t >= d} (y_t - mean of y from d on)^2 / (n - d)^2,   d <= n / 2.

    A transient of b standard deviations of y is cut while b > 1, where what it adds to the spread outweighs
    one draw. A stationary trace loses the odd few draws (0.9 in the mean, if they are independent).

    Args:
        traces: One number per chain and draw; an entry with one that is not finite is not cut.

    Returns:
        0..n // 2. At the upper end the transient may well go on: the drift will tell.

    Raises:
        ValueError: No chain or no draw.

    Example:
        >>> settling = torch.cat([torch.full((4, 10), 50.0), torch.tensor([1.0, -1.0]).repeat(4, 100)], dim=1)
        >>> burn_in(settling)
        tensor(10)

    Source: White 1997, the marginal standard error rule (MSER), on the mean of the chains.
    """
    n = _checked(traces).shape[-1]
    path = traces.double().mean(-2)
    path = path - path[..., -1:]  # so that a large common level does not cancel in what follows
    remaining = torch.arange(n, 0, -1, device=traces.device)
    total, squares = (part.flip(-1).cumsum(-1).flip(-1) for part in (path, path.square()))
    squared_error = (squares - total.square() / remaining) / remaining.square()
    return squared_error[..., : n // 2 + 1].argmin(-1)  # the first of equals, and of those that are nan


def diagnose(traces: Float[Tensor, "*stack chain draw"], *, n_burnin: Int[Tensor, "*stack"] | None = None) -> Diagnosis:
    """The diagnosis of each entry of a stack of traces.

    Args:
        traces: One number per chain and draw.
        n_burnin: Draws to leave out in front of each entry; `burn_in(traces)` unless given.

    Raises:
        ValueError: No chain or no draw, or `n_burnin` is not one number in 0..n - 1 for each entry.

    Example:
        >>> noise = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> diagnosis = diagnose(noise)
        >>> status(diagnosis), round(diagnosis.r_hat.item(), 2), round(diagnosis.mcse.item() * 4000**0.5, 1)
        ('diagnostics_passed', 1.0, 1.0)

    Source: Vehtari et al. 2021, sections 3 and 4; Geweke 1992.
    """
    n_chains, n = _checked(traces).shape[-2:]
    stack = traces.shape[:-2]
    cuts = burn_in(traces) if n_burnin is None else n_burnin
    if cuts.shape != stack or not ((cuts >= 0) & (cuts < n)).all():
        raise ValueError(f"n_burnin must be in 0..{n - 1} for each entry of {list(stack)}; got {cuts.tolist()}")
    cuts, rows = cuts.reshape(-1), traces.double().reshape(cuts.numel(), n_chains, n)
    n_diverged = (~rows.isfinite()).any(-1).sum(-1)
    n_stuck = torch.zeros_like(n_diverged)
    mean = rows.new_full((len(rows),), torch.nan)
    statistics = rows.new_full((len(rows), 5), torch.nan)
    for cut in cuts.unique().tolist():
        here = (cuts == cut).nonzero().flatten()
        kept = rows[here, :, cut:]
        mean[here] = kept.mean((-2, -1))
        n_stuck[here] = (kept == kept[..., :1]).all(-1).sum(-1)
        sound = (n_diverged[here] == 0) & (n_stuck[here] == 0)
        if n - cut >= DRAWS_LEAST and sound.any():
            statistics[here[sound]] = _statistics(kept[sound])
    mean = mean.where(n_diverged == 0, torch.nan)
    fields = mean, *statistics.unbind(-1), cuts, n - cuts, n_diverged, n_stuck
    return Diagnosis(*(field.reshape(stack) for field in fields))


def faults(diagnosis: Diagnosis) -> list[str]:
    """What speaks against an estimate: each rule that it breaks, with its number.

    Args:
        diagnosis: Of one entry; pick it with `at`.

    Returns:
        Empty if nothing does. Diverged, too short and stuck chains have no other number to break a rule with.

    Raises:
        ValueError: The diagnosis is of more than one entry.

    Example:
        >>> noise = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
        >>> for fault in faults(diagnose(noise + torch.tensor([[0], [0], [9], [9]]))):
        ...     print(fault)
        R-hat is 1.73, above 1.05: the chains have not mixed
        ESS is 6, below 100: too few independent draws
    """
    if diagnosis.mean.ndim:
        raise ValueError(f"faults are of one entry of a stack; pick one of {list(diagnosis.mean.shape)} with at()")
    value = {name: field.item() for name, field in diagnosis._asdict().items()}
    if value["n_diverged"]:
        return [f"diverged: {value['n_diverged']} chains have numbers that are not finite"]
    if value["n_draws"] < DRAWS_LEAST:
        return [f"too short: {value['n_draws']} draws after burn-in, fewer than {DRAWS_LEAST}"]
    if value["n_stuck"]:
        return [f"stuck: {value['n_stuck']} chains never move, and R-hat is undefined"]
    found = []
    if value["r_hat"] != value["r_hat"]:
        found.append(ONE_CHAIN)
    elif value["r_hat"] > R_HAT_MOST:
        found.append(f"R-hat is {value['r_hat']:.2f}, above {R_HAT_MOST}: the chains have not mixed")
    if not value["ess_bulk"] >= ESS_LEAST:
        found.append(f"ESS is {value['ess_bulk']:.0f}, below {ESS_LEAST:.0f}: too few independent draws")
    if not abs(value["drift"]) <= DRIFT_MOST:
        found.append(f"drift is {value['drift']:.1f} standard errors, beyond {DRIFT_MOST:.0f}: not stationary")
    return found


def status(diagnosis: Diagnosis) -> Status:
    """What the faults amount to: "diverged", "not_converged" if there are others, or "diagnostics_passed".

    Of a single chain that shows no fault the status is "one_chain": that it was everywhere where others would have
    been is what it cannot know.

    Raises:
        ValueError: The diagnosis is of more than one entry.
    """
    found = faults(diagnosis)
    if not found:
        return "diagnostics_passed"
    return "one_chain" if found == [ONE_CHAIN] else "diverged" if diagnosis.n_diverged > 0 else "not_converged"


def _statistics(kept: Float[Tensor, "entry chain draw"]) -> Float[Tensor, "entry 5"]:
    """R-hat, the two effective sample sizes, the error of the mean, and the drift.

    The variance of the drift is the sum of those of two means, in windows that are 30 % of the trace apart. Each
    is taken in its own window, between chains as well as within, and so is right when the window is not much
    longer than the correlation time; and after taking away the mean path of the chains, which leaves (m - 1) / m
    of the variance of m independent chains but nothing of what they all do. A drift that stays in (a transient,
    say) would widen its own error and pass.
    """
    import numpy as np
    from arviz_stats.base.array import array_stats

    # To unit scale, because arviz takes a trace for constant if its range is below 1e-15; by a power of two, because
    # rounding would break ties in the distances from the median, and with them the last digits of R-hat.
    scale = torch.exp2(torch.frexp(kept.std((-2, -1))).exponent.double())
    unit = (kept / scale[:, None, None]).cpu().numpy()
    m, n = unit.shape[-2:]
    own = (unit - unit.mean(-2, keepdims=True)) * np.sqrt(m / (m - 1)) if m > 1 else unit
    first, last = slice(int(FIRST * n)), slice(n - int(LAST * n), n)
    with np.errstate(divide="ignore", invalid="ignore"):  # halves of chains, or windows, that are constant
        r_hat = array_stats.rhat(unit)
        ess_bulk = array_stats.ess(unit)
        ess_tail = array_stats.ess(unit, method="tail", prob=(0.05, 0.95))
        mcse = array_stats.mcse(unit) * scale.cpu().numpy()
        error = np.hypot(array_stats.mcse(own[..., first]), array_stats.mcse(own[..., last]))
        drift = (unit[..., first].mean((-2, -1)) - unit[..., last].mean((-2, -1))) / error
    return torch.from_numpy(np.stack([r_hat, ess_bulk, ess_tail, mcse, drift], axis=-1)).to(kept.device)


def _checked(traces: Float[Tensor, "*stack chain draw"]) -> Float[Tensor, "*stack chain draw"]:
    if 0 in traces.shape[-2:]:
        raise ValueError(f"traces must be [*stack, chain, draw] with a chain and a draw; got {list(traces.shape)}")
    return traces
