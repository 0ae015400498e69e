"""Existence or density: which share of what fits the training pairs, at a radius, also answers all the others.

T are the pairs that are trained on, U the others, and ln Z_D(b; r) is that of `landscape.density`. Then

    R_gen = ln Z_{T and U} - ln Z_T          ln of the share of the mass that fits T which fits the truth on U
    R_mem = the same with wrong labels on U, drawn anew many times, in the mean
    chance = - |U| ln c                      what answers at random would have, c classes

At b = 1 R_gen is the evidence that T gives for U: the mean, over networks that answer T, of the probability that they
answer U. Above chance, what fits T generalises by its mass alone; below, generalising solutions have to be selected, by
whoever finds them. Wrong labels of an operation that commutes are the same for (a, b) and (b, a), as its true ones are.

A data set's ladders are independent, and their spread is the error; those that start hot and those that start at a
planted network must agree, or nothing is shown. What is finished is kept, and the same call goes on.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.errors import UserError
from circuitgrok.landscape.density import Effort, Evidence, cooled, evidence, flat, n_weights
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.kept import Estimates
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tasks.kinds import Dataset, check_classes
from circuitgrok.tasks.modular import COMMUTING, Task
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95  # of the intervals
Row = Mapping[str, Any]


class Bracket(NamedTuple):
    """A number of nats with its interval of 95 % (Student, over ladders or draws)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def meets(self, other: "Bracket") -> bool:
        """Whether the two intervals have a point in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Density:
    """What is known of the density of solutions at a radius.

    Attributes:
        radius: Norm of all trained weights.
        beta: Inverse temperature of the sums of cross-entropies.
        n_weights: Dimensions.
        n_classes: c.
        n_train: |T|.
        n_held: |U|.
        rows: A line for each data set (`train`, `all`, `wrong 0`, …) and kind of start (`hot`, `planted`).
    """

    radius: float
    beta: float
    n_weights: int
    n_classes: int
    n_train: int
    n_held: int
    rows: Sequence[Row]

    @property
    def chance(self) -> float:
        """ln of the probability that answers drawn at random are right on U, - |U| ln c."""
        return -self.n_held * math.log(self.n_classes)

    @property
    def R_gen(self) -> Bracket:
        """ln of the share of the mass on T that fits the truth on U, from hot starts."""
        return self.generalising("hot")

    @property
    def R_mem(self) -> Bracket:
        """The same of wrong labels on U: the mean over their draws."""
        return _difference(self._wrong(), self._ends("train", "hot"))

    @property
    def delta(self) -> Bracket:
        """R_gen - R_mem: by how much the truth on U has more mass than wrong labels have, in the mean."""
        return _difference(self._ends("all", "hot"), self._wrong())

    @property
    def status(self) -> str:
        """`agree`, `hot starts alone`, or `not shown`: whether hot and planted starts meet."""
        if not self._ends("all", "planted"):
            return "hot starts alone"
        return "agree" if self.generalising("planted").meets(self.R_gen) else "not shown"

    def generalising(self, start: str) -> Bracket:
        """R_gen from one kind of start."""
        return _difference(self._ends("all", start), self._ends("train", start))

    def curve(self, data: str, start: str = "hot") -> "pd.DataFrame":
        """Along the rungs of a data set: `beta`, `ln_Z` with `se`, and `complexity`, -d ln Z / d ln beta."""
        import pandas as pd

        [row] = [row for row in self.rows if (row["data"], row["start"]) == (data, start)]
        found = evidence_of(row)
        n = math.sqrt(len(found.ln_Z))
        columns = {"ln_Z": found.ln_Z.mean(0), "se": found.ln_Z.std(0) / n, "complexity": found.complexity.mean(0)}
        return pd.DataFrame({"beta": found.betas.tolist()} | {name: of.tolist() for name, of in columns.items()})

    @property
    def table(self) -> "pd.DataFrame":
        """A row for each ladder: data set, start, `ln_Z` at beta, accuracies of the coldest rung, least trade rate."""
        import pandas as pd

        lines = []
        for row in self.rows:
            found = evidence_of(row)
            for i, (ln_Z, right) in enumerate(zip(found.ln_Z[:, -1].tolist(), found.accuracy.tolist(), strict=True)):
                line = {"data": row["data"], "start": row["start"], "ladder": i, "ln_Z": ln_Z}
                lines.append(line | {"acc_train": right[0], "acc_held": right[1], "traded": found.traded.min().item()})
        return pd.DataFrame(lines)

    def __str__(self) -> str:
        n = sum(row["data"].startswith("wrong") for row in self.rows)
        wrong = f"\n  R_mem   {self.R_mem}   ({n} draws of wrong labels)\n  R_gen - R_mem {self.delta}" if n > 1 else ""
        return (
            f"r = {self.radius:g}, beta = {self.beta:g}: {self.n_weights} weights, {self.n_train} pairs fitted, "
            f"{self.n_held} others\n  R_gen   {self.R_gen}   chance {self.chance:.4g}   ({self.status}){wrong}"
        )

    def _ends(self, data: str, start: str) -> list[float]:
        """ln Z at beta of each ladder."""
        found = [row for row in self.rows if (row["data"], row["start"]) == (data, start)]
        return [ladder[-1] for row in found for ladder in row["ln_Z"]]

    def _wrong(self) -> list[float]:
        """ln Z of each draw of wrong labels, the mean over its ladders."""
        found = [row["ln_Z"] for row in self.rows if row["data"].startswith("wrong")]
        return [sum(ladder[-1] for ladder in ln_Z) / len(ln_Z) for ln_Z in found]


@in_plain_surroundings
def density(
    model: AnyModel,
    task: Dataset,
    radius: float,
    *,
    beta: float = 1.0,
    n_wrong: int = 20,
    planted: Params | None = None,
    effort: Effort = Effort(),  # noqa: B008 - a tuple
    seed: int = 0,
    keep: str | Path | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Density:
    """The density of generalising and of other solutions on a sphere of weights: R_gen, R_mem, and their brackets.

    Args:
        model: Whose trained weights lie on the sphere; those that do not train are zero.
        task: Pairs, labels and split: T is what is trained on. A split without mirrors across (`mirror_free`) leaves no
            test pair whose answer stands in the training set.
        radius: Norm of the weights.
        beta: Inverse temperature of the summed cross-entropies; large, what fits exactly is counted.
        n_wrong: Draws of wrong labels; two or more give R_mem an interval.
        planted: A network that answers all pairs, to start from as well.
        effort: How long and how finely.
        seed: Of wrong labels and of all draws.
        keep: A folder in which finished data sets are kept; the same call then goes on with what is missing.
        tick: Told after each round: rounds done, rounds in all.

    Raises:
        UserError: No pair is left to hold out, or the task's answers are no classes.
        DamagedFile: What was kept is not what was written.

    Example:
        >>> from circuitgrok.models.mlp import QuadraticMLP
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> task = modular_addition(3, 0.5, split="mirror_free")
        >>> few = Effort(n_rounds=40, n_burnin=20)
        >>> found = density(QuadraticMLP(p=3, n_neurons=2), task, 1.0, n_wrong=2, effort=few)
        >>> found.n_weights, found.n_held, round(found.chance, 1), found.status
        (18, 6, -6.6, 'hot starts alone')
        >>> abs(found.R_gen.value - found.chance) < 0.5  # at a small radius all answers are alike
        True
    """
    check_classes(task)
    if bool(task.is_train.all()) or n_wrong < 0:
        raise UserError("a density needs pairs that are held out, and n_wrong 0 or more")
    everywhere = torch.ones_like(task.is_train)
    sets = {"train": (task, task.is_train), "all": (task, everywhere)}
    sets |= {f"wrong {i}": (wrongly(task, seed, i), everywhere) for i in range(n_wrong)}
    asked = [(data, "hot") for data in sets] + [(data, "planted") for data in ("train", "all") if planted is not None]
    at = None if planted is None else flat(model, planted)
    kept = _kept(keep, model, task, radius, beta, effort, seed, at)
    rows = {(row["data"], row["start"]): row for row in kept or ()}
    each = effort.n_rounds + effort.n_burnin
    for i, (data, start) in enumerate(asked):
        if (data, start) in rows:
            continue
        labelled, where = sets[data]
        own = 1000 * seed + [*sets].index(data)
        rungs = cooled(model, labelled, where, radius, beta, effort, 100 * own)
        told = None if tick is None else (lambda done, _, i=i: tick(i * each + done, len(asked) * each))
        point = at if start == "planted" else None
        found = evidence(
            model, labelled, where, rungs, effort, 2 * own + (start == "planted"), planted=point, tick=told
        )
        rows[data, start] = {"data": data, "start": start, **{k: v.tolist() for k, v in found._asdict().items()}}
        if kept:
            kept.add([rows[data, start]])
    classes, held = model.n_classes, int((~task.is_train).sum())
    n_train = int(task.is_train.sum())
    return Density(radius, beta, n_weights(model), classes, n_train, held, [rows[one] for one in asked])


def wrongly(task: Dataset, seed: int, draw: int) -> Dataset:
    """The task with wrong labels on all pairs that are not trained on, each of the others as likely.

    Example:
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> task = modular_addition(5, 0.4, split="mirror_free")
        >>> other = wrongly(task, 0, 0)
        >>> is_same = other.labels == task.labels
        >>> bool((is_same == task.is_train).all()), torch.equal(other.labels.view(5, 5), other.labels.view(5, 5).T)
        (True, True)
    """
    draws = torch.Generator().manual_seed(1_000_003 * seed + draw)
    n_classes = int(task.labels.max()) + 1
    by = torch.randint(1, n_classes, task.labels.shape, generator=draws)
    if isinstance(task, Task) and task.operation in COMMUTING:
        by = _alike_in_mirrors(task, by)
    return replace(task, labels=torch.where(task.is_train, task.labels, (task.labels + by) % n_classes))


def _alike_in_mirrors(task: Task, values: Int[Tensor, " pair"]) -> Int[Tensor, " pair"]:
    """The value of (a, b), a ≤ b, for (b, a) as well."""
    side = math.isqrt(len(values))
    square = values.view(side, side)
    return (square.triu() + square.triu(1).T).flatten()


def evidence_of(row: Row) -> Evidence:
    """A row's numbers as tensors."""
    return Evidence(*(torch.tensor(row[name], dtype=torch.float64) for name in Evidence._fields))


