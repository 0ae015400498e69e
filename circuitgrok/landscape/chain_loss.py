"""The loss of a stack of networks as a function of some of their weights, laid out flat, for chains to walk on.

A tensor `[chain dim]` in, a loss and a gradient for every chain out, with the fused forward and backward of the
training loop, in the dtype of the weights. Losses come from a float64 log-softmax all the same. Which tensors the
numbers are is declared by role, by glob or by head; all others stay where they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok import tree
from circuitgrok.device import is_elsewhere
from circuitgrok.errors import UserError
from circuitgrok.interventions.losses import training_loss
from circuitgrok.models.fused import Workspace
from circuitgrok.models.kinds import AnyModel
from circuitgrok.samplers.target import Generators, LossGrad
from circuitgrok.select import Piece, pieces
from circuitgrok.tasks.kinds import Dataset, check_classes
from circuitgrok.tree import Params

_NUMBERS = 2**22  # neuron activations of the chains that go through one forward: they should stay in the cache
_NUMBERS_ELSEWHERE = 2**27  # on a GPU, which is waited for less often if it has more to do


def chosen_pieces(model: AnyModel, pattern: str = "*") -> list[Piece]:
    """What a pattern chooses among the trained tensors, in the model's order.

    Args:
        model: Says which tensors train; those that do not are never chosen.
        pattern: As in `select`: a role (`embed`, `attention`, `mlp`, `unembed`), a glob over names
            (`blocks.0.attn.W_[QK]`), a path (`blocks.0`), or one head of one layer (`blocks.0.attn.head.2`).

    Raises:
        UserError: Nothing matches; the message lists what there is.

    Example:
        >>> from circuitgrok.models.transformer import Transformer
        >>> [piece.name for piece in chosen_pieces(Transformer(p=5), "mlp")]
        ['blocks.0.mlp.W_in', 'blocks.0.mlp.b_in', 'blocks.0.mlp.W_out', 'blocks.0.mlp.b_out']
        >>> chosen_pieces(Transformer(p=5), "blocks.0.attn.head.2")[0]
        Piece(name='blocks.0.attn.W_Q', head=2)
    """
    trained = {name: shape for name, shape in model.shapes().items() if model.is_trainable(name)}
    return pieces(trained, pattern, model.called)


@dataclass
class ChainLoss:
    """Mean cross-entropy over some pairs, for a stack of networks, as a function of chosen weights.

    Every chain has a network of its own, and chains share no arithmetic. Gradients below 1e-26 are exactly zero, as
    in training.

    Attributes:
        model: The networks' model.
        task: The pairs with their labels.
        where: The pairs that the loss is a mean over; or each chain's own, as many for each.
        networks: All weights, one network per chain, `[chain ...]`.
        pieces: What moves, as `chosen_pieces` gives it.
        temperatures: What each chain's logits are divided by, `[chain]`; 1 by default.

    Raises:
        UserError: `where` picks no pair, or more for one chain than for another; or the task's answers are no classes.
    """

    model: AnyModel
    task: Dataset
    where: Bool[Tensor, "*chain pair"]
    networks: Params
    pieces: Sequence[Piece]
    temperatures: Float[Tensor, " chain"] | None = None
    _workspaces: dict[tuple[int, int], Workspace] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not bool(self.where.any()):
            raise UserError("a loss needs at least one pair; the split that was asked for has none")
        check_classes(self.task)
        self._like = {piece.name: piece.of(self.networks)[0] for piece in self.pieces}
        counts, dtype = self.where.sum(-1), next(iter(self.networks.values())).dtype
        if not bool((counts == counts.flatten()[0]).all()):
            raise UserError(f"a loss of several splits needs as many pairs of each; got {counts.tolist()}")
        pair = self.where.nonzero()[:, -1].view(*counts.shape, -1)  # of all chains, or [chain pair]
        inputs = self.task.inputs[pair]
        self._inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs  # tokens stay integers
        self._labels = self.task.labels[pair]

    @property
    def inputs(self) -> Tensor:
        """What the networks read: the same `[pair ...]` for all chains, or each chain's own, `[chain pair ...]`."""
        return self._inputs

    @property
    def start(self) -> Float[Tensor, "chain dim"]:
        """The chosen weights of every network, flat."""
        return tree.ravel({piece.name: piece.of(self.networks) for piece in self.pieces}, axes=1)

    def networks_at(self, position: Float[Tensor, "chain dim"]) -> Params:
        """All tensors of the chains' networks `[chain ...]`, what moves being at a position."""
        moved = tree.unravel(position, self._like)
        return self.networks | {piece.name: piece.put(self.networks, moved[piece.name]) for piece in self.pieces}

    def __call__(self, position: Float[Tensor, "chain dim"]) -> LossGrad:
        """The loss on all its pairs, and the gradient."""
        return self._loss(position, *self._pairs(len(position)))

    def on_batches(self, size: int, position: Float[Tensor, "chain dim"], generators: Generators) -> LossGrad:
        """The loss on `size` pairs without repetition, drawn anew for each chain by its own generator."""
        drawn = torch.stack([torch.randperm(self._labels.shape[-1], generator=g)[:size] for g in generators])
        chain = torch.arange(len(position))[:, None]
        inputs, labels = self._pairs(len(position))
        return self._loss(position, inputs[chain, drawn], labels[chain, drawn])

    def _pairs(self, n_chains: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels, `[chain pair ...]`."""
        return self._inputs.expand(n_chains, -1, -1), self._labels.expand(n_chains, -1)

    def _loss(self, position: Tensor, inputs: Tensor, labels: Tensor) -> LossGrad:
        numbers = _NUMBERS_ELSEWHERE if is_elsewhere(position.device) else _NUMBERS
        at_once = max(1, numbers // (labels.shape[1] * self.model.activations_per_input))
        values, gradient = [], torch.empty_like(position)
        for i in range(0, len(position), at_once):
            part = slice(i, i + at_once)
            values.append(self._part(part, position[part], inputs[part], labels[part], gradient[part]))
        return LossGrad(torch.cat(values), gradient)

    def _part(self, part: slice, position: Tensor, inputs: Tensor, labels: Tensor, out: Tensor) -> Tensor:
        """The losses of some chains; their gradients go to `out`."""
        moved = tree.unravel(position, self._like)
        leaves = {name: value.detach().requires_grad_() for name, value in moved.items()}
        weights = {name: value[part] for name, value in self.networks.items()}
        weights |= {piece.name: piece.put(weights, leaves[piece.name]) for piece in self.pieces}
        which = part.start if self.where.ndim > 1 else 0  # of which chains the pairs are
        workspace = self._workspaces.setdefault((which, len(position)), Workspace())
        logits = self.model.training_logits(weights, inputs, workspace)
        if self.temperatures is not None:
            logits = logits / self.temperatures[part].to(logits)[:, None, None]
        losses = training_loss(logits, labels)
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        for target, gradient in zip(tree.unravel(out, self._like).values(), gradients, strict=True):
            target.copy_(gradient)
        return losses.detach()
