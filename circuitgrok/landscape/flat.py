"""The loss of a network as a plain function of one flat float64 vector of a declared set of its tensors.

Curvature needs three things stated that a network leaves open: the data, the tensors that vary, the precision.
`loss_on` and `logits_on` fix them and return a function of a vector, the point where the network is, and the names
and shapes for `circuitgrok.tree.unravel`. Everything in `hessian`, `lanczos` and `stiffness` takes such functions,
and so any other function of a vector as well.

At a training loss of 1e-7 the curvature is about 1e-7 too. A log-softmax loses the digits of 1 - p there, its
curvature keeps nine of sixteen. So the cross-entropy is written with the margin, whose every term is small:

    loss = log(1 + exp(-m)),   m = z_label - log sum_{c != label} exp(z_c)
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from circuitgrok import select
from circuitgrok.errors import UserError
from circuitgrok.models.kinds import AnyModel
from circuitgrok.tasks.kinds import Dataset, check_classes
from circuitgrok.tree import Params, ravel, unravel

LossFunction = Callable[[Float[Tensor, " dim"]], Float[Tensor, ""]]
Logits = Callable[[Float[Tensor, " dim"]], Float[Tensor, "pair c"]]


class Flat(NamedTuple):
    """A function of a flat vector, and where it is looked at.

    Attributes:
        function: Pure, and differentiable any number of times.
        at: The point, in float64.
        like: The tensors that the vector is made of, in order; `unravel(vector, like)` gives them back.
    """

    function: Callable[[Float[Tensor, " dim"]], Tensor]
    at: Float[Tensor, " dim"]
    like: Params


def declared(model: AnyModel, params: Params, names: Sequence[str] | None = None) -> Params:
    """The tensors that vary, in float64: those of the given names, or all that the model trains.

    Args:
        model: Says which tensors train.
        params: One network.
        names: Roles (`attention`, `mlp`, ...), globs (`*.W_E`) or paths (`blocks.0`), as in `select`; together they
            choose whole tensors, and each has to match.

    Raises:
        UserError: A name matches no tensor; the message lists what there is.

    Example:
        >>> from circuitgrok.models.transformer import Transformer
        >>> model = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> list(declared(model, params, ["embed", "*.W_U"]))
        ['embed.W_E', 'pos_embed.W_pos', 'unembed.W_U']
    """
    if names is None:
        return {name: value.double() for name, value in params.items() if model.is_trainable(name)}
    chosen = {name for pattern in names for name in select.names(params, pattern)}
    return {name: value.double() for name, value in params.items() if name in chosen}


def logits_on(model: AnyModel, params: Params, inputs: Tensor, names: Sequence[str] | None = None) -> Flat:
    """The logits at the last position as a function of the declared tensors; the others stay fixed.

    Args:
        model: Its `logits` are taken, in float64.
        params: One network.
        inputs: Tokens (a, b, '=') or features, one row per pair.
        names: As for `declared`.

    Returns:
        A function of a vector `[dim]` that gives `[pair c]`.

    Example:
        >>> from circuitgrok.models.transformer import Transformer
        >>> model = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> logits, at, _ = logits_on(model, params, torch.tensor([[1, 2, 5], [4, 0, 5]]), ["unembed"])
        >>> at.shape, logits(at).shape  # W_U [4 6] and b_U [6]
        (torch.Size([30]), torch.Size([2, 6]))
    """
    like = declared(model, params, names)
    fixed = {name: value.double() for name, value in params.items()}
    return Flat(lambda vector: model.logits(fixed | unravel(vector, like), inputs), ravel(like), like)


def loss_on(
    model: AnyModel, params: Params, task: Dataset, where: Bool[Tensor, " pair"], names: Sequence[str] | None = None
) -> Flat:
    """Mean cross-entropy of chosen pairs, in nats, as a function of the declared tensors; the others stay fixed.

    This is the bare loss: weight decay is not in it. AdamW's decay bypasses the preconditioner, so that it follows the
    gradient of no sum with the loss, and no shift of the Hessian stands for it.

    Args:
        model: Its `logits` are taken, in float64, with the '=' class if the model has one.
        params: One network.
        task: Inputs and labels.
        where: The pairs to average over; `task.is_train` for the training loss.
        names: As for `declared`.

    Returns:
        A function of a vector `[dim]` that gives a number.

    Raises:
        ValueError: No pair is picked, a name matches no tensor, or the answers are no classes.

    Example:
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8), modular_addition(p=5)
        >>> params = model.init(torch.Generator().manual_seed(0), alpha=0.0)
        >>> loss, at, _ = loss_on(model, params, task, task.is_train)
        >>> loss(at).exp()  # chance among six classes
        tensor(6.0000, dtype=torch.float64)
    """
    if not bool(where.any()):
        raise UserError("at least one pair must be picked to have a mean loss; `where` picks none")
    check_classes(task)
    logits, at, like = logits_on(model, params, task.inputs[where], names)
    labels = task.labels[where]
    return Flat(lambda vector: margin_cross_entropy(logits(vector), labels).mean(), at, like)


def margin_cross_entropy(logits: Float[Tensor, "pair c"], labels: Int[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """Cross-entropy of each pair in nats, exact to rounding of itself however small.

    So are its first two derivatives where the label is the likely class; where it is not, they are exact to rounding
    of the slope, which is 1.

    Args:
        logits: One row per pair, at least two classes.
        labels: The right class of each pair.

    Example:
        >>> logits = torch.tensor([[80.0, 0.0, 0.0]], dtype=torch.float64)
        >>> f"{margin_cross_entropy(logits, torch.tensor([0])).item():.6e}"  # 2 exp(-80); log-softmax says 0
        '3.609703e-35'
    """
    is_label = torch.nn.functional.one_hot(labels, logits.shape[-1]).bool()
    others = logits.masked_fill(is_label, -torch.inf).logsumexp(-1)
    label = logits.gather(-1, labels[:, None])[:, 0]
    return softplus(others - label, threshold=40.0)  # linear beyond, where exp(-40) is below rounding
