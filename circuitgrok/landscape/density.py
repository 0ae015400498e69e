"""How much of a sphere of weights answers some pairs rightly: ln Z of a data set, by replica exchange.

For weights on the sphere of radius r, with the uniform law mu_r on it, and summed cross-entropies over a data set D,

    Z_D(b; r) = mean over mu_r of exp(-b sum over D of l_i),      ln Z_D(b) = - integral from 0 to b of E_b'[L_D] db'.

At b = 1 it is the probability that a network drawn from mu_r, and answering by its own softmax, gives all labels of D:
evidence in Bayes' sense. Where b grows, what is counted is the share of the sphere that fits D. The trained weights
alone are on the sphere; biases that do not train stay zero.

Ladders of temperatures are found by a population that is cooled (`samplers.annealed.ladder`), and sampled by replica
exchange (`samplers.exchange`); neighbouring rungs are compared by Bennett's ratio (`samplers.evidence`), which has no
step of integration. Chains start hot, where the population was, or planted at a given network, at all rungs: before
they have mixed, the former miss what is rare, and the latter is never left.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok import tree
from circuitgrok.device import is_elsewhere
from circuitgrok.errors import UserError
from circuitgrok.geometry import unit
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.models.kinds import AnyModel
from circuitgrok.samplers.annealed import SHARE, Ladder, ladder
from circuitgrok.samplers.evidence import ln_evidence
from circuitgrok.samplers.exchange import SummedLoss, exchange
from circuitgrok.samplers.target import LossGrad
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tree import Params

_NUMBERS = 2**21  # activations that go through one forward
_WITH_SLOPES = 2**17  # with a backward as well, which is faster where they stay in a core's own cache


class Effort(NamedTuple):
    """How long and how finely to sample."""

    n_ladders: int = 4  # independent ones, whose spread is the error
    n_rounds: int = 400
    n_burnin: int = 200
    n_leapfrog: int = 8
    n_particles: int = 32  # of the population that finds the rungs
    share: float = SHARE  # of it that weights are worth from rung to rung: nearer to 1, more rungs


class Evidence(NamedTuple):
    """What ladders from one kind of start say of a data set."""

    betas: Float[Tensor, " rung"]
    ln_Z: Float[Tensor, "ladder rung"]  # nats; 0 at the lowest rung
    mean_loss: Float[Tensor, "ladder rung"]  # E_b[L]: summed, nats; minus the slope of ln Z
    accuracy: Float[Tensor, "ladder split"]  # at the coldest rung, on the pairs trained on and on the others
    traded: Float[Tensor, " pair"]  # share of the trades between neighbours that took place

    @property
    def complexity(self) -> Float[Tensor, "ladder rung"]:
        """-d ln Z / d ln b = b E_b[L]: at large b the learning coefficient of the whole sphere, where one exists."""
        return self.betas * self.mean_loss

    def at(self, beta: float) -> Float[Tensor, " ladder"]:
        """ln Z of each ladder at any inverse temperature: between rungs the cubic with ln Z and its slope at both.

        Raises:
            UserError: It is below 0 or colder than the coldest rung.

        Example:
            >>> of_a_line = torch.tensor([0.0, 1.0]).double(), torch.tensor([[0.0, -3.0]]).double()
            >>> Evidence(*of_a_line, torch.tensor([[3.0, 3.0]]).double(), torch.ones(1, 2), torch.ones(1)).at(0.5)
            tensor([-1.5000], dtype=torch.float64)
        """
        from scipy.interpolate import CubicHermiteSpline

        if not 0 <= beta <= self.betas[-1]:
            raise UserError(f"beta must be 0 to {self.betas[-1]:g}, the coldest rung; got {beta:g}")
        return torch.from_numpy(CubicHermiteSpline(self.betas, self.ln_Z.T, -self.mean_loss.T)(beta))


def n_weights(model: AnyModel) -> int:
    """Dimensions of the space that the sphere lies in: the trained weights."""
    return sum(torch.Size(shape).numel() for name, shape in model.shapes().items() if model.is_trainable(name))


def flat(model: AnyModel, params: Params) -> Float[Tensor, " dim"]:
    """The trained weights of one network as a vector, in float64, in the order of `summed_loss`.

    Example:
        >>> from circuitgrok.models.mlp import QuadraticMLP
        >>> model = QuadraticMLP(p=3, n_neurons=2)
        >>> flat(model, model.init(torch.Generator().manual_seed(0))).shape, n_weights(model)
        (torch.Size([18]), 18)
    """
    return tree.ravel({piece.name: piece.of(params).double() for piece in chosen_pieces(model)}, axes=0)


def summed_loss(model: AnyModel, task: Dataset, where: Bool[Tensor, " pair"], temperature: float = 1.0) -> SummedLoss:
    """The cross-entropy summed over some pairs, and its gradient, for rows of trained weights.

    The loss sees logits divided by the temperature.

    Example:
        >>> from circuitgrok.models.mlp import QuadraticMLP
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = QuadraticMLP(p=3, n_neurons=2), modular_addition(3, 0.5)
        >>> loss = summed_loss(model, task, task.is_train)
        >>> bool((loss(torch.zeros(2, 18).double()).value - 4 * torch.tensor(3.0).log()).abs().max() < 1e-6)
        True
    """
    parts, n = chosen_pieces(model), int(where.sum())
    of_chains: dict[int, ChainLoss] = {}

    def of_some(rows: Float[Tensor, "chain dim"]) -> LossGrad:
        if len(rows) not in of_chains:
            zeros = {name: rows.new_zeros(shape).expand(len(rows), *shape) for name, shape in model.shapes().items()}
            divided = None if temperature == 1 else rows.new_full((len(rows),), temperature)
            of_chains[len(rows)] = ChainLoss(model, task, where, zeros, parts, divided)
        return of_chains[len(rows)](rows)

    def loss(rows: Float[Tensor, "chain dim"]) -> LossGrad:
        together = max(1, _WITH_SLOPES // (n * model.activations_per_input))
        found = [of_some(some) for some in rows.split(len(rows) if is_elsewhere(rows.device) else together)]
        values, slopes = (torch.cat(of_rows) for of_rows in zip(*found, strict=True))
        return LossGrad(n * values, n * slopes)

    return loss


def summed_value(model: AnyModel, task: Dataset, where: Bool[Tensor, " pair"]) -> Callable[[Tensor], Tensor]:
    """The same without the gradient, in a third of the time: rows of trained weights to losses, `[row]`, in float64.

    Example:
        >>> from circuitgrok.models.mlp import QuadraticMLP
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = QuadraticMLP(p=3, n_neurons=2), modular_addition(3, 0.5)
        >>> rows = torch.linspace(-1, 1, 36).double().view(2, 18)
        >>> found = summed_value(model, task, task.is_train)(rows) - summed_loss(model, task, task.is_train)(rows).value
        >>> bool(found.abs().max() < 1e-12)
        True
    """
    losses = pair_losses(model, task, where)
    return lambda rows: losses(rows).sum(-1)


def pair_losses(model: AnyModel, task: Dataset, where: Bool[Tensor, " pair"]) -> Callable[[Tensor], Tensor]:
    """The cross-entropy of each of some pairs, `[row pair]`, in float64, for rows of trained weights.

    Example:
        >>> from circuitgrok.models.mlp import QuadraticMLP
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = QuadraticMLP(p=3, n_neurons=2), modular_addition(3, 0.5)
        >>> pair_losses(model, task, task.is_train)(torch.zeros(1, 18).double()).exp().round(decimals=9)
        tensor([[3., 3., 3., 3.]], dtype=torch.float64)
    """
    inputs, labels = task.inputs[where], task.labels[where]
    at_once = max(1, _NUMBERS // (len(labels) * model.activations_per_input))

    @torch.no_grad()
    def losses(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "row pair"]:
        found = []
        for some in rows.split(at_once):
            given = inputs.to(some.dtype) if inputs.is_floating_point() else inputs
            right = model.logits(_networks(model, some), given).double().log_softmax(-1)
            found.append(-right.gather(-1, labels.expand(len(some), -1)[..., None]).squeeze(-1))
        return torch.cat(found)

    return losses


def _networks(model: AnyModel, rows: Float[Tensor, "row dim"]) -> Params:
    """Rows of trained weights as a stack of networks; what does not train is zero."""
    parts, shapes = chosen_pieces(model), model.shapes()
    like = {piece.name: torch.empty(shapes[piece.name], device="meta") for piece in parts}
    fixed = {name: rows.new_zeros(len(rows), *shapes[name]) for name in shapes if name not in like}
    return fixed | dict(tree.unravel(rows, like))


def cooled(
    model: AnyModel,
    task: Dataset,
    where: Bool[Tensor, " pair"],
    radius: float,
    beta: float,
    effort: Effort,
    seed: int,
    temperature: float = 1.0,
) -> Ladder:
    """The rungs of a data set at a radius, of logits divided by the temperature, and a population at each."""
    like = torch.zeros(effort.n_particles, n_weights(model), dtype=torch.float64)
    draws = [torch.Generator().manual_seed(seed + i) for i in range(effort.n_particles)]
    loss = summed_loss(model, task, where, temperature)
    return ladder(loss, radius, like, beta, draws, share=effort.share, n_leapfrog=effort.n_leapfrog)


def evidence(
    model: AnyModel,
    task: Dataset,
    where: Bool[Tensor, " pair"],
    rungs: Ladder,
    effort: Effort,
    seed: int,
    *,
    planted: Float[Tensor, " dim"] | None = None,
    temperature: float = 1.0,
    tick: Callable[[int, int], None] | None = None,
) -> Evidence:
    """ln Z of a data set along its rungs, by ladders that start hot, or all at a planted network.

    Args:
        model: Whose trained weights are sampled.
        task: Gives the pairs and their labels; accuracies are on both sides of its split.
        where: The pairs that are summed over.
        rungs: As `cooled` found them.
        effort: How long.
        seed: Of all draws; seeds less than a million apart share some.
        planted: Direction of the network to start from, of any length.
        temperature: What logits are divided by, as the rungs were found.
        tick: Told after each round.

    Raises:
        UserError: The population is smaller than the number of ladders.
    """
    n_rungs, n_particles, dim = rungs.positions.shape
    if planted is None and n_particles < effort.n_ladders:
        raise UserError(f"{effort.n_ladders} ladders need as many particles; got {n_particles}")
    radius = rungs.positions[0, 0].norm()
    if planted is None:
        start = rungs.positions[:, : effort.n_ladders].transpose(0, 1)
    else:
        start = (radius * unit(planted.double())).expand(effort.n_ladders, n_rungs, dim)
    draws = [torch.Generator().manual_seed(1_000_000 * (seed + 1) + i) for i in range(effort.n_ladders * n_rungs)]
    found = exchange(
        summed_loss(model, task, where, temperature), start.contiguous(), rungs.betas, draws,
        n_rounds=effort.n_rounds, n_burnin=effort.n_burnin, n_leapfrog=effort.n_leapfrog,
        step_sizes=rungs.step_sizes, observe=_accuracies(model, task), tick=tick,
    )  # fmt: skip
    assert found.observed is not None
    ln_Z = ln_evidence(found.losses, rungs.betas)
    return Evidence(rungs.betas, ln_Z, found.losses.mean(0), found.observed.mean(0), found.traded)


def _accuracies(model: AnyModel, task: Dataset) -> Callable[[Tensor], Float[Tensor, "ladder split"]]:
    """Shares of right answers on the pairs trained on and on the others, of rows of weights."""

    def observed(rows: Tensor) -> Tensor:
        right = model.logits(_networks(model, rows), task.inputs).argmax(-1) == task.labels
        return torch.stack([right[:, side].double().mean(1) for side in (task.is_train, ~task.is_train)], 1)

    return observed
