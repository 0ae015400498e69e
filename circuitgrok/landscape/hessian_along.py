"""The Hessian's spectrum along a run: sharpness, trace, effective dimension, what lies below zero; and its ray.

    effective_dimension[z] = sum of x / (x + z) over the eigenvalues x > 0 of the Hessian of the training loss

in float64 over the trained tensors. It is the bare loss: for AdamW, weight decay is not the gradient of any term and
has no Hessian. Half of it at z = localization / nbeta is the learning coefficient that a sampler would find if the
loss were quadratic. Negative eigenvalues, at whose -z the term would be infinite, do not enter: `negative_mass` says
how much of the spectrum they are.

Up to `DENSE_MOST` weights all eigenvalues are computed, and errors are 0. Above, Lanczos at random probes adds nodes
until the bounds that its moments allow (`positive_part`) are near, or `N_STEPS_MOST` are reached. `_se` holds both
errors, the probes' and the quadrature's; `_low` and `_high` are the bounds of the quadrature for these very probes;
`effective_dimension_converged[z]` is 1 where the quadrature's part of the error is at most `NEAR` of the value.

`curvature_radial` is u^T H u for the direction u of the weights, how the slope along the ray changes with the norm;
`curvature_mixed` is |P H u|, P = 1 - u u^T, how fast the slope across the ray does. Both are exact, from one product.

Products are exact. Differences of gradients would be cheaper, and wrong for ReLU networks: gradients jump where a
neuron switches, and what a difference sees of the jumps it crosses does not shrink with its step.

Source: Maddox et al. 2020 (arXiv:2003.02139) for the effective dimension; Ghorbani et al. 2019 (arXiv:1901.10159)
for Lanczos quadrature on networks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.landscape.flat import loss_on
from circuitgrok.landscape.hessian import Operator, as_matrix, hessian_operator
from circuitgrok.landscape.lanczos import Tridiagonal, density, lanczos, probe_error, random_probes
from circuitgrok.landscape.polar_hessian import polar_blocks
from circuitgrok.landscape.positive_part import PositiveSum, positive, positive_sum, shares
from circuitgrok.models.kinds import AnyModel
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tree import Params, unstack

DENSE_MOST = 3000  # weights of which all eigenvalues take seconds and 0.2 GB
N_PROBES, N_STEPS_MOST = 6, 128
LOOKED_AT = (16, 24, 32, 48, 64, 96)  # numbers of nodes at which the bounds are asked for
NEAR = 0.05  # share of a value that the quadrature's part of its error may be, a sixth of the way between its bounds
Z = (1e-3, 1e-2, 1e-1, 1.0)  # in units of the eigenvalues: nats over squared weight


class Ray(NamedTuple):
    """Curvature along the ray through a network, and the size of the mixed block; nan without weights."""

    radial: Float[Tensor, ""]
    mixed: Float[Tensor, ""]


class Spectrum(NamedTuple):
    """What is known of a Hessian's spectrum: all of it, or what Lanczos says; numbers as in the table."""

    sharpness: Float[Tensor, ""]
    trace: Float[Tensor, ""]
    trace_error: Float[Tensor, ""]
    negative_mass: Float[Tensor, ""]
    negative_mass_error: Float[Tensor, ""]
    dimensions: PositiveSum  # one for each z
    ray: Ray


@in_plain_surroundings
def spectra(params: Params, model: AnyModel, task: Dataset, z: Float[Tensor, " z"]) -> list[Spectrum]:
    """The spectrum of each network of a stack.

    The same probes serve every network, so that differences along a run are less noisy than the values.

    Args:
        params: The weights, `[point ...]`; taken to float64.
        model: Their model; the tensors that train are differentiated.
        task: The mean loss over its training pairs is.
        z: Where effective dimensions are asked for; nodes are added until those at all of them are near.

    Raises:
        ValueError: The task's answers are no classes, or a z is not positive.
    """
    found = []
    for network in unstack(params):
        loss, at, _ = loss_on(model, network, task, task.is_train)
        spectrum = _dense if len(at) <= DENSE_MOST else _sampled
        found.append(spectrum(hessian_operator(loss, at), at, z))
    return found


