"""A study: a question asked of a grid of runs, from its configs to a table, a figure and a verdict.

An analysis says what its arms are, what it claims, and how the answer is drawn. What all analyses have in common is
here: names of runs, training what is missing, one row per run, what has to be said of setting and censoring.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

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

Leaves = Mapping[str, Any]  # fields of a config by name
Rules = Mapping[str, tuple[str, float]]  # column and level that it must reach, by the name of the event
R = TypeVar("R", bound="Recorded")
_OF_THE_TASK = ("p", "n_in", "n_out")  # sizes of a network that its task decides


class Recorded(Protocol):
    """What a line of the table is read from: a run, or legs that are taken as one."""

    @property
    def history(self) -> "pd.DataFrame":
        """Evaluations, by step."""
        ...

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Where it started."""
        ...

    @property
    def state(self) -> str:
        """How it ended."""
        ...


@dataclass(frozen=True)
class Study:
    """A question and the runs that are asked.

    Attributes:
        question: One sentence.
        base: What every run shares.
        arms: Leaves of the config that differ, by the arm's name, or a function from a seed to them.
        grid: Leaf -> the values it takes, in every arm.
        seeds: Each sets the leaves of `seeded`, so that arms are compared seed by seed.
        seeded: Leaves that a seed sets.
        rules: Column and level by which a run has memorised, and those by which it has grokked.

    Example:
        >>> base = TrainConfig.preset("quickstart")
        >>> sphere = {"fixed_norm": True, "weight_decay": 0.0}
        >>> study = Study("Does the sphere?", base, {"free": {}, "sphere": sphere}, {"alpha": [0.5, 1.0]}, seeds=[0, 1])
        >>> list(study.configs())[:3]
        ['free-alpha0.5-s0', 'free-alpha0.5-s1', 'free-alpha1-s0']
    """

    question: str
    base: TrainConfig
    arms: Mapping[str, Leaves | Callable[[int], Leaves]]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    seeds: Sequence[int] = (0, 1, 2)
    seeded: Sequence[str] = ("seed", "data_seed")
    rules: Rules = field(default_factory=lambda: ACCURACY_RULES)

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
        configs = {}
        for name, line in self.labels().items():
            arm = self.arms[line["arm"]]
            common = {leaf: line[leaf] for leaf in self.grid} | dict.fromkeys(self.seeded, line["seed"])
            configs[name] = self.base.with_(**common).with_(**(arm(line["seed"]) if callable(arm) else arm))
        return configs

    def train(self, given: Asked) -> dict[str, Run]:
        """The runs by name, trained where they are not there yet, below `given.out`."""
        return trained(self.configs(), given)

    def by_arm(self, runs: Mapping[str, R]) -> dict[str, list[R]]:
        """The runs of each arm, in the order of the table."""
        labels = self.labels()
        return {arm: [run for name, run in runs.items() if labels[name]["arm"] == arm] for arm in self.arms}

    def table(self, runs: Mapping[str, R], more: Callable[[R], Mapping[str, Any]] = lambda run: {}) -> "pd.DataFrame":
        """One row per run: its labels, its start and end, when it memorised and grokked, and `more` of it.

        Times are those of `crossings.events`, nan where they are censored at the last step (`steps`).
        """
        import pandas as pd

        labels = self.labels()
        return pd.DataFrame([labels[name] | row(run, self.rules) | dict(more(run)) for name, run in runs.items()])

    def write(
        self,
        given: Asked,
        table: "pd.DataFrame",
        claims: Sequence[Claim | Declared],
        figure: "Figure",
        notes: Sequence[str] = (),
    ) -> None:
        """Write table, figure and verdict, and print the verdict; setting and censoring are said before `notes`."""
        declared = [one for one in claims if isinstance(one, Declared)]
        decided = dict(zip([one.text for one in declared], decide(declared, table), strict=True))
        made = [decided[one.text] if isinstance(one, Declared) else one for one in claims]
        said = [self.setting(table), censored(table, list(self.grid), self.rules), *notes]
        verdicts.write(given.out, self.question, made, said, table, figure)
        print((given.out / "verdict.md").read_text("utf-8"))

    def setting(self, table: "pd.DataFrame") -> str:
        """What every run shares, in words: task, network, optimizer, initial norm, seeds, steps, the events' rule."""
        config, schedule = self.base, self.base.schedule
        unit = _norms(table.assign(r0=table["r0"] / table["alpha"]) if "alpha" in table else table)
        alpha = 1.0 if "alpha" in table else config.init.alpha
        sizes = ", ".join(f"{name} {n}" for name, n in config.model if type(n) is int and name not in _OF_THE_TASK)
        optimizer = f"{config.optimizer.rule} {config.optimizer.lr:g}, decay {config.optimizer.weight_decay:g}"
        return (
            f"{config.task.formula}, {config.task.n_train} training pairs; {config.model.kind} ({sizes}); {optimizer} "
            f"where no arm says otherwise; base init {config.init.scheme}, |θ₀| = {unit} at α = {alpha:g}. "
            f"{len(table)} runs, seeds {list(self.seeds)}, each of {', '.join(self.seeded)}; {schedule.steps} steps, "
            f"evaluated every {schedule.eval_every}; an event counts once it holds at {HOLD + 1} evaluations in a row."
        )


