"""A study: a question asked of a grid of runs, from its configs to a table, a figure and a verdict.

An analysis says what its arms are, what it claims, and how the answer is drawn. What all analyses have in common is
here: names of runs, training what is missing, one row per run, what has to be said of setting and censoring; and
several studies under one question, in one table and one verdict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, HOLD
from circuitgrok.study.question import Question
from circuitgrok.study.registered import Announced
from circuitgrok.study.rows import Rules, censored, name_of, norms, slug

if TYPE_CHECKING:
    import pandas as pd

Leaves = Mapping[str, Any]  # fields of a config by name
_OF_THE_TASK = ("p", "n_in", "n_out")  # sizes of a network that its task decides


@dataclass(frozen=True, repr=False)
class Study(Question):
    """A question and the runs that are asked.

    Attributes:
        question: One sentence.
        base: What every run shares.
        arms: Leaves of the config that differ, by the arm's name; or a function that finds them for the config of a
            cell of the grid and a seed, where they depend on it.
        grid: Leaf -> the values it takes, in every arm.
        seeds: Each sets the leaves of `seeded`, so that arms are compared seed by seed.
        seeded: Leaves that a seed sets.
        rules: The column and the level at which a run has memorised, has grokked, and what else is to have a time.
        claims: What is claimed before anything is trained; a sentence alone is decided by more than the table.

    Both weights and split are drawn anew for every seed. To cross them (several splits for each start) would make runs
    that share a split, and of ten runs with five splits there are five.

    Example:
        >>> base = TrainConfig.preset("quickstart")
        >>> sphere = {"fixed_norm": True, "weight_decay": 0.0}
        >>> study = Study("Does the sphere?", base, {"free": {}, "sphere": sphere}, {"alpha": [0.5, 1.0]}, seeds=[0, 1])
        >>> list(study.configs())[:3]
        ['free-alpha0.5-s0', 'free-alpha0.5-s1', 'free-alpha1-s0']
        >>> study
        Study('Does the sphere?': 2 arms × alpha (2) × 2 seeds, 8 runs)
    """

    question: str
    base: TrainConfig
    arms: Mapping[str, Leaves | Callable[[TrainConfig], Leaves]]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    seeds: Sequence[int] = range(10)
    seeded: Sequence[str] = ("seed", "data_seed")
    rules: Rules = field(default_factory=lambda: ACCURACY_RULES)
    claims: Sequence[Announced] = ()

    def __repr__(self) -> str:
        grid = "".join(f" × {name} ({len(values)})" for name, values in self.grid.items())
        shape = f"{len(self.arms)} arms{grid} × {len(self.seeds)} seeds"
        return f"Study({self.question!r}: {shape}, {len(self.configs())} runs)"

    def with_(self, **changed: Any) -> "Study":
        """A copy with fields changed, and leaves of the base by their names."""
        own = {name: value for name, value in changed.items() if name in self.__dataclass_fields__}
        leaves = {name: value for name, value in changed.items() if name not in own}
        return replace(self, **own, **({"base": self.base.with_(**leaves)} if leaves else {}))

    @property
    def all_seeds(self) -> list[int]:
        """The seeds over which claims are decided."""
        return list(self.seeds)

    def with_seeds(self, seeds: Sequence[int]) -> "Study":
        """The same study of other seeds."""
        return replace(self, seeds=seeds)

    def labels(self) -> dict[str, dict[str, Any]]:
        """Arm, values of the grid and seed of each run, by its name."""
        cells = product(self.arms, product(*self.grid.values()), self.seeds)
        lines = [{"arm": arm, **dict(zip(self.grid, values, strict=True)), "seed": seed} for arm, values, seed in cells]
        named = {name_of(line): line for line in lines}
        if len(named) < len(lines):
            raise UserError(f"two runs of {self.question!r} have one name: give the arms names that differ")
        return named

    def configs(self) -> dict[str, TrainConfig]:
        """The config of each run, by its name."""
        made = {}
        for name, line in self.labels().items():
            leaves: dict[str, Any] = {leaf: line[leaf] for leaf in self.grid} | dict.fromkeys(self.seeded, line["seed"])
            cell, arm = self.base.with_(**leaves), self.arms[line["arm"]]
            made[name] = cell.with_(**(arm(cell) if callable(arm) else arm))
        return made

    def rules_of(self) -> dict[str, Rules]:
        """The rules of the study, for every run."""
        return dict.fromkeys(self.labels(), self.rules)

    def about(self, table: "pd.DataFrame") -> list[str]:
        """What has to be said of its runs beside any verdict: the setting, and how many are censored by its rules."""
        return [self.setting(table), censored(table, list(self.grid), self.rules)]

    def setting(self, table: "pd.DataFrame") -> str:
        """What every run shares, in words: task, network, optimizer, initial norm, seeds, steps, the events' rule."""
        config, schedule = self.base, self.base.schedule
        scaled = table.assign(r0=table["r0"] / table["alpha"]) if "alpha" in self.grid else table
        alpha = 1.0 if "alpha" in self.grid else config.init.alpha
        sizes = ", ".join(map(str, sorted({one.task.n_train for one in self.configs().values()})))
        shape = ", ".join(f"{name} {n}" for name, n in config.model if type(n) is int and name not in _OF_THE_TASK)
        optimizer = f"{config.optimizer.rule} {config.optimizer.lr:g}, decay {config.optimizer.weight_decay:g}"
        return (
            f"{config.task.formula}, {sizes} to train on; {config.model.kind} ({shape}); {optimizer} where neither arm "
            f"nor grid says otherwise; base init {config.init.scheme}, |θ₀| = {norms(scaled)} at α = {alpha:g}. "
            f"{len(table)} runs, seeds {list(self.seeds)}, each of {', '.join(self.seeded)}; {schedule.steps} steps, "
            f"evaluated every {schedule.eval_every}; an event counts once it is kept for {HOLD} steps."
        )


