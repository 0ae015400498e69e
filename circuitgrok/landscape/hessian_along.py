"""The Hessian's spectrum along a run: sharpness, trace, effective dimension, what lies below zero.

    effective_dimension[z] = sum of x / (x + z) over the eigenvalues x > 0 of the Hessian of the training loss

in float64 over the trained tensors. It is the bare loss: for AdamW, weight decay is not the gradient of any term and
has no Hessian. Half of it at z = localization / nbeta is the learning coefficient that a sampler would find if the
loss were quadratic. All columns are estimates from random probes by Lanczos quadrature: `_se` is their standard
error over the probes, and `_low` and `_high` bound what the quadratures cannot resolve, which is the larger of the two
errors for small z.

Products are exact. Differences of gradients would be cheaper, and wrong for ReLU networks: gradients jump where a
neuron switches, and what a difference sees of the jumps it crosses does not shrink with its step.

Source: Maddox et al. 2020 (arXiv:2003.02139) for the effective dimension; Ghorbani et al. 2019 (arXiv:1901.10159)
for Lanczos quadrature on networks.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.config import AnyModel
from circuitgrok.landscape.flat import loss_on
from circuitgrok.landscape.hessian import hessian_operator
from circuitgrok.landscape.lanczos import Bounded, Density, spectral_density, spectral_sum
from circuitgrok.landscape.spectra import effective_dimension_slq
from circuitgrok.measures.kinds import Drawn
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tree import Params, unstack

N_PROBES, N_STEPS = 6, 12
Z = (1e-3, 1e-2, 1e-1, 1.0)  # in units of the eigenvalues: nats over squared weight


@in_plain_surroundings
def densities(params: Params, model: AnyModel, task: Drawn) -> list[Density]:
    """The spectral density of each network of a stack, `N_PROBES` probes of `N_STEPS` nodes.

    The same probes serve every network, so that differences along a run are less noisy than the values.

    Args:
        params: The weights, `[point ...]`; taken to float64.
        model: Their model; the tensors that train are differentiated.
        task: The mean loss over its training pairs is.

    Raises:
        ValueError: The task's answers are no classes.
    """
    found = []
    for network in unstack(params):
        loss, at, _ = loss_on(model, network, task, task.is_train)
        draws = torch.Generator().manual_seed(0)
        operator = hessian_operator(loss, at)
        found.append(spectral_density(operator, len(at), n_steps=N_STEPS, n_probes=N_PROBES, generator=draws))
    return found


def effective_dimensions(found: Sequence[Density], z: Float[Tensor, " z"]) -> Bounded:
    """Effective dimension of each density at each z, `[point z]`, with its errors."""
    curves = [effective_dimension_slq(density, z).curve for density in found]
    return Bounded(*(torch.stack(parts) for parts in zip(*curves, strict=True)))


@in_plain_surroundings
def spectrum_columns(params: Params, model: AnyModel, task: Drawn) -> dict[str, Tensor]:
    """Columns of a table: top eigenvalue (from below), trace, effective dimensions, mass below zero.

    `negative_mass` is the sum of |x| over eigenvalues x < 0, as a share of the sum of all |x|.
    """
    found = densities(params, model, task)
    traces = [spectral_sum(density, lambda nodes: nodes) for density in found]
    sizes = [spectral_sum(density, torch.abs).value for density in found]
    below = [spectral_sum(density, lambda nodes: (-nodes).clamp(min=0)).value for density in found]
    dimensions = effective_dimensions(found, torch.tensor(Z, dtype=torch.float64))
    columns = {
        "sharpness": torch.stack([density.nodes.amax() for density in found]),
        "hessian_trace": torch.stack([trace.value for trace in traces]),
        "hessian_trace_se": torch.stack([trace.stderr for trace in traces]),
        "negative_mass": torch.stack(below) / torch.stack(sizes),
    }
    for i, z in enumerate(Z):
        for suffix, part in zip(("", "_se", "_low", "_high"), dimensions, strict=True):
            columns[f"effective_dimension{suffix}[{z:g}]"] = part[:, i]
    return columns
