"""A study: a question asked of a grid of runs, from its configs to a table, a figure and a verdict.

An analysis says what its arms are, what it claims, and how the answer is drawn. What all analyses have in common is
here: names of runs, training what is missing, one row per run, what has to be said of setting and censoring.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, HOLD, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.claims import Declared, decide
from circuitgrok.study.verdicts import Asked, Claim

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Study:
    """A question and the runs that are asked.

    Attributes:
        question: One sentence.
        base: What every run shares.
        arms: Leaves of the config that differ, by the arm's name.
        grid: Leaf -> the values it takes, in every arm.
        seeds: Each sets the leaves of `seeded`, so that arms are compared seed by seed.
        seeded: Leaves that a seed sets.

    Example:
        >>> base = TrainConfig.preset("quickstart")
        >>> sphere = {"fixed_norm": True, "weight_decay": 0.0}
        >>> study = Study("Does the sphere?", base, {"free": {}, "sphere": sphere}, {"alpha": [0.5, 1.0]}, seeds=[0, 1])
        >>> list(study.configs())[:3]
        ['free-alpha0.5-s0', 'free-alpha0.5-s1', 'free-alpha1-s0']
    """

    question: str
    base: TrainConfig
    arms: Mapping[str, Mapping[str, Any]]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    seeds: Sequence[int] = (0, 1, 2)
    seeded: Sequence[str] = ("seed", "data_seed")

    def with_(self, **changed: Any) -> "Study":
        """A copy with fields changed, and leaves of the base by their names."""
        own = {name: value for name, value in changed.items() if name in self.__dataclass_fields__}
        leaves = {name: value for name, value in changed.items() if name not in own}
        return replace(self, **own, **({"base": self.base.with_(**leaves)} if leaves else {}))

    def labels(self) -> dict[str, dict[str, Any]]:
        """Arm, values of the grid and seed of each run, by its name."""
        cells = product(self.arms, product(*self.grid.values()), self.seeds)
        lines = [{"arm": arm, **dict(zip(self.grid, values, strict=True)), "seed": seed} for arm, values, seed in cells]
        named = {_name(line): line for line in lines}
        if len(named) < len(lines):
            raise UserError(f"two runs of {self.question!r} have one name: give the arms names that differ")
        return named

    def configs(self) -> dict[str, TrainConfig]:
        """The config of each run, by its name."""
        return {
            name: self.base.with_(
                **{leaf: line[leaf] for leaf in self.grid},
                **dict.fromkeys(self.seeded, line["seed"]),
            ).with_(**self.arms[line["arm"]])
            for name, line in self.labels().items()
        }

    def train(self, given: Asked) -> dict[str, Run]:
        """The runs by name, trained where they are not there yet, below `given.out`."""
        from circuitgrok.training.loop import train
        from circuitgrok.training.progress import LiveProgress

        configs = self.configs()
        runs = train(
            list(configs.values()),
            given.out / "runs",
            names=list(configs),
            progress=LiveProgress(),
            threads=given.threads,
        )
        return dict(zip(configs, runs, strict=True))

    def table(
        self, runs: Mapping[str, Run], more: Callable[[Run], Mapping[str, Any]] = lambda run: {}
    ) -> "pd.DataFrame":
        """One row per run: its labels, its start and end, when it memorised and grokked, and `more` of it.

        Times are those of `crossings.events`, nan where they are censored at the last step (`steps`).
        """
        import pandas as pd

        labels = self.labels()
        return pd.DataFrame([labels[name] | row(run) | dict(more(run)) for name, run in runs.items()])

    def write(
        self,
        given: Asked,
        table: "pd.DataFrame",
        claims: Sequence[Claim | Declared],
        figure: "Figure",
        notes: Sequence[str] = (),
    ) -> None:
        """Write table, figure and verdict, and print the verdict; setting and censoring are said before `notes`."""
        self.write_long(given, table, table, claims, figure, notes)

    def write_long(
        self,
        given: Asked,
        runs: "pd.DataFrame",
        table: "pd.DataFrame",
        claims: Sequence[Claim | Declared],
        figure: "Figure",
        notes: Sequence[str] = (),
    ) -> None:
        """Write a table with other rows than one per run, such as checkpoints; `runs` has those, for the setting."""
        declared = [one for one in claims if isinstance(one, Declared)]
        decided = dict(zip([one.text for one in declared], decide(declared, table), strict=True))
        made = [decided[one.text] if isinstance(one, Declared) else one for one in claims]
        said = [self.setting(runs), censored(runs, list(self.grid)), *notes]
        verdicts.write(given.out, self.question, made, said, table, figure)
        print((given.out / "verdict.md").read_text("utf-8"))

    def setting(self, table: "pd.DataFrame") -> str:
        """What every run shares, in words: task, network, optimizer, initial norm, seeds, steps, the events' rule."""
        config, schedule = self.base, self.base.schedule
        unit = (table["r0"] / table["alpha"]).mean() if "alpha" in table else table["r0"].mean()
        alpha = 1.0 if "alpha" in table else config.init.alpha
        optimizer = f"{config.optimizer.rule} {config.optimizer.lr:g}, decay {config.optimizer.weight_decay:g}"
        return (
            f"{config.task.formula}, {config.task.n_train} training pairs; {config.model.kind}; {optimizer} where no "
            f"arm says otherwise; base init {config.init.scheme}, |θ₀| = {unit:.2f} at α = {alpha:g}. "
            f"{len(table)} runs, seeds {list(self.seeds)}, each of {', '.join(self.seeded)}; {schedule.steps} steps, "
            f"evaluated every {schedule.eval_every}; an event counts once it holds at {HOLD + 1} evaluations in a row."
        )