def _difference(x: Sequence[float], y: Sequence[float]) -> Bracket:
    """Mean of x less mean of y, samples that are independent; freedoms as of the smaller one."""
    from scipy.stats import t

    if not x or not y:
        return Bracket(math.nan, -math.inf, math.inf)
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (x, y))
    value = (a.mean() - b.mean()).item()
    if min(len(a), len(b)) < 2:
        return Bracket(value, -math.inf, math.inf)
    se = (a.var() / len(a) + b.var() / len(b)).sqrt().item()
    wide = float(t.ppf((1 + LEVEL) / 2, min(len(a), len(b)) - 1)) * se
    return Bracket(value, value - wide, value + wide)


def _kept(
    keep: str | Path | None,
    model: AnyModel,
    task: Dataset,
    radius: float,
    beta: float,
    effort: Effort,
    seed: int,
    planted: Tensor | None,
) -> Estimates | None:
    """The file of finished data sets, by all that they hang on; None if nothing is to be kept."""
    if keep is None:
        return None
    of = {
        "model": model.model_dump(mode="json"),
        "pairs": sha256(task.inputs.numpy().tobytes(), task.labels.numpy().tobytes(), task.is_train.numpy().tobytes()),
        "planted": None if planted is None else sha256(planted.numpy().tobytes()),
        "radius": float(radius).hex(),
        "beta": float(beta).hex(),
        "effort": list(effort),
        "seed": seed,
    }
    digest = sha256(canonical_json(of).encode())[:16]
    return Estimates(Path(keep) / f"density_{digest}.jsonl", digest)
