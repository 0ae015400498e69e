"""Norms that belong to the function, not to how it is written down.

A block multiplies pairs of matrices, and only their product is seen from outside. With each bias as one
more row of its weights, for every head and for the neurons of the MLP,

    pair    A             B             seen
    qk      [W_Q; b_Q]    [W_K; b_K]    A B^T, the scores
    vo      [W_V; b_V]    W_O^T         A B^T, what a head writes
    mlp     [W_in; b_in]  W_out^T       relu(x A) B^T, what the neurons write

so that A -> A G, B -> B G^-T changes the norm and not the network: for a head with any invertible G, for
ReLU neurons with any positive diagonal one. (GELU neurons have no such freedom.) The least |A|^2 + |B|^2 on
this orbit is twice the nuclear norm of A B^T for a head, and 2 |a_i| |b_i| for neuron i; it is reached
where A^T A = B^T B (of neurons, on its diagonal). G acts behind any LayerNorm, so networks with LayerNorm have
the same orbits.

Not minimised, because no block has them to itself: stretching the whole residual stream, handing the scale of
LayerNorm's gain to the weights behind it, and shifts (of b_K and of the columns of W_U, which no softmax sees;
of b_V, which b_O could take over).

Source: N. Srebro, J. Rennie, T. Jaakkola, "Maximum-margin matrix factorization" (2004), for the nuclear norm;
B. Neyshabur, R. Salakhutdinov, N. Srebro, "Path-SGD" (arXiv:1506.02617), for rescaled neurons and path norms.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import qr, svd, svdvals, vector_norm

from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params, norm, role


class NormParts(NamedTuple):
    """Norms of a network and of its parts, in the units of the weights; the squares of the parts add up.

    Attributes:
        total: Of everything.
        qk: Of W_Q, b_Q, W_K and b_K of each block.
        vo: Of W_V, b_V and W_O of each block.
        mlp: Of W_in, b_in and W_out of each block.
        embed: Of W_E.
        pos_embed: Of W_pos.
        unembed: Of W_U.
        biases: Of those in no pair: b_O and b_out of all blocks, b_U.
        normalization: Of all gains and biases of LayerNorm; 0 without.
    """

    total: Float[Tensor, "*stack"]
    qk: Float[Tensor, "*stack layer"]
    vo: Float[Tensor, "*stack layer"]
    mlp: Float[Tensor, "*stack layer"]
    embed: Float[Tensor, "*stack"]
    pos_embed: Float[Tensor, "*stack"]
    unembed: Float[Tensor, "*stack"]
    biases: Float[Tensor, "*stack"]
    normalization: Float[Tensor, "*stack"]


def part_norms(params: Params, model: Transformer) -> NormParts:
    """Norms as they stand, of the parts that `orbit_minimal_norm` speaks of; `total` is r.

    Args:
        params: One network, or a stack of them.
        model: The network's shape.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> ones = {name: torch.ones(shape) for name, shape in model.shapes().items()}
        >>> part_norms(ones, model).mlp.square().round()  # of each neuron 8 weights and a bias in, 8 weights out
        tensor([272.], dtype=torch.float64)
    """
    qk, vo, neurons = _pairs(params, model)
    return _norm_parts(params, _squares(qk).sum((-1, -2)), _squares(vo).sum((-1, -2)), _squares(neurons).sum(-1))


def orbit_minimal_norm(params: Params, model: Transformer) -> NormParts:
    """The least norm on the network's orbit, N_min in `total`, and how much of it each part holds.

    Never above r; equal to it exactly where `balancedness` is 0. Limits of the orbit belong to it, so that a
    neuron or a direction of a head with nothing at one end counts as 0. GELU neurons and all that belongs to no
    pair count as they stand.

    Args:
        params: One network, or a stack of them.
        model: The network's shape.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> inflated = inflate(params, model, beta=torch.full((1, 16), 10.0))
        >>> [round(part_norms(x, model).mlp.item(), 1) for x in (params, inflated)]
        [5.7, 39.5]
        >>> [round(orbit_minimal_norm(x, model).mlp.item(), 1) for x in (params, inflated)]
        [5.5, 5.5]
    """
    qk, vo, neurons = _pairs(params, model)
    a, b = (vector_norm(side, dim=-2) for side in neurons)
    mlp = 2 * a * b if model.act == "relu" else _squares(neurons)
    return _norm_parts(params, 2 * _nuclear_norm(qk).sum(-1), 2 * _nuclear_norm(vo).sum(-1), mlp.sum(-1))


def path_norm(params: Params, model: Transformer) -> Float[Tensor, "*stack layer"]:
    """Sum over the paths through a block's neurons of the product of absolute weights on the path.

    A path enters neuron i from a coordinate of the residual stream or from its bias, and leaves it to a
    coordinate: sum_i |a_i|_1 |b_i|_1, which no rescaling of ReLU neurons changes. It sees the basis of the
    residual stream. Paths through heads are not counted: no sum over single weights of a head is the same on
    the whole orbit.

    Args:
        params: One network, or a stack of them.
        model: The network's shape.

    Returns:
        In the square of the units of the weights, float64.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> ones = {name: torch.ones(shape) for name, shape in model.shapes().items()}
        >>> path_norm(ones, model)  # 16 neurons, 9 ways in, 8 ways out
        tensor([1152.], dtype=torch.float64)

    Source: Neyshabur, Salakhutdinov, Srebro, arXiv:1506.02617; here with exponent 1.
    """
    a, b = (side.abs().sum(-2) for side in _pairs(params, model).mlp)
    return (a * b).sum(-1)


class Balancedness(NamedTuple):
    """How unequal the two sides of each pair are; 0 throughout exactly at the least norm of the orbit.

    Gradient flow conserves the differences A^T A - B^T B, weight decay makes them shrink.

    Attributes:
        qk: |A^T A - B^T B| / (|A^T A| + |B^T B|) of each head, Frobenius; 0..1.
        vo: The same for what a head reads and writes.
        mlp: (|a_i|^2 - |b_i|^2) / (|a_i|^2 + |b_i|^2) of each neuron; -1 (all of it behind) .. 1.
    """

    qk: Float[Tensor, "*stack layer head"]
    vo: Float[Tensor, "*stack layer head"]
    mlp: Float[Tensor, "*stack layer d_mlp"]


def balancedness(params: Params, model: Transformer) -> Balancedness:
    """The normalised difference of the two sides of each pair; what is zero on both sides is balanced.

    A neuron of balancedness x has (|a|^2 + |b|^2) / (2 |a| |b|) = 1 / sqrt(1 - x^2).

    Args:
        params: One network, or a stack of them.
        model: The network's shape.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> ones = {name: torch.ones(shape) for name, shape in model.shapes().items()}
        >>> balancedness(ones, model).qk, balancedness(ones, model).mlp[0, 0]  # (9 - 8) / (9 + 8)
        (tensor([[0.]], dtype=torch.float64), tensor(0.0588, dtype=torch.float64))

    Source: S. Du, W. Hu, J. Lee, "Algorithmic regularization in learning deep homogeneous models"
    (arXiv:1806.00900), section 2.
    """
    qk, vo, neurons = _pairs(params, model)
    a, b = (side.square().sum(-2) for side in neurons)
    return Balancedness(_imbalance(qk), _imbalance(vo), _share(a - b, a + b))


def inflate(
    params: Params,
    model: Transformer,
    *,
    beta: Float[Tensor, "*betas layer d_mlp"] | None = None,
    qk: Float[Tensor, "*qks layer head d_head d_head"] | None = None,
    vo: Float[Tensor, "*vos layer head d_head d_head"] | None = None,
) -> Params:
    """The same function elsewhere on its orbit: neurons rescaled, heads written in other coordinates.

    What is left out stays as it is. The inverses (1 / beta, G^-1) undo it to rounding.

    Args:
        params: One network, or a stack of them.
        model: The network's shape.
        beta: Factor of what enters each neuron; what leaves it is divided by it. Shared by a stack, or one for
            each of its networks.
        qk: G of each head, for W_Q, b_Q -> W_Q G, b_Q G and W_K, b_K -> W_K G^-T, b_K G^-T.
        vo: G of each head, for W_V, b_V -> W_V G, b_V G and W_O -> G^-1 W_O.

    Returns:
        All tensors, in float64.

    Raises:
        ValueError: A shape does not fit the network, a factor is not positive, a G is singular, or GELU neurons
            are to be rescaled.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> inputs = torch.tensor([[1, 2, 5], [4, 4, 5]])
        >>> inflated = inflate(params, model, vo=3 * torch.eye(8).expand(1, 1, 8, 8))
        >>> torch.allclose(model.logits(params, inputs), model.logits(inflated, inputs), rtol=1e-12)
        True
    """
    stack, e = params["embed.W_E"].shape[:-2], model.d_head
    _check_fit("beta", beta, stack, (model.n_layers, model.d_mlp))
    _check_fit("qk", qk, stack, (model.n_layers, model.n_heads, e, e))
    _check_fit("vo", vo, stack, (model.n_layers, model.n_heads, e, e))
    if beta is not None and model.act != "relu":
        raise ValueError(f"only ReLU neurons can be rescaled; got beta for act = {model.act!r}: leave it out")
    if beta is not None and not bool((beta > 0).all()):
        raise ValueError(f"beta must be positive: relu(-x) is not -relu(x); its least is {beta.min().item():g}")
    pairs = _pairs(params, model)
    heads = (_turned(pairs.qk, "qk", qk), _turned(pairs.vo, "vo", vo))
    scale = 1.0 if beta is None else beta.double().unsqueeze(-2)
    return _written(_Pairs(*heads, (pairs.mlp[0] * scale, pairs.mlp[1] / scale)), params)


def balance(params: Params, model: Transformer) -> Params:
    """The same function at the least norm of its orbit, as near to where it came from as that allows.

    A head has many such points, A O and B O with O any rotation: taken is the one nearest to the given A and B,
    so that a balanced network stays where it is. Networks of one orbit therefore come out equal in all but these
    rotations. GELU neurons stay as they are.

    Args:
        params: One network, or a stack of them.
        model: The network's shape.

    Returns:
        All tensors, in float64.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> least, balanced = orbit_minimal_norm(params, model), part_norms(balance(params, model), model)
        >>> torch.allclose(least.total, balanced.total, rtol=1e-12)
        True
    """
    qk, vo, neurons = _pairs(params, model)
    mlp = _balanced_neurons(*neurons) if model.act == "relu" else neurons
    return _written(_Pairs(_balanced_heads(*qk), _balanced_heads(*vo), mlp), params)


_Pair = tuple[Tensor, Tensor]


class _Pairs(NamedTuple):
    """The pairs (A, B) of all blocks: `[*stack layer head d d_head]`, of the neurons `[*stack layer d d_mlp]`.

    d is d_model, or d_model + 1 where a bias is the last row.
    """

    qk: _Pair
    vo: _Pair
    mlp: _Pair


def _pairs(params: Params, model: Transformer) -> _Pairs:
    axes = params["embed.W_E"].ndim - 2

    def read(name: str) -> Tensor:
        return torch.stack([params[f"blocks.{layer}.{name}"] for layer in range(model.n_layers)], dim=axes).double()

    def read_with_bias(weight: str, bias: str) -> Tensor:
        return torch.cat([read(weight), read(bias).unsqueeze(-2)], dim=-2)

    query, key, value = (read_with_bias(f"attn.W_{letter}", f"attn.b_{letter}") for letter in "QKV")
    neurons = (read_with_bias("mlp.W_in", "mlp.b_in"), read("mlp.W_out").mT)
    return _Pairs((query, key), (value, read("attn.W_O").mT), neurons)


def _written(pairs: _Pairs, params: Params) -> Params:
    """All tensors in float64, those of the pairs taken from them."""
    (query, key), (value, output), (neuron, out) = pairs
    moved = {"attn.W_O": output.mT, "mlp.W_out": out.mT}
    for at, name, side in (("attn", "Q", query), ("attn", "K", key), ("attn", "V", value), ("mlp", "in", neuron)):
        moved |= {f"{at}.W_{name}": side[..., :-1, :], f"{at}.b_{name}": side[..., -1, :]}
    axes = params["embed.W_E"].ndim - 2
    written = {name: value.double() for name, value in params.items()}
    for name, layers in moved.items():
        written |= {f"blocks.{i}.{name}": value.contiguous() for i, value in enumerate(layers.unbind(axes))}
    return written


def _squares(pair: _Pair) -> Tensor:
    """|A|^2 + |B|^2 of each column."""
    return pair[0].square().sum(-2) + pair[1].square().sum(-2)


def _nuclear_norm(pair: _Pair) -> Tensor:
    """Nuclear norm of each head's A B^T, from the d_head x d_head core R_A R_B^T of A = Q_A R_A, B = Q_B R_B."""
    return svdvals(qr(pair[0]).R @ qr(pair[1]).R.mT).sum(-1)


