"""A sweep as one thing that is held: its runs, their table, its best run and its phase diagram."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.config.leaves import leaf_fields
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import RunError, UserError, nearest
from circuitgrok.figures.phases import phase_figure
from circuitgrok.figures.times import times_figure
from circuitgrok.measures.learning.classes import CLASSES, DELAY, class_of
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, events
from circuitgrok.store.run import Run, load
from circuitgrok.study.cells import DONE, cells, is_done
from circuitgrok.study.legs import course
from circuitgrok.study.rows import row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from circuitgrok.training.outlook import Outlook

SEEDS = ("seed", "data_seed", "noise_seed")
FLAGS = tuple(f"{name}_censored" for name in ACCURACY_RULES)
TIMES = tuple(f"{name}_{end}" for name in ACCURACY_RULES for end in ("after", "by", "censored"))
AT_END = ("train_loss", "test_loss", "train_acc", "test_acc", "gap", "r0", "final_norm")
KINDS = ("task", "model")
MOST_PANELS = 12


@dataclass(frozen=True, repr=False)
class Sweep:
    """The runs of a grid, those that are there and those that are not yet, in one folder.

    Attributes:
        out: The folder.
        configs: Of each run, by the name of its folder.
        settings: Of each run, by the same name: the swept fields' values.
        delay: Steps from memorised to grokked, from which a run's class is grokking.

    Example:
        >>> import tempfile
        >>> from circuitgrok.study.sweep import planned
        >>> base = TrainConfig.preset("quickstart").with_(p=5, d_model=8, d_head=2, d_mlp=8, steps=2)
        >>> sweep = planned(base, {"alpha": [0.5, 1]}, seeds=range(2), out=tempfile.mkdtemp())
        >>> len(sweep), sweep.swept, sweep.missing
        (4, ['alpha'], ['alpha0.5-seed0', 'alpha0.5-seed1', 'alpha1-seed0', 'alpha1-seed1'])
        >>> print(sweep.train().table[["alpha", "seed", "state", "grokked_after", "grokked_censored"]].head(1))
           alpha  seed     state  grokked_after  grokked_censored
        0    0.5     0  finished            2.0              True
        >>> sweep["alpha1-seed1"].state
        'finished'
    """

    out: Path
    configs: Mapping[str, TrainConfig]
    settings: Mapping[str, Mapping[str, Any]]
    delay: int = DELAY

    def train(self, **how: Any) -> "Sweep":
        """The same sweep, when what is missing has been trained; what is begun goes on.

        Args:
            how: For `circuitgrok.train`: `threads`, `allow_inexact`, `progress` and its others.

        Raises:
            RunError: A folder holds another run, is being written, or was begun in another environment.
            Interrupted: A signal arrived; everything is saved, and the same call goes on.
        """
        from circuitgrok.training.loop import train

        train(list(self.configs.values()), self.out, names=list(self.configs), **how)
        return self

    def outlook(self, **how: Any) -> "Outlook":
        """What `train` would do, before it does it: stacks, time and disk; writes nothing.

        Args:
            how: For `circuitgrok.training.outlook.outlook`: `threads`, `workers`, `executor`, `device`.

        Raises:
            UserError: What `train` refuses.
        """
        from circuitgrok.training.outlook import outlook

        return outlook(list(self.configs.values()), self.out, names=list(self.configs), **how)

    @property
    def swept(self) -> list[str]:
        """The fields that take several values, without those that only tell repetitions apart."""
        return list(next(iter(self.settings.values())))

    @property
    def runs(self) -> list[Run]:
        """The runs that are there, in the order of the table, finished or not."""
        return [load(self.out / name) for name in self.configs if (self.out / name / "config.json").exists()]

    @property
    def missing(self) -> list[str]:
        """The names of the runs that have neither finished nor diverged, nor come as far as they were asked to."""
        rows = self._rows()
        return [name for name, one in rows.items() if not is_done(one["state"])]

    @property
    def table(self) -> "pd.DataFrame":
        """One row per run, in the order of the grid; what is not known yet is missing there.

        Columns:
            The swept fields, then `seed`, `data_seed`, `noise_seed` and the run's `name`.
            `state`: finished, diverged, stopped@..., interrupted, running, new; missing without a folder. `steps`: last
            one evaluated.
            `memorised_after`, `memorised_by`, `memorised_censored`, and the same of `grokked`: the steps between which
            it happened (-1: at the first evaluation), by `circuitgrok.measures.learning.crossings`. Of a censored one
            `after` is the last step of the record, and `by` is nan.
            `train_loss`, `test_loss` (nats, or the config's loss), `train_acc`, `test_acc` at the end; `gap` is
            `train_acc - test_acc`. `r0` and `final_norm`: the weight norm at the start and at the end.
            `class`: by `circuitgrok.measures.learning.classes.class_of`; only of runs that are done.
        """
        import pandas as pd

        columns = [*self.swept, *SEEDS, "name", "state", "steps", *TIMES, *AT_END, "class"]
        table = pd.DataFrame([self._labels(name) | found for name, found in self._rows().items()], columns=columns)
        numbers = [name for name in ("steps", *TIMES, *AT_END) if name not in FLAGS]
        return table.astype(dict.fromkeys(numbers, float) | dict.fromkeys(FLAGS, "boolean"))

    def _labels(self, name: str) -> dict[str, Any]:
        leaves = self.configs[name].leaves()
        setting = {field: _cell(value) for field, value in self.settings[name].items()}
        return setting | {seed: leaves[seed] for seed in SEEDS if seed in leaves} | {"name": name}

    @cached_property
    def _done(self) -> dict[str, dict[str, Any]]:
        """What is known of runs that do not change any more."""
        return {}

    def _rows(self) -> dict[str, dict[str, Any]]:
        found = {name: self._done[name] if name in self._done else self._row(name) for name in self.configs}
        self._done.update({name: one for name, one in found.items() if one["state"] in DONE})
        return found

    def _row(self, name: str) -> dict[str, Any]:
        run = Run(self.out / name)
        if not (run.path / "config.json").exists():
            return {"state": "missing"}
        if run.config.hash != self.configs[name].hash:
            raise RunError(f"{run.path} holds a run of another config than the sweep's; choose another folder")
        state = run.state
        if not is_done(state) and not any("diverged" not in line for line in run.records("history.jsonl")):
            return {"state": state}
        whole = course(run)
        found, times, end = row(whole), events(whole.history), whole.history.iloc[-1]
        spans = {
            f"{event}_{what}": value
            for event, one in times.items()
            for what, value in (("after", one.after), ("by", one.by), ("censored", one.by is None))
        }
        of_end = {side: float(end[f"{side}_loss"]) for side in ("train", "test")}
        return (
            found
            | spans
            | {
                "state": state,
                "train_loss": of_end["train"],
                "test_loss": of_end["test"],
                "gap": found["train_acc"] - found["test_acc"],
                "class": class_of(times, self.delay) if is_done(state) else None,
            }
        )

    def best(self, by: str = "grokked_by", largest: bool | None = None) -> Run:
        """The run that grokked first; or the one whose column is least, of accuracies the largest.

        Of runs that are equal it is the first in the table; one whose value is not known (a censored time) is none.

        Args:
            by: Column of the table.
            largest: Take the largest instead of the least; by default only of accuracies.

        Raises:
            UserError: No such column, or no run has a value there.
        """
        table = self.table
        if by not in table or by in ("name", "state", "class"):
            numbers = [name for name in (*self.swept, *TIMES, *AT_END, "steps") if name not in FLAGS]
            raise UserError(f"best goes by a column of numbers; got {by!r}{nearest(by, numbers)}")
        known = table[table[by].notna()]
        if not len(known):
            raise UserError(f"no run of {self.out} has {by} (of {len(self)} runs; times may be censored): see .table")
        upwards = by.endswith("_acc") if largest is None else largest
        at = known[by].astype(float)
        return self[known["name"].tolist()[int(at.argmax() if upwards else at.argmin())]]

    def plot(self, x: str | None = None, y: str | None = None, *, colour: str = "grokked_by") -> "Figure":
        """A phase diagram over two swept fields; over one, the times against it, every run a mark.

        A cell says the median over its runs and how many of them grokked; censored medians are hatched and said as
        "> steps". The strip below tells the share of each class. What else was swept makes panels.

        Args:
            x: Field along the horizontal axis; by default the first.
            y: Field along the vertical one; by default the second, if `x` is not given either.
            colour: Column of the table: of times (logarithmic, censored) or other numbers, such as `gap`; or `class`.

        Raises:
            UserError: Nothing was swept, no such field or column, or too many panels.
        """
        fields = self._fields(x, y)
        table = self.table
        table = table.assign(**{name: table[name].map(_shown) for name in self.swept})
        if colour != "class" and (colour not in (*TIMES, *AT_END) or colour.endswith(("_after", "_censored"))):
            known = [*(name for name in TIMES if name.endswith("_by")), *AT_END, "class"]
            raise UserError(f"colour must be one of {', '.join(known)}; got {colour!r}{nearest(colour, known)}")
        others = [name for name in self.swept if name not in fields]
        panels = {}
        for setting, rows in table.groupby(others, sort=False) if others else [((), table)]:
            panels[", ".join(f"{n} = {_shown(v)}" for n, v in zip(others, setting, strict=True))] = rows
        if len(panels) > MOST_PANELS:
            raise UserError(f"{len(panels)} panels for {' and '.join(others)} are more than {MOST_PANELS}: sweep fewer")
        labels = {name: self.label(name) for name in fields}
        if len(fields) == 1:
            medians = {
                title: {event: cells(rows, fields, f"{event}_by") for event in ACCURACY_RULES}
                for title, rows in panels.items()
            }
            return times_figure(
                {title: (rows, medians[title]) for title, rows in panels.items()}, fields[0], labels[fields[0]]
            )
        counted = "grokked_by" if colour == "class" else colour
        drawn = {title: cells(rows, fields, counted) for title, rows in panels.items()}
        return phase_figure(drawn, fields, labels, colour)

    def _fields(self, x: str | None, y: str | None) -> list[str]:
        if not self.swept:
            raise UserError(f"nothing to plot against: no field of {self.out} takes several values, only seeds")
        fields = [name for name in (x, y) if name is not None] or self.swept[:2]
        for name in fields:
            if name not in self.swept:
                raise UserError(f"swept are {', '.join(self.swept)}; got {name!r}{nearest(name, self.swept)}")
        if len(set(fields)) < len(fields):
            raise UserError(f"the two axes must be two fields; got {fields[0]!r} twice")
        return fields

    def label(self, name: str) -> str:
        """A field and what it is, in the words of `--help`."""
        config = next(iter(self.configs.values()))
        kinds = {section: type(getattr(config, section)) for section in KINDS}
        said = {leaf: field.description or "" for _, leaf, field in leaf_fields(kinds)}.get(name)
        return f"{name}: {said.split(';')[0]}" if said else name

    def __len__(self) -> int:
        return len(self.configs)

    def __getitem__(self, key: str | int) -> Run:
        """A run by its name, or by its row of the table."""
        if isinstance(key, str) and key not in self.configs:
            raise KeyError(f"{self.out} has no run {key!r}{nearest(key, self.configs)}")
        return load(self.out / (key if isinstance(key, str) else list(self.configs)[key]))

    def __repr__(self) -> str:
        rows = self._rows().values()
        states, classes = Counter(one["state"] for one in rows), Counter(one.get("class") for one in rows)
        values = {name: len({repr(one[name]) for one in self.settings.values()}) for name in self.swept}
        per_setting = len(self) // len({repr(one) for one in self.settings.values()})
        repeated = f"{per_setting} seed{'s' * (per_setting > 1)}"
        shape = " × ".join([*(f"{name} ({n})" for name, n in values.items()), repeated])
        parts = [", ".join(f"{n} {state}" for state, n in states.items())]
        parts += [", ".join(f"{classes[name]} {name}" for name in CLASSES)] if any(classes[c] for c in CLASSES) else []
        return f"Sweep of {len(self)} runs in {self.out}: {shape}; {'; '.join(parts)}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.table.to_html(max_rows=60, float_format='{:.4g}'.format)}"


def _cell(value: Any) -> Any:
    """A value that can stand in a file of a table."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _shown(value: Any) -> Any:
    """A cell of the table as it stands on an axis: numbers are numbers there, all else is text."""
    if value is None or value != value:
        return "none"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
