"""Deep linear networks: landscapes of up to 10^4 weights and more whose learning coefficient is known.

The network y = W_L ... W_1 x learns a matrix A of rank r from inputs of identity covariance, so that its population
loss, less its smallest value, is

    K(W_1, ..., W_L) = (1/2) |W_L ... W_1 - A|^2,   A with r singular values 1 and no others.

The most singular points of K = 0 are those at which every layer has rank r and no more. There the local learning
coefficient is the global one, that of `deep_linear_network_llc`, which no Hessian shows. Elsewhere it can be larger:
half the number of entries of A wherever all layers but one of a square network can be inverted.

Source: Aoyagi 2024, Neural Networks 172 (106132); as a test of samplers Furman and Lau 2024 (arXiv:2402.03698).
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.exact.learning_coefficients import LearningCoefficient, deep_linear_network_llc


@dataclass(frozen=True)
class DeepLinear:
    """A linear network and the matrix that it should be, with a point where it is that matrix.

    Attributes:
        widths: H_0 (input), the hidden layers, H_L (output).
        rank: Rank r of A, whose first r diagonal entries are 1 and all others 0.

    Raises:
        ValueError: There are fewer than two widths, one is not positive, or the network cannot be of this rank.

    Example:
        >>> network = DeepLinear((5, 3, 5), rank=1)
        >>> value, gradient = network.loss(2 * network.point[None])  # the product is 4 A
        >>> value, gradient.norm()  # (4 - 1)^2 / 2, and 2 (4 - 1) from either layer
        (tensor([4.5000], dtype=torch.float64), tensor(8.4853, dtype=torch.float64))
    """

    widths: tuple[int, ...]
    rank: int

    def __post_init__(self) -> None:
        deep_linear_network_llc(self.widths, self.rank)  # refuses what is no network

    @property
    def exact(self) -> LearningCoefficient:
        """Lambda and multiplicity at `point`, what nbeta E[K] tends to as nbeta grows."""
        return deep_linear_network_llc(self.widths, self.rank)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shape of each layer, outputs first."""
        return [(outputs, inputs) for inputs, outputs in pairwise(self.widths)]

    @property
    def truth(self) -> Float[Tensor, "outputs inputs"]:
        """The matrix A, float64."""
        return _unit(self.widths[-1], self.widths[0], self.rank)

    @property
    def point(self) -> Float[Tensor, " dim"]:
        """All weights, layer by layer from the input on, at a most singular point: each layer is A cut to its shape."""
        return torch.cat([_unit(*shape, self.rank).flatten() for shape in self.shapes])

    def layers(self, weights: Float[Tensor, "chain dim"]) -> list[Float[Tensor, "chain outputs inputs"]]:
        """W_1, ..., W_L of each chain, views of the weights."""
        parts = weights.split([outputs * inputs for outputs, inputs in self.shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def loss(self, weights: Float[Tensor, "chain dim"]) -> tuple[Float[Tensor, " chain"], Float[Tensor, "chain dim"]]:
        """K at the weights of every chain, and its gradient: (W_L ... W_(s+1))^T (W_L ... W_1 - A) (W_(s-1) ... W_1)^T.

        Args:
            weights: Flat, as `point`; float64, or K near its zeros is lost in rounding.

        Returns:
            The values and the gradients.
        """
        layers = self.layers(weights)
        products = list(accumulate(layers, lambda product, layer: layer @ product))  # of the first 1, 2, ... layers
        error = products[-1] - self.truth
        gradients: list[Tensor] = []
        behind = error  # what reaches the outputs of a layer
        for layer, product in zip(reversed(layers[1:]), reversed(products[:-1]), strict=True):
            gradients.append(behind @ product.mT)
            behind = layer.mT @ behind
        gradients.append(behind)
        return error.square().sum((1, 2)) / 2, torch.cat([part.flatten(1) for part in reversed(gradients)], dim=1)


def _unit(outputs: int, inputs: int, rank: int) -> Float[Tensor, "outputs inputs"]:
    """Ones on the first `rank` diagonal entries."""
    matrix = torch.zeros(outputs, inputs, dtype=torch.float64)
    matrix[range(rank), range(rank)] = 1.0
    return matrix
