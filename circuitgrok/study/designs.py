"""Factorial designs in a study's table: what a factor does to a column, averaged over all others, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from circuitgrok.polar.factorial import squares
from circuitgrok.study.claims import Selection

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Design:
    """Rows of which every seed has one for each cell of a grid.

    Attributes:
        of: The rows.
        levels: Of each factor, a column, in the order in which they rise.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> cells = [(start, radius) for start in ("memoriser", "generaliser") for radius in (1.0, 2.0)]
        >>> table = pd.DataFrame(cells, columns=["arm", "radius"]).assign(seed=0, test_acc=[0.0, 0.0, 0.9, 0.7])
        >>> design = Design(where(), {"arm": ["memoriser", "generaliser"], "radius": [1.0, 2.0]})
        >>> found = design.effect("test_acc", "arm")(table).round(3)
        >>> found["rise"].tolist(), found["own"].tolist(), found["touched"].tolist()
        ([0.8], [0.97], [0.985])
    """

    of: Selection
    levels: Mapping[str, Sequence[Any]]

    def box(self, table: "pd.DataFrame", column: str) -> tuple[list[int], Tensor]:
        """The seeds, and the column as `[seed *level]`, in float64.

        Raises:
            ValueError: A seed has not one row for each cell.
        """
        rows = self.of(table)
        seeds = sorted({int(seed) for seed in rows["seed"]})
        known = rows.set_index(["seed", *self.levels])[column]
        cells, there = list(product(seeds, *self.levels.values())), set(known.index)
        said = "several rows for a cell" if known.index.has_duplicates else ""
        said = said or next((f"no row for {cell}" for cell in cells if cell not in there), "")
        if said:
            raise ValueError(f"{column}: a factorial design has one row for each seed and cell; got {said}")
        sizes = [len(values) for values in self.levels.values()]
        return seeds, torch.tensor(known.loc[cells].to_numpy(dtype=float)).view(len(seeds), *sizes)

    def effect(self, column: str, factor: str) -> Selection:
        """By seed what a factor does to a column, for `Mean` and the like.

        Its columns: `rise`, from the first level to the last, in the mean over all other factors; `spread`, of these
        means the largest less the least, which is above 0 by chance alone; `own`, the factor's share of the variance
        over cells; `touched`, with all its interactions. Shares are nan of a seed in which nothing varies.
        """

        def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
            import pandas as pd

            seeds, values = self.box(table, column)
            names = list(self.levels)
            axis = names.index(factor) + 1
            means = values.movedim(axis, 1).flatten(2).mean(2) if values.ndim > 2 else values
            parts = squares(values, names)
            whole = torch.stack(list(parts.values())).sum(0)
            touched = torch.stack([part for of, part in parts.items() if factor in of]).sum(0)
            found = {
                "rise": means[:, -1] - means[:, 0],
                "spread": means.amax(1) - means.amin(1),
                "own": parts[factor,] / whole,
                "touched": touched / whole,
            }
            return pd.DataFrame({"seed": seeds} | {name: x.tolist() for name, x in found.items()})

        return chosen
