"""The kinds of network that there are."""

from circuitgrok.errors import UserError
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer

AnyModel = Transformer | EmbeddingMLP | QuadraticMLP | DenseMLP


def transformer_of(model: AnyModel) -> Transformer:
    """The model, if it is a transformer.

    Raises:
        UserError: It is none.
    """
    if not isinstance(model, Transformer):
        raise UserError(f"this needs a transformer, with heads and a residual stream; the network is a {model.kind}")
    return model
