"""An MLP on pairs of numbers, opened at its last hidden layer: what its neurons read, and what they write from.

The last hidden layer is read by W_U alone: logits = post W_U + b_U, so that W_U is to an MLP what W_out W_U is to the
last block of a transformer, and nothing passes by the neurons.
"""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.apart import ACTIVATIONS
from circuitgrok.apart import plain_affine as affine
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP, pair_sums
from circuitgrok.tree import Params

MLP = EmbeddingMLP | QuadraticMLP | DenseMLP


class LastLayer(NamedTuple):
    """The neurons of the last hidden layer.

    Attributes:
        pre: Before the nonlinearity.
        post: After it.
    """

    pre: Float[Tensor, "*stack pair neuron"]
    post: Float[Tensor, "*stack pair neuron"]


def last_layer(params: Params, model: MLP, inputs: Int[Tensor, "pair 3"]) -> LastLayer:
    """The last hidden layer of an MLP on pairs of numbers.

    Args:
        params: One network or a stack.
        model: Its shape.
        inputs: Tokens (a, b, '='), one row per pair.

    Returns:
        In the dtype of the weights.

    Example:
        >>> model = QuadraticMLP(p=5, n_neurons=4)
        >>> params, inputs = model.init(torch.Generator().manual_seed(0)), torch.tensor([[1, 2, 5], [4, 0, 5]])
        >>> logits = last_layer(params, model, inputs).post @ params["unembed.W_U"]
        >>> torch.allclose(logits, model.logits(params, inputs))
        True
    """
    of_a, of_b = _first_tables(params, model)
    pre = pair_sums(of_a, of_b, inputs)
    if isinstance(model, QuadraticMLP):
        return LastLayer(pre, pre.square())
    act = ACTIVATIONS[model.act]
    for layer in range(1, model.depth):
        pre = affine(act(pre), params[f"blocks.{layer}.mlp.W_in"], params[f"blocks.{layer}.mlp.b_in"])
    return LastLayer(pre, act(pre))


def _first_tables(params: Params, model: MLP) -> tuple[Tensor, Tensor]:
    """What each a and what each b sends to the first hidden layer, `[*stack p neuron]`; the bias goes with a."""
    W_in = params["blocks.0.mlp.W_in"]
    if isinstance(model, QuadraticMLP):
        return W_in[..., : model.p, :], W_in[..., model.p :, :]
    b_in = params["blocks.0.mlp.b_in"]
    if isinstance(model, DenseMLP):
        p = model.n_in // 2
        return W_in[..., :p, :] + b_in.unsqueeze(-2), W_in[..., p:, :]
    W_E, d = params["embed.W_E"], model.d_embed  # summed embeddings share their rows of W_in: both slices are all
    return affine(W_E[..., : model.p, :], W_in[..., :d, :], b_in), W_E[..., -model.p :, :] @ W_in[..., -d:, :]
