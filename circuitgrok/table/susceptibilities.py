"""Susceptibilities of a checkpoint's neurons or heads, and the parts that they fall into without any wave going in.

What a block's susceptibilities are is in `landscape.susceptibility`, how they are factorised in `measures.parts.modes`.
A part that is found this way is a claim about the loss near one network. Whether the network needs it is another
question, and is asked: the blocks of each part are set to zero, and as many drawn at random, several times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.landscape.density import flat, pair_losses
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.landscape.susceptibility import Blocks, Response, blocks_of, response, without
from circuitgrok.measures.parts.modes import scaled, subspace_groups
from circuitgrok.models.kinds import AnyModel
from circuitgrok.select import Owner
from circuitgrok.store.checkpoints import Checkpoints, config_of, require_split
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.needs import why_not
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd

SPREAD = 0.05  # width of the draws over the size of the weights
N_RANDOM = 32  # groups of random blocks beside each part
FEW = 0.1  # share of the draws below which too few count


@dataclass(frozen=True)
class Susceptibilities:
    """The susceptibilities of a network's blocks.

    Attributes:
        blocks: Their names, and the places of their weights.
        response: `chi` and its error, `blind`, `rise`, `worth`, by block.
        losses: Of every pair, with the weights as they are; nats.
        is_train: The pairs that were trained on.
        nbeta: Inverse temperature.
        sigma: Width of the draws, in the unit of the weights.
        n_draws: How many for each block.
    """

    blocks: Blocks
    response: Response
    losses: Float[Tensor, " pair"]
    is_train: Bool[Tensor, " pair"]
    nbeta: float
    sigma: float
    n_draws: int

    @property
    def names(self) -> list[str]:
        """Of the blocks."""
        return self.blocks.names

    def __str__(self) -> str:
        table = self.table
        signal = (self.response.chi.norm() / self.response.se.norm()).item()
        few = int((table["worth"] < FEW * self.n_draws).sum())
        return (
            f"{len(self.names)} blocks × {len(self.losses)} pairs at nβ {self.nbeta:.4g}, σ {self.sigma:.3g}: "
            f"{signal:.2g} times their standard errors (root mean squares), draws that count "
            f"{table['worth'].min():.0f} to {table['worth'].max():.0f} of {self.n_draws}"
            + (f"; of {few} blocks too few: lower spread or nbeta" if few else "")
        )

    @property
    def table(self) -> "pd.DataFrame":
        """A row for each block: `size` (length of its row of chi), `error` (that of the errors), `rise`, `worth`."""
        import pandas as pd

        of = self.response
        columns = {"size": of.chi.norm(dim=1), "error": of.se.norm(dim=1), "rise": of.rise, "worth": of.worth}
        return pd.DataFrame(
            {name: values.numpy() for name, values in columns.items()}, index=pd.Index(self.names, name="block")
        )


@dataclass(frozen=True)
class Discovery:
    """Parts that blocks fall into.

    Attributes:
        groups: The part of each block, counted from 0, the largest first.
        patterns: Of each part over pairs: the leading singular vector of its scaled rows.
        table: A row for each part: `n` blocks and `blocks`; `size`, the length of their susceptibilities together;
            `train`, `test`: by how many nats the mean loss rises when these blocks are set to zero;
            `train_random`, `test_random` and `..._sd`: mean and standard deviation for as many random blocks.
    """

    groups: Int[Tensor, " block"]
    patterns: Float[Tensor, "part pair"]
    table: "pd.DataFrame"


@in_plain_surroundings
def susceptibilities(
    run: Checkpoints,
    step: int | None = None,
    blocks: Owner = "neuron",
    *,
    layer: int | None = None,
    nbeta: float | None = None,
    spread: float = SPREAD,
    n_draws: int = 512,
    seed: int = 0,
    tick: Callable[[int, int], None] | None = None,
) -> Susceptibilities:
    """How the loss that each neuron or head causes goes with the loss of each pair, near one checkpoint.

    Args:
        run: An opened run, or other checkpoints, trained on a mean cross-entropy.
        step: The checkpoint; the last by default.
        blocks: `neuron` or `head`.
        layer: Counted from 0; the last by default.
        nbeta: Inverse temperature of the mean training loss; n / ln n by default, n the number of training pairs.
        spread: Width of the draws over the root mean square of the trained weights; above 0.1 they are not local.
        n_draws: For each block, even.
        seed: Of the draws.
        tick: Told after each block.

    Raises:
        UserError: The loss is none that can be measured here, the split is a stand-in, there are no such blocks, or a
            number is out of range.

    Example:
        >>> import circuitgrok as cg
        >>> found = cg.susceptibilities(cg.reference(), 4000, "head", n_draws=8)
        >>> found.names, found.response.chi.shape
        (['head 0', 'head 1', 'head 2', 'head 3'], torch.Size([4, 841]))
    """
    if reason := why_not("llc", config_of(run)):
        raise UserError(f"the loss whose susceptibilities are asked for {reason}")
    require_split(run, "susceptibilities")
    params = run.at(run.steps[-1] if step is None else step)
    return susceptibilities_of(
        params, run.model, run.task, blocks, layer=layer, nbeta=nbeta, spread=spread, n_draws=n_draws, seed=seed,
        tick=tick,
    )  # fmt: skip


@in_plain_surroundings
def susceptibilities_of(
    params: Params,
    model: AnyModel,
    task: Dataset,
    blocks: Owner = "neuron",
    *,
    layer: int | None = None,
    nbeta: float | None = None,
    spread: float = SPREAD,
    n_draws: int = 512,
    seed: int = 0,
    tick: Callable[[int, int], None] | None = None,
) -> Susceptibilities:
    """The same of any network on any task whose answers are classes.

    Raises:
        UserError: As for `susceptibilities`.
    """
    if not spread > 0:
        raise UserError(f"spread must be positive; got {spread}")
    parts = blocks_of(model, blocks, layer)
    point = flat(model, params)
    custom = Sampling(step_size=1.0, localization=0.0, nbeta=nbeta).inverse_temperature(task.n_train)
    sigma = spread * point.square().mean().sqrt().item()
    losses = pair_losses(model, task, torch.ones_like(task.is_train))
    found = response(
        losses, point, parts.places, task.is_train, nbeta=custom, sigma=sigma, n_draws=n_draws, seed=seed, tick=tick
    )
    return Susceptibilities(parts, found, losses(point[None])[0], task.is_train, custom, sigma, n_draws)


def check_parts(n_parts: int, n_blocks: int) -> None:
    """Blocks can fall into so many parts.

    Raises:
        UserError: There are not more blocks than parts, or fewer than two parts are asked for.
    """
    if not 2 <= n_parts < n_blocks:
        raise UserError(f"parts must be 2 to {n_blocks - 1}, fewer than blocks; got {n_parts}")


@in_plain_surroundings
def discovered(
    found: Susceptibilities,
    params: Params,
    model: AnyModel,
    task: Dataset,
    n_parts: int,
    *,
    seed: int = 0,
) -> Discovery:
    """The parts that a network's blocks fall into by their susceptibilities, and what it loses without each.

    Args:
        found: Susceptibilities of the same network's blocks.
        params: The network.
        model: Its model.
        task: Its pairs.
        n_parts: How many parts.
        seed: Of the random blocks that stand beside each part.

    Raises:
        UserError: There are not more blocks than parts, or fewer than two parts are asked for.

    Example:
        >>> import circuitgrok as cg
        >>> run = cg.reference()
        >>> seen = cg.susceptibilities(run, 4000, "head", n_draws=8)
        >>> int(discovered(seen, run.at(4000), run.model, run.task, 2).table["n"].sum())
        4
    """
    import pandas as pd

    check_parts(n_parts, len(found.names))
    chi = found.response.chi
    groups = subspace_groups(chi, n_parts)
    point, index = flat(model, params), found.blocks.places
    losses = pair_losses(model, task, torch.ones_like(task.is_train))
    draws = torch.Generator().manual_seed(seed)
    rows, patterns = [], []
    for part in groups.unique().tolist():
        own = groups == part
        drawn = [torch.randperm(len(own), generator=draws) < int(own.sum()) for _ in range(N_RANDOM)]
        each = without(losses, point, index, torch.stack([own, *drawn])) - found.losses
        sides = {"train": each[:, task.is_train].mean(1), "test": each[:, ~task.is_train].mean(1)}
        row = {"n": int(own.sum()), "size": chi[own].norm().item()}
        row |= {side: values[0].item() for side, values in sides.items()}
        row |= {f"{side}_random": values[1:].mean().item() for side, values in sides.items()}
        row |= {f"{side}_random_sd": values[1:].std().item() for side, values in sides.items()}
        names = [name for name, is_own in zip(found.names, own.tolist(), strict=True) if is_own]
        rows.append(row | {"blocks": ", ".join(names)})
        patterns.append(torch.linalg.svd(scaled(chi)[own], full_matrices=False).Vh[0])
    return Discovery(groups, torch.stack(patterns), pd.DataFrame(rows).rename_axis("part"))
