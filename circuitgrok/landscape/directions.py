"""Directions in which a stack of networks can be moved, whatever their length: down penalties, at random, to flatness.

Each is a function of positions `[chain dim]` that gives a vector for every chain; what a direction draws comes from the
chains' own generators. `level_flow.surfed` takes them to where the loss stays as it is.

Source: M. Hutchinson 1990 (Comm. Statist. Simul. 19, 433) for the trace by random probes.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.geometry import unit
from circuitgrok.landscape.chain_loss import ChainLoss
from circuitgrok.landscape.curvature import StackLoss
from circuitgrok.landscape.level_flow import Direction, Positions
from circuitgrok.samplers.target import Generators, standard_normal
from circuitgrok.tree import Params, ravel, unravel

RELATIVE_SIZE = 1e-2  # of a displacement, in units of the weights' norm, that sees third derivatives


def descending(rule: Callable[[Params], Float[Tensor, " chain"]], like: Params) -> Direction:
    """Down the gradient of a number of each network, such as a penalty's rule.

    Args:
        rule: Of a stack of networks `[chain ...]`, a number each, which chains do not share.
        like: Names and shapes of the tensors that a position is made of, in order.

    Example:
        >>> from circuitgrok.interventions.penalties import L1
        >>> descending(L1.rule, {"w": torch.zeros(2)})(torch.tensor([[3.0, -0.5]]))
        tensor([[-1.,  1.]])
    """

    def direction(position: Positions) -> Positions:
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_() for name, value in unravel(position, like).items()}
            gradients = torch.autograd.grad(
                rule(leaves).sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
            )
        return -ravel(dict(zip(leaves, gradients, strict=True)), axes=1)

    return direction


def flattening(loss: StackLoss, generators: Generators, *, n_probes: int = 1, size: float = RELATIVE_SIZE) -> Direction:
    """Down the gradient of the trace of the loss's Hessian, as random probes estimate it.

    With a probe z of independent signs the mean of z^T H z is the trace, and its gradient is seen by a second
    difference of gradients, (g(w + e z) + g(w - e z) - 2 g(w)) / e^2. The last term is left out where only what is
    tangential to the level set counts.

    Args:
        loss: Of every chain, with its gradient.
        generators: One for each chain; drawn from at every call.
        n_probes: Probes at a position, two gradients each.
        size: Length of the displacement e z, in units of the weights' norm.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> quartic = lambda w: LossGrad(w.double().pow(4).sum(-1), 4 * w**3)  # trace 12 |w|^2
        >>> at = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
        >>> draws = [torch.Generator().manual_seed(0)]
        >>> (flattening(quartic, draws)(at) + 2 * 4 * at**3 / (1e-2**2 * 5 / 2)).round(decimals=6)  # and 2 g / e^2
        tensor([[-24., -48.]], dtype=torch.float64)
    """

    def direction(position: Positions) -> Positions:
        total = torch.zeros_like(position)
        for _ in range(n_probes):
            signs = standard_normal(position, generators).sign()
            moved = size * position.norm(dim=-1, keepdim=True) * unit(signs)
            total += (loss(position + moved).gradient + loss(position - moved).gradient) / moved[:, :1].square()
        return -total / n_probes

    return direction


def wandering(generators: Generators) -> Direction:
    """A direction that is drawn anew at every step, of which all are as likely: Brownian motion on the level set.

    >>> wandering([torch.Generator().manual_seed(0)])(torch.zeros(1, 2)).shape
    torch.Size([1, 2])
    """
    return lambda position: standard_normal(position, generators)


def straight(like: Positions, generators: Generators) -> Direction:
    """A direction that is drawn once for each chain, and kept.

    >>> to = straight(torch.zeros(1, 2), [torch.Generator().manual_seed(0)])
    >>> torch.equal(to(torch.zeros(1, 2)), to(torch.ones(1, 2)))
    True
    """
    drawn = standard_normal(like, generators)
    return lambda position: drawn


def recoiling(loss: StackLoss, generators: Generators, size: float) -> Direction:
    """Down the gradient at a place nearby: where a correction leads from a random kick, the kick itself taken back.

    Args:
        loss: Of every chain, with its gradient.
        generators: One for each chain; drawn from at every call.
        size: Length of a kick.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = lambda w: LossGrad(w.double().square().sum(-1) / 2, w)
        >>> to = recoiling(bowl, [torch.Generator().manual_seed(0)], 0.5)
        >>> round((to(torch.ones(1, 2)) + 1).norm().item(), 6)
        0.5
    """
    return lambda position: -loss(position + size * unit(standard_normal(position, generators))).gradient


def quieting(loss: ChainLoss) -> Direction:
    """To smaller logits: down the gradient of their mean square about each pair's mean, over the loss's pairs.

    Example:
        >>> from circuitgrok.landscape.chain_loss import chosen_pieces
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8), modular_addition(5, 0.5, 0)
        >>> weights = {k: v[None] for k, v in model.init(torch.Generator().manual_seed(0)).items()}
        >>> loss = ChainLoss(model, task, task.is_train, weights, chosen_pieces(model, "unembed.W_U"))
        >>> down = quieting(loss)(loss.start)  # a quadratic in the unembedding
        >>> bool((down * loss.start).sum() < 0)
        True
    """

    def scale(networks: Params) -> Float[Tensor, " chain"]:
        logits = loss.model.logits(loss.networks | networks, loss.inputs).double()
        return (logits - logits.mean(-1, keepdim=True)).square().mean((-1, -2))

    return descending(scale, {piece.name: piece.of(loss.networks)[0] for piece in loss.pieces})


def abreast(directions: Sequence[Direction]) -> Direction:
    """Each chain in a direction of its own, which is asked with that chain alone.

    >>> abreast([lambda w: -w, lambda w: w])(torch.ones(2, 3))[:, 0].tolist()
    [-1.0, 1.0]
    """
    return lambda position: torch.cat([to(row[None]) for to, row in zip(directions, position, strict=True)])
