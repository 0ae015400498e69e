"""The same function at a larger norm: a network moved along its orbit at random, and how far its neurons are moved."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import inflate
from circuitgrok.tree import Params, norm

WIDEST = 30.0  # logarithm of a spread; the square of its exponential is within float64
HALVINGS = 50  # of an interval of spreads no longer than WIDEST / 2: to 1e-14


def inflated(params: Params, model: Transformer, spread: float, generator: torch.Generator) -> Params:
    """What computes the same with every neuron rescaled and every head's two products in other coordinates.

    The factor of each neuron and the singular values of each head's two G are log-uniform from 1/spread to spread;
    each G is symmetric, in axes that are drawn too.

    Args:
        params: One network, with ReLU neurons.
        model: Its shape.
        spread: 1 or more.
        generator: Where the numbers come from.

    Returns:
        All tensors, in the precision they had.

    Raises:
        ValueError: The neurons are not ReLU.

    Example:
        >>> from circuitgrok.tree import norm
        >>> model = Transformer(p=5, d_model=8, d_head=4, n_heads=2, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> larger, inputs = inflated(params, model, 4.0, torch.Generator().manual_seed(1)), torch.tensor([[1, 2, 5]])
        >>> torch.allclose(model.logits(larger, inputs), model.logits(params, inputs), atol=1e-5)
        True
        >>> bool(norm(larger) > norm(params))
        True
    """

    def log_uniform(*shape: int) -> Tensor:
        drawn = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return torch.exp((2 * drawn - 1) * math.log(spread))

    def turns() -> Tensor:
        shape = (model.n_layers, model.n_heads, model.d_head)
        square = torch.randn(*shape, model.d_head, generator=generator, dtype=torch.float64)
        rotation = torch.linalg.qr(square).Q
        return rotation * log_uniform(*shape).unsqueeze(-2) @ rotation.mT

    moved = inflate(params, model, beta=log_uniform(model.n_layers, model.d_mlp), qk=turns(), vo=turns())
    return {name: value.to(params[name].dtype) for name, value in moved.items()}


def inflated_to(params: Params, model: Transformer, length: float, seed: int) -> Params:
    """The same function at a given norm: `inflated`, by the spread with which it has that norm.

    Whatever is drawn, the square of the norm is a convex function of the spread's logarithm, so that there is one.

    Args:
        params: One network, with ReLU neurons.
        model: Its shape.
        length: The norm; at least the network's own.
        seed: Of the generator from which factors and axes come.

    Returns:
        All tensors, in the precision they had.

    Raises:
        ValueError: The norm is below the network's own, or out of reach, or the neurons are not ReLU.

    Example:
        >>> from circuitgrok.tree import norm
        >>> model = Transformer(p=5, d_model=8, d_head=4, n_heads=2, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> round(norm(params).item(), 3), round(norm(inflated_to(params, model, 15.0, 1)).item(), 3)
        (9.243, 15.0)
    """
    own = {name: value.double() for name, value in params.items()}

    def at(log_spread: float) -> Params:
        return inflated(own, model, math.exp(log_spread), torch.Generator().manual_seed(seed))

    low, high = 0.0, 1.0
    if length < norm(own).item():
        raise ValueError(f"the norm must be at least the network's own, {norm(own).item():.6g}; got {length:.6g}")
    while norm(at(high)).item() < length:
        low, high = high, 2 * high
        if high > WIDEST:
            raise ValueError(f"no spread up to e^{WIDEST:g} brings the network to the norm {length:.6g}")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if norm(at(middle)).item() < length else (low, middle)
    return {name: value.to(params[name].dtype) for name, value in at(high).items()}


def imbalance(params: Params, model: Transformer) -> Float[Tensor, "*stack layer"]:
    """Sum over the neurons of abs(|w_in|^2 - |w_out|^2) of each block, which gradient flow alone would leave as it is.

    A bias of what enters a neuron counts in w_in. Weight decay with rate λ shrinks it like exp(-2 λ t).

    Args:
        params: One network, or a stack of them.
        model: Its shape.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> imbalance({name: torch.ones(shape) for name, shape in model.shapes().items()}, model)  # 16 (8 + 1 - 8)
        tensor([16.], dtype=torch.float64)

    Source: S. Du, W. Hu, J. Lee, "Algorithmic regularization in learning deep homogeneous models"
    (arXiv:1806.00900), theorem 2.1.
    """
    sums = []
    for layer in range(model.n_layers):
        weight, bias, out = (params[f"blocks.{layer}.mlp.{name}"].double() for name in ("W_in", "b_in", "W_out"))
        sums.append((weight.square().sum(-2) + bias.square() - out.square().sum(-1)).abs().sum(-1))
    return torch.stack(sums, dim=-1)
