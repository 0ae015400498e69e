"""Neurons that a network could do without: silent, weightless, or reading what another reads.

Where a ReLU neuron has nothing at one end, or two neurons read in the same direction, weights can be moved without a
change of the function along more directions than elsewhere: those places are singular (Wei et al. 2008 call them
elimination and overlap singularities). A network is never exactly there; how near it is, is said by these counts.

Everything takes leading stack axes, and answers in float64 or bool.

Source: H. Wei, J. Zhang, F. Cousseau, T. Ozeki, S. Amari, "Dynamics of learning near singularities in layered
networks" (2008), Neural Computation 20, 813.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.linalg import vector_norm

from circuitgrok.measures.spectra.complexity import spectral_entropy

COSINE = 0.95  # from which two neurons count as reading the same direction


def silent_neurons(post: Float[Tensor, "*stack pair neuron"]) -> Bool[Tensor, "*stack neuron"]:
    """Which neurons are active for no pair.

    Args:
        post: Their outputs for all pairs, behind a nonlinearity that can be 0.

    Example:
        >>> silent_neurons(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
        tensor([ True, False])
    """
    return (post == 0).all(-2)


def twin_neurons(
    reads: Float[Tensor, "*stack weight neuron"], *, cosine: float = COSINE
) -> Bool[Tensor, "*stack neuron"]:
    """Which neurons read almost the same direction as another one.

    Args:
        reads: Weights into each neuron, its bias among them.
        cosine: Of the angle between two, from which on they are the same; below 1.

    Example:
        >>> twin_neurons(torch.tensor([[1.0, 2.0, 0.0, -1.0], [0.0, 0.1, 1.0, 0.0]]))
        tensor([ True,  True, False, False])
    """
    sizes = vector_norm(reads.double(), dim=-2, keepdim=True)
    unit = torch.where(sizes > 0, reads.double() / sizes, 0.0)
    alike = unit.mT @ unit
    return (alike - 2 * torch.eye(alike.shape[-1], dtype=alike.dtype, device=alike.device)).amax(-1) >= cosine


def effective_neurons(
    reads: Float[Tensor, "*stack weight neuron"], writes: Float[Tensor, "*stack neuron out"]
) -> Float[Tensor, "*stack"]:
    """How many neurons carry the layer: exp of the entropy of the shares of |a_i| |b_i|, which no rescaling changes.

    Args:
        reads: Weights into each neuron, its bias among them.
        writes: Weights out of each.

    Returns:
        1 to their number; nan if all are zero.

    Example:
        >>> effective_neurons(torch.tensor([[1.0, 2.0, 5.0]]), torch.tensor([[2.0], [1.0], [0.0]])).round(decimals=4)
        tensor(2., dtype=torch.float64)
    """
    return spectral_entropy(vector_norm(reads.double(), dim=-2) * vector_norm(writes.double(), dim=-1)).exp()