@dataclass(frozen=True)
class Studies(Question):
    """A question whose runs are those of several studies; leaves that only some of them vary are nan in the others.

    Attributes:
        question: One sentence.
        parts: The studies by name.
        column: Column of the table that names a run's part.
        claims: What is claimed before anything is trained; a sentence alone is decided by more than the table.

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
    claims: Sequence[Announced] = ()

    def with_(self, parts: Mapping[str, Leaves] | None = None, **changed: Any) -> "Studies":
        """A copy in which each part is changed, as `Study.with_` does: by what `parts` has for it, and `changed`."""
        made = {name: part.with_(**{**changed, **(parts or {}).get(name, {})}) for name, part in self.parts.items()}
        return replace(self, parts=made)

    @property
    def all_seeds(self) -> list[int]:
        """The seeds of the part that has the fewest."""
        return min((list(part.seeds) for part in self.parts.values()), key=len)

    def with_seeds(self, seeds: Sequence[int]) -> "Studies":
        """The same question with other seeds in every part."""
        return replace(self, parts={name: part.with_seeds(seeds) for name, part in self.parts.items()})

    def labels(self) -> dict[str, dict[str, Any]]:
        """Part, arm, values of the part's grid and seed of each run, by its name."""
        lines = [(self._name(part, name), {self.column: part, **line}) for part, name, line in self._each(Study.labels)]
        if len(named := dict(lines)) < len(lines):
            raise UserError(f"two runs of {self.question!r} have one name: give the parts names that differ")
        return named

    def configs(self) -> dict[str, TrainConfig]:
        """The config of each run of every part, by the part's name and its own."""
        return {self._name(part, name): config for part, name, config in self._each(Study.configs)}

    def rules_of(self) -> dict[str, Rules]:
        """The rules of each run's part."""
        return {self._name(part, name): rules for part, name, rules in self._each(Study.rules_of)}

    def about(self, table: "pd.DataFrame") -> list[str]:
        """Setting and censoring by part, of parts that have rows."""
        of_part = {part: table[table[self.column] == part] for part in self.parts}
        said = {
            part: " ".join(study.about(of_part[part])) if len(of_part[part]) else "no runs, for want of data."
            for part, study in self.parts.items()
        }
        return [f"{part}: {words}" for part, words in said.items()]

    def _each(self, found: "Callable[[Study], dict[str, Any]]") -> list[tuple[str, str, Any]]:
        return [(part, name, one) for part, study in self.parts.items() for name, one in found(study).items()]

    @staticmethod
    def _name(part: str, name: str) -> str:
        return f"{slug(part)}-{name}"


def evenly(steps: int) -> dict[str, Any]:
    """Leaves of runs that keep a checkpoint every so many steps, the first and the last, and no others."""
    return {"checkpoint_every": steps, "checkpoints_per_decade": 0, "checkpoint_on_move": 100.0}