@in_plain_surroundings
def spectrum_columns(params: Params, model: AnyModel, task: Dataset, z: Sequence[float] = Z) -> dict[str, Tensor]:
    """Columns of a table: top eigenvalue (from below), trace, dimensions, mass below zero, with errors; the ray.

    `negative_mass` is the sum of |x| over eigenvalues x < 0, as a share of the sum of all |x|.

    Args:
        params: As for `spectra`.
        model: Their model.
        task: As for `spectra`.
        z: Where effective dimensions are asked for.

    Raises:
        ValueError: As for `spectra`.
    """
    found = spectra(params, model, task, torch.tensor(z, dtype=torch.float64))
    columns = {
        "sharpness": torch.stack([one.sharpness for one in found]),
        "hessian_trace": torch.stack([one.trace for one in found]),
        "hessian_trace_se": torch.stack([one.trace_error for one in found]),
        "negative_mass": torch.stack([one.negative_mass for one in found]),
        "negative_mass_se": torch.stack([one.negative_mass_error for one in found]),
        "curvature_radial": torch.stack([one.ray.radial for one in found]),
        "curvature_mixed": torch.stack([one.ray.mixed for one in found]),
    }
    value, error, lower, upper = (torch.stack(parts) for parts in zip(*(one.dimensions for one in found), strict=True))
    near = ((upper - lower) / 6 <= NEAR * value).double()
    for i, at in enumerate(z):
        parts = {"": value, "_se": error, "_low": lower, "_high": upper, "_converged": near}
        columns |= {f"effective_dimension{suffix}[{at:g}]": part[:, i] for suffix, part in parts.items()}
    return columns


def _dense(operator: Operator, at: Float[Tensor, " dim"], z: Float[Tensor, " z"]) -> Spectrum:
    """From all eigenvalues."""
    all_of_them = torch.linalg.eigvalsh(as_matrix(operator, len(at)))
    none, value = torch.zeros((), dtype=torch.float64), shares(z)(all_of_them).sum(-1)
    below, size = all_of_them.clamp(max=0).abs().sum(), all_of_them.abs().sum()
    dimensions = PositiveSum(value, torch.zeros_like(value), value, value)
    return Spectrum(all_of_them[-1], all_of_them.sum(), none, below / size, none, dimensions, _ray(operator, at))


def _sampled(operator: Operator, at: Float[Tensor, " dim"], z: Float[Tensor, " z"]) -> Spectrum:
    """From Lanczos at random probes. With P the sum of positive eigenvalues and T the trace, the mass below zero is

        s = (P - T) / (2 P - T),   ds = T dP / (2 P - T)^2 for the quadrature, which knows T exactly,

    and for the probes, which err in both, the error of the sum of max(-x, 0) - s |x|, over 2 P - T.
    """

    def of(x: Float[Tensor, "*of node"]) -> Float[Tensor, "of_f *of node"]:
        return torch.cat([shares(z)(x), positive(x)])

    def enough(so_far: Tridiagonal) -> bool:
        if so_far.diagonal.shape[1] not in LOOKED_AT:
            return False
        value, _, lower, upper = positive_sum(so_far, shares(z))
        return bool(((upper - lower) / 6 <= NEAR * value).all())

    dim = len(at)
    probes = random_probes(N_PROBES, dim, torch.Generator().manual_seed(0))
    found = lanczos(operator, probes, min(N_STEPS_MOST, dim), enough)
    nodes, sums = density(found), positive_sum(found, of)
    above, quadrature = sums.value[-1], (sums.upper[-1] - sums.lower[-1]) / 6
    trace, size = dim * found.diagonal[:, 0].mean(), 2 * above - dim * found.diagonal[:, 0].mean()
    share = (above - trace) / size
    of_probes = probe_error(nodes, lambda x: (-x).clamp(min=0) - share * x.abs()) / size
    return Spectrum(
        nodes.nodes.amax(),
        trace,
        probe_error(nodes, lambda x: x),
        share,
        torch.hypot(of_probes, trace.abs() * quadrature / size.square()),
        PositiveSum(*(part[:-1] for part in sums)),
        _ray(operator, at),
    )


def _ray(operator: Operator, at: Float[Tensor, " dim"]) -> Ray:
    if not bool(at.any()):
        return Ray(at.new_tensor(torch.nan), at.new_tensor(torch.nan))
    blocks = polar_blocks(operator, at)
    return Ray(blocks.radial, blocks.mixed.norm())
