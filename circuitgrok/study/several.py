"""Several studies under one question: parts of other tasks, networks or grids, in one table and one verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Declared
from circuitgrok.study.rows import slug, tabulate
from circuitgrok.study.study import Study, conclude, train_missing
from circuitgrok.study.verdicts import Asked, Claim

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Studies:
    """A question whose runs are those of several studies.

    Attributes:
        question: One sentence.
        parts: The studies by name.
        column: Column of the table that names a run's part.

    Example:
        >>> base = TrainConfig.preset("quickstart")
        >>> parts = {
        ...     "rates": Study("Which rate?", base, {"one layer": {}}, {"lr": [1e-3, 3e-3]}, seeds=[0]),
        ...     "layers": Study("Which depth?", base, {"one layer": {}, "two layers": {"n_layers": 2}}, seeds=[0]),
        ... }
        >>> list(Studies("Which network?", parts).configs())
        ['rates-one-layer-lr0.001-s0', 'rates-one-layer-lr0.003-s0', 'layers-one-layer-s0', 'layers-two-layers-s0']
    """

    question: str
    parts: Mapping[str, Study]
    column: str = "part"

    def labels(self) -> dict[str, dict[str, Any]]:
        """Part, arm, values of the part's grid and seed of each run, by its name."""
        lines = [(self._name(part, name), {self.column: part, **line}) for part, name, line in self._each(Study.labels)]
        if len(named := dict(lines)) < len(lines):
            raise UserError(f"two runs of {self.question!r} have one name: give the parts names that differ")
        return named

    def configs(self) -> dict[str, TrainConfig]:
        """The config of each run of every part, by the part's name and its own."""
        return {self._name(part, name): config for part, name, config in self._each(Study.configs)}

    def train(self, given: Asked) -> dict[str, Run]:
        """The runs by name, trained where they are not there yet, below `given.out`."""
        return train_missing(self.configs(), given)

    def table(
        self, runs: Mapping[str, Run], more: Callable[[Run], Mapping[str, Any]] = lambda run: {}
    ) -> "pd.DataFrame":
        """One row per run, as of `Study.table`; leaves that only other parts vary are nan."""
        rules = {self._name(part, name): study.rules for part, study in self.parts.items() for name in study.labels()}
        return tabulate(self.labels(), runs, more, rules)

    def write(
        self,
        given: Asked,
        table: "pd.DataFrame",
        claims: Sequence[Claim | Declared],
        figure: "Figure",
        notes: Sequence[str] = (),
    ) -> None:
        """Write table, figure and verdict, and print the verdict; before `notes`, setting and censoring by part."""
        of_part = {part: table[table[self.column] == part] for part in self.parts}
        said = [f"{part}: {' '.join(study.about(of_part[part]))}" for part, study in self.parts.items()]
        conclude(given, self.question, table, claims, figure, [*said, *notes])

    def _each(self, found: "Callable[[Study], dict[str, Any]]") -> list[tuple[str, str, Any]]:
        return [(part, name, one) for part, study in self.parts.items() for name, one in found(study).items()]

    @staticmethod
    def _name(part: str, name: str) -> str:
        return f"{slug(part)}-{name}"
