"""What was counted on a sphere: evidence of data sets by ladder, and the shares that follow from it, with brackets.

Ladders are independent, so that Student's interval over them is the error; wrong labels are drawn independently, and
theirs is over draws. A difference of two samples has as many degrees of freedom as the smaller of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from circuitgrok.landscape.density import Evidence

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
        return self.generalising()

    @property
    def R_mem(self) -> Bracket:
        """The same of wrong labels on U: the mean over their draws."""
        return self.memorising()

    @property
    def delta(self) -> Bracket:
        """R_gen - R_mem: by how much the truth on U has more mass than wrong labels have, in the mean."""
        return self.excess()

    @property
    def status(self) -> str:
        """`agree`, `hot starts alone`, or `not shown`: whether hot and planted starts meet."""
        if not self.ln_Z("all", "planted"):
            return "hot starts alone"
        return "agree" if self.generalising("planted").meets(self.R_gen) else "not shown"

    def generalising(self, start: str = "hot", beta: float | None = None) -> Bracket:
        """R_gen from one kind of start, at a temperature up to the coldest, which it is by default."""
        return _difference(self.ln_Z("all", start, beta), self.ln_Z("train", start, beta))

    def memorising(self, beta: float | None = None) -> Bracket:
        """R_mem at a temperature."""
        return _difference(self._wrong(beta), self.ln_Z("train", "hot", beta))

    def excess(self, beta: float | None = None) -> Bracket:
        """R_gen - R_mem at a temperature."""
        return _difference(self.ln_Z("all", "hot", beta), self._wrong(beta))

    def ln_Z(self, data: str, start: str = "hot", beta: float | None = None) -> list[float]:
        """ln Z of each ladder at an inverse temperature from 0 to the coldest; none for what was not sampled.

        Between rungs it is the cubic that has ln Z and its slope, - E_b[L], at both.
        """
        found = [row for row in self.rows if (row["data"], row["start"]) == (data, start)]
        if beta is None or not found:
            return [ladder[-1] for row in found for ladder in row["ln_Z"]]
        return evidence_of(found[0]).at(beta).tolist()

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

    def _wrong(self, beta: float | None) -> list[float]:
        """ln Z of each draw of wrong labels, the mean over its ladders."""
        drawn = [row["data"] for row in self.rows if row["data"].startswith("wrong")]
        each = [self.ln_Z(data, "hot", beta) for data in drawn]
        return [sum(ladders) / len(ladders) for ladders in each]


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