def _norm_parts(params: Params, qk: Tensor, vo: Tensor, mlp: Tensor) -> NormParts:
    """The parts from the squared sizes of each block's pairs, and from what belongs to no pair."""
    axes = params["embed.W_E"].ndim - 2
    outside = [name for name in params if name.rsplit(".", 1)[-1] in ("b_O", "b_out", "b_U")]
    gains = {name: value for name, value in params.items() if role(name) == "normalization"}
    parts = (
        *(square.sqrt() for square in (qk, vo, mlp)),
        *(norm({name: params[name]}, axes) for name in ("embed.W_E", "pos_embed.W_pos", "unembed.W_U")),
        norm({name: params[name] for name in outside}, axes),
        norm(gains, axes) if gains else torch.zeros_like(qk[..., 0]),
    )
    total = torch.cat([part.reshape(*qk.shape[:-1], -1) for part in parts], dim=-1)
    return NormParts(vector_norm(total, dim=-1), *parts)


def _imbalance(pair: _Pair) -> Tensor:
    gram, other = (side.mT @ side for side in pair)
    a, b = vector_norm(gram, dim=(-2, -1)), vector_norm(other, dim=(-2, -1))
    return _share(vector_norm(gram - other, dim=(-2, -1)), a + b)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 of nothing."""
    return torch.where(whole > 0, part / whole, 0.0)


def _turned(pair: _Pair, name: str, G: Tensor | None) -> _Pair:
    """(A G, B G^-T)."""
    if G is None:
        return pair
    inverse, info = torch.linalg.inv_ex(G.double())
    if bool((info != 0).any()):
        raise ValueError(f"every matrix of {name} must be invertible; {int((info != 0).sum())} of them are singular")
    return pair[0] @ G.double(), pair[1] @ inverse.mT


def _balanced_neurons(A: Tensor, B: Tensor) -> _Pair:
    a, b = vector_norm(A, dim=-2, keepdim=True), vector_norm(B, dim=-2, keepdim=True)
    both = (a * b).sqrt()
    return A * _share(both, a), B * _share(both, b)


def _balanced_heads(A: Tensor, B: Tensor) -> _Pair:
    """With A B^T = U S V^T the pair (U sqrt(S) O, V sqrt(S) O), O the rotation that leaves it nearest to (A, B)."""
    (left, core), (right, other) = qr(A), qr(B)
    U, S, Vh = svd(core @ other.mT, full_matrices=False)
    balanced = left @ U * S.sqrt().unsqueeze(-2), right @ Vh.mT * S.sqrt().unsqueeze(-2)
    W, _, Xh = svd(balanced[0].mT @ A + balanced[1].mT @ B, full_matrices=False)
    return balanced[0] @ (W @ Xh), balanced[1] @ (W @ Xh)


def _check_fit(name: str, given: Tensor | None, stack: torch.Size, shape: tuple[int, ...]) -> None:
    """Refuses what is neither shared by the stack nor one for each of its networks."""
    if given is not None and given.shape not in (shape, (*stack, *shape)):
        allowed = " or ".join(str(list(fit)) for fit in dict.fromkeys((shape, (*stack, *shape))))
        raise ValueError(f"{name} must be {allowed}, to fit the network; got {list(given.shape)}")
