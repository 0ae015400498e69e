"""Chains of a study: where they start, how they are sampled side by side, and their courses draw by draw.

Every seed has up to three starts: a network that memorised, one that generalises, and random weights. Chains that
differ in seed, start and temperature alone share a stack; they share no arithmetic and no random numbers.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.chain_scores import chain_scores, stable_below
from circuitgrok.landscape.exploration import JITTER
from circuitgrok.samplers.descent import descent
from circuitgrok.samplers.geometry import FLAT, Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import Sampler, Target
from circuitgrok.samplers.tuned import GAIN, tuned
from circuitgrok.store.files import write_atomically
from circuitgrok.store.run import Run
from circuitgrok.study.asked import Asked
from circuitgrok.training.progress import ticks

if TYPE_CHECKING:
    import pandas as pd

MEMORISER, GENERALISER, RANDOM = STARTS = ("memoriser", "generaliser", "random")
SHARE = 0.05  # of the bound of stability at a start: the step size that is tried first
WIDTH = 0.5  # norm that a prior alone would have, in units of the memoriser's
TOGETHER = 30  # chains in a stack, at most

Starts = Mapping[int, Mapping[str, Any]]  # by seed: weights by start, and a run


class Effort(NamedTuple):
    """Which networks are starts, and how long chains are.

    Attributes:
        level: Training loss of memorisers, at most.
        fitted: Train accuracy of memorisers, at least.
        generalises: Accuracy on unseen mirrors of generalisers, at least.
        gradients: Of a chain.
        each: Of a draw: leapfrogs of a trajectory, steps of SGLD.
    """

    level: float
    fitted: float
    generalises: float
    gradients: int
    each: int


class Cell(NamedTuple):
    """One way to sample: by which sampler, where, at which temperature, from which starts.

    Attributes:
        sampler: HMC, SGLD, or descent.
        place: free, or sphere: of the memoriser's norm.
        prior: Whether there is one.
        nbeta: Inverse temperature.
        starts: Kinds of starts.
        pace: How step sizes follow acceptance (`tuned`); at 0 they stay as short as they are at first.

    Example:
        >>> Cell("descent", "sphere", False, 1e6, STARTS, 0.0).name
        'descent, sphere, short steps, nβ 1e6'
    """

    sampler: str
    place: str
    prior: bool
    nbeta: float
    starts: Sequence[str]
    pace: float = GAIN

    @property
    def name(self) -> str:
        """For people."""
        held = {"free": "", "sphere": ", sphere"}[self.place] + ", short steps" * (self.pace == 0)
        return f"{self.sampler}{held}{', prior' * self.prior}, nβ {self.nbeta:.0e}".replace("e+0", "e")

    @property
    def stack(self) -> tuple[str, str, bool, float]:
        """What chains of one stack have in common."""
        return self.sampler, self.place, self.prior, self.pace


class Chain(NamedTuple):
    """One chain.

    Attributes:
        seed: Of the study.
        cell: How it is sampled.
        begin: Its kind of start.
        number: The seed of what it draws.
    """

    seed: int
    cell: Cell
    begin: str
    number: int


def starts_of(runs: Mapping[str, Run], labels: Mapping[str, Any], effort: Effort) -> dict[int, dict[str, Any]]:
    """By seed the starts that there are, and a run; seeds without a memoriser are left out.

    Memorisers are the first fitting checkpoint of the arm `no decay`, generalisers the last one of any other.
    """
    found: dict[int, dict[str, Any]] = {}
    for name, run in runs.items():
        arm, seed, there = labels[name]["arm"], run.config.init.seed, run.history.loc[run.steps]
        if arm == "no decay":
            ok = (there["train_acc"] >= effort.fitted) & (there["train_loss"] <= effort.level)
            found.setdefault(seed, {})["run"] = run
        else:
            ok = there["test_mirror_unseen_acc"] >= effort.generalises
        if ok.any():
            step = int(there.index[ok][0] if arm == "no decay" else there.index[ok][-1])
            found.setdefault(seed, {})[MEMORISER if arm == "no decay" else GENERALISER] = run.at(step)
            found[seed][RANDOM] = run.at(0)
    return {seed: of for seed, of in found.items() if MEMORISER in of}


def sampled(there: Starts, chains: Sequence[Chain], effort: Effort) -> "pd.DataFrame":
    """Courses of chains that differ in seed, start and temperature alone: a line for each draw.

    Returns:
        Columns `cell`, `start`, `seed`, `gradients`; `unseen_acc`, `unseen_loss`, `train_acc`, `train_loss`; `norm`,
        `turned` (degrees from the start, seen from the origin), `step_size`, `acceptance`, `delta_H`, `diverged`;
        `rounding` of energies; `share`, step size over the bound of stability, halfway and at the end.
    """
    import pandas as pd

    first, tasks = chains[0].cell, [there[chain.seed]["run"].task for chain in chains]
    model, task = there[chains[0].seed]["run"].config.model, tasks[0]
    trained, unseen = (torch.stack([one.where(name) for one in tasks]) for name in ("train", "test_mirror_unseen"))
    copies = {name: torch.stack([there[c.seed][c.begin][name] for c in chains]).float() for name in model.shapes()}
    loss = ChainLoss(model, task, trained, copies, chosen_pieces(model))
    at, nbeta = loss.start, torch.tensor([chain.cell.nbeta for chain in chains], dtype=torch.float64)
    memorisers = [there[chain.seed][MEMORISER] for chain in chains]
    radius = torch.tensor([sum(of[p.name].square().sum().item() for p in loss.pieces) for of in memorisers]).sqrt()
    if first.place == "sphere":
        at = at * (radius[:, None] / at.double().norm(dim=-1, keepdim=True)).to(at)
    prior = first.prior * at.shape[1] / (WIDTH * radius.double()).square()
    target, geometry = Target(loss, torch.zeros_like(at), nbeta, prior), Sphere() if first.place == "sphere" else FLAT
    each, is_sgld = effort.each, first.sampler == "SGLD"

    def sampler(size: torch.Tensor) -> Sampler:
        if is_sgld:
            return sgld(target, step_size=size, geometry=geometry)
        if first.sampler == "descent":
            return descent(target, step_size=size, n_leapfrog=each, geometry=geometry)
        return hmc(target, step_size=size, n_leapfrog=each, jitter=JITTER, geometry=geometry)

    lines, n_draws, seeds = [], effort.gradients // each, [chain.number for chain in chains]
    begun, thin = smallest(SHARE * stable_below(target, at), chains), each if is_sgld else 1
    with ticks(f"sampling {first.name}, {len(chains)} chains,", "draws") as tick:
        for draw, now, kept, size in tuned(sampler, at, seeds, begun, n_draws, n_thin=thin, gain=first.pace):
            position = now.state["position"]
            unknown = torch.full_like(nbeta, torch.nan)
            found = chain_scores(loss, position, {"unseen": unseen, "train": trained}) | {"step_size": size}
            cosine = torch.nn.functional.cosine_similarity(position.double(), at.double(), dim=-1).clamp(-1, 1)
            found |= {"norm": position.double().norm(dim=-1), "turned": cosine.acos().rad2deg()}
            found |= {"diverged": (now.stopped_at >= 0).double()}
            found["acceptance"], found["delta_H"], value = (
                (kept.acceptance[0], kept.energy_error[0], kept.loss[0]) if kept else (unknown, unknown, unknown)
            )
            found["rounding"] = nbeta * (value - found["train_loss"])  # of energies, which float32 weights have
            found["share"] = size / stable_below(target, position) if draw in (n_draws // 2, n_draws) else unknown
            rows = pd.DataFrame({name: value.tolist() for name, value in found.items()})
            rows["cell"], rows["start"] = [c.cell.name for c in chains], [c.begin for c in chains]
            lines.append(rows.assign(seed=[c.seed for c in chains], gradients=draw * each))
            tick(draw, n_draws)
    return pd.concat(lines)


def smallest(sizes: torch.Tensor, chains: Sequence[Chain]) -> torch.Tensor:
    """Of step sizes the smallest over the starts of a seed and cell: a low loss is flat, and chains do not stay there.

    Example:
        >>> cell = Cell("HMC", "free", True, 1e5, STARTS)
        >>> chains = [Chain(0, cell, MEMORISER, 1), Chain(0, cell, RANDOM, 2), Chain(1, cell, RANDOM, 3)]
        >>> smallest(torch.tensor([3.0, 1.0, 2.0]), chains)
        tensor([1., 1., 2.])
    """
    of_each = [[size for size, of in zip(sizes, chains, strict=True) if of[:2] == chain[:2]] for chain in chains]
    return torch.stack([min(found) for found in of_each])


def sample_all(cells: Sequence[Cell], there: Starts, given: Asked, effort: Effort) -> "pd.DataFrame":
    """Courses of the chains of all cells; those of a stack are kept beside the runs (`runs/chains-….json`)."""
    import pandas as pd

    stacks: dict[tuple[str, str, bool, float], list[Cell]] = {}
    for cell in cells:
        stacks.setdefault(cell.stack, []).append(cell)
    courses = []
    for alike in stacks.values():
        together = TOGETHER // sum(len(cell.starts) for cell in alike)
        for at in range(0, len(there), together):
            seeds, ways = list(there)[at : at + together], [(cell, begin) for cell in alike for begin in cell.starts]
            chains = [
                Chain(seed, cell, begin, 10_000 * seed + 100 * cells.index(cell) + STARTS.index(begin))
                for seed in seeds
                for cell, begin in ways
                if begin in there[seed]
            ]
            file = given.out / "runs" / f"chains-{cells.index(alike[0])}-s{seeds[0]}-{seeds[-1]}.json"
            if not file.exists():
                made = sampled(there, chains, effort)
                write_atomically(file, json.dumps(made.to_dict("records")).encode())
            courses.append(pd.DataFrame(json.loads(file.read_bytes())))
    return pd.concat(courses, ignore_index=True)