def row(run: Run) -> dict[str, Any]:
    """What every study tells of a run: start, end, best accuracies, and when it memorised and grokked."""
    history = run.history
    times = {f"{name}_by": math.nan if event.by is None else event.by for name, event in events(history).items()}
    last = history.iloc[-1]
    return {
        "r0": run.manifest["start"]["norm"],
        "state": run.state,
        "steps": int(history.index[-1]),
        "final_norm": last["norm"],
        "train_acc": last["train_acc"],
        "test_acc": last["test_acc"],
        "best_train_acc": history["train_acc"].max(),
        "best_test_acc": history["test_acc"].max(),
        **times,
    }


def censored(table: "pd.DataFrame", grid: Sequence[str]) -> str:
    """How many runs of each arm and value of the grid did not memorise, did not grok, or diverged."""
    said = []
    for column, (name, level) in zip(("memorised_by", "grokked_by"), ACCURACY_RULES.values(), strict=True):
        cells = table.groupby(["arm", *grid], sort=False)[column].agg(lambda times: int(times.isna().sum()))
        sizes = table.groupby(["arm", *grid], sort=False).size()
        missed = [f"{_cell(cell, grid)}: {n} of {sizes[cell]}" for cell, n in cells.items() if n]
        said.append(f"{name} never held {level:g} within the budget: {', '.join(missed) or 'no run'}")
    return f"Censored: {'; '.join(said)}. Diverged: {int((table['state'] == 'diverged').sum())} runs."


def _cell(cell: Any, grid: Sequence[str]) -> str:
    arm, *values = cell if isinstance(cell, tuple) else (cell,)
    return " ".join([str(arm), *(f"{leaf} {_text(value)}" for leaf, value in zip(grid, values, strict=True))])


def _name(line: Mapping[str, Any]) -> str:
    parts = [f"{leaf}{_text(value)}" for leaf, value in line.items() if leaf not in ("arm", "seed")]
    return re.sub(r"[^\w.+-]+", "-", "-".join([str(line["arm"]), *parts, f"s{line['seed']}"])).strip("-")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