def trained(configs: Mapping[str, TrainConfig], given: Asked) -> dict[str, Run]:
    """Runs of these configs by their names, trained where they are not there yet, below `given.out`."""
    from circuitgrok.training.loop import train
    from circuitgrok.training.progress import LiveProgress

    folder, threads = given.out / "runs", given.threads
    runs = train(list(configs.values()), folder, names=list(configs), progress=LiveProgress(), threads=threads)
    return dict(zip(configs, runs, strict=True))


def row(run: Recorded, rules: Rules = ACCURACY_RULES) -> dict[str, Any]:
    """What every study tells of a run: start, end, best accuracies, and when it memorised and grokked."""
    history = run.history
    times = {f"{name}_by": math.nan if event.by is None else event.by for name, event in events(history, rules).items()}
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


def censored(table: "pd.DataFrame", grid: Sequence[str], rules: Rules = ACCURACY_RULES) -> str:
    """How many runs of each arm and value of the grid did not memorise, did not grok, or diverged."""
    said = []
    for column, (name, level) in zip(("memorised_by", "grokked_by"), rules.values(), strict=True):
        cells = table.groupby(["arm", *grid], sort=False)[column].agg(lambda times: int(times.isna().sum()))
        sizes = table.groupby(["arm", *grid], sort=False).size()
        missed = [f"{_cell(cell, grid)}: {n} of {sizes[cell]}" for cell, n in cells.items() if n]
        said.append(f"{name} never held {level:g} within the budget: {', '.join(missed) or 'no run'}")
    return f"Censored: {'; '.join(said)}. Diverged: {int((table['state'] == 'diverged').sum())} runs."


def _norms(table: "pd.DataFrame") -> str:
    """The mean initial norm; where arms begin apart, as other networks do, that of the first and of these."""
    first, *others = table.groupby("arm", sort=False)["r0"].mean().items()
    apart = [f"{norm:.2f} ({arm})" for arm, norm in others if abs(norm / first[1] - 1) > 0.01]
    return f"{first[1]:.2f}, but {', '.join(apart)}" if apart else f"{table['r0'].mean():.2f}"


def _cell(cell: Any, grid: Sequence[str]) -> str:
    arm, *values = cell if isinstance(cell, tuple) else (cell,)
    return " ".join([str(arm), *(f"{leaf} {_text(value)}" for leaf, value in zip(grid, values, strict=True))])


def _name(line: Mapping[str, Any]) -> str:
    parts = [f"{leaf}{_text(value)}" for leaf, value in line.items() if leaf not in ("arm", "seed")]
    return re.sub(r"[^\w.+-]+", "-", "-".join([str(line["arm"]), *parts, f"s{line['seed']}"])).strip("-")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
