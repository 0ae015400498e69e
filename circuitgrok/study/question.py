"""What every question does with its runs: claims said before, training what is missing, a table, a verdict.

The claims are part of the question. Before the first run they are recorded, with the commit of their file; a claim that
the seeds cannot decide is refused; what each can decide is said. Afterwards the words are taken together (Holm), and a
replication puts those of other seeds beside them.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.store.run import Run
from circuitgrok.study import registered, verdicts
from circuitgrok.study.asked import Asked, parser_of
from circuitgrok.study.evidence import Claim, Declared, decide
from circuitgrok.study.kept import keep_rows, kept_rows
from circuitgrok.study.registered import Announced
from circuitgrok.study.rows import R, Rules, tabulate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Question(ABC):
    """What is done with the runs that a question asks for, be they one grid or several."""

    question: str
    claims: Sequence[Announced]

    @abstractmethod
    def labels(self) -> dict[str, dict[str, Any]]:
        """Arm, values of the grid and seed of each run, by its name."""

    @abstractmethod
    def configs(self) -> dict[str, TrainConfig]:
        """The config of each run, by its name."""

    @abstractmethod
    def rules_of(self) -> dict[str, Rules]:
        """The rules for the times of each run, by its name."""

    @abstractmethod
    def about(self, table: "pd.DataFrame") -> list[str]:
        """Setting and censoring of the runs of a table, in words."""

    @property
    @abstractmethod
    def all_seeds(self) -> list[int]:
        """The seeds over which claims are decided."""

    @abstractmethod
    def with_seeds(self, seeds: Sequence[int]) -> Self:
        """The same question of other seeds."""

    def asked(self, script: str, quick: Self, smaller: str) -> tuple[Asked, Self]:
        """The options of the command line, and the study that they ask for: `quick`, or this one.

        With `--claims` or `--dry-run` it ends here, when the file of claims is written, or what would be trained said.

        Args:
            script: The analysis' own `__file__`; results go to `out/<its name>` beside it by default.
            quick: What `--quick` asks for.
            smaller: In what it is smaller, for `--help`.
        """
        parser = parser_of(self.question, script, smaller, "where to compute: cpu, cuda, cuda:1")
        parser.add_argument("--claims", action="store_true", help="write the file of claims, to commit it, and stop")
        parser.add_argument("--dry-run", action="store_true", help="say what would be trained, how long, and stop")
        parser.add_argument("--replicate", action="store_true", help="as many other seeds as well, words side by side")
        if any(config.task.kind == "mnist" for config in self.configs().values()):
            parser.add_argument("--mnist", type=Path, help="folder of MNIST's idx files; kept rows or none without")
        of = parser.parse_args()
        mnist = getattr(of, "mnist", None)
        given = Asked(of.quick, of.out, of.threads, of.device, Path(script), of.replicate, mnist)
        study = quick if given.quick else self
        if of.claims:
            registered.write_claims(given, self.question, self.all_seeds, self.claims)
            sys.exit(0)
        study = study.with_seeds(_twice(study.all_seeds)) if given.replicates else study
        if of.dry_run:
            print(outlook_of(study.configs(), given))
            sys.exit(0)
        return given, study

    def train(self, given: Asked, except_for: Collection[str] = ()) -> dict[str, Run]:
        """The runs by name, but for some, trained where they are not there yet, below `given.out`.

        Those whose data were not given are left out.

        Raises:
            UserError: A claim that the seeds cannot decide; a small design (`--quick`) is not asked.
        """
        seeds = self._first_seeds(given)
        if not given.quick:
            registered.refuse_undecidable(self.claims, len(seeds))
        for line in self._planned(given):
            print(f"claim: {line}")
        registered.registered(given, self.question, seeds, self.claims)
        asked = {name: config for name, config in self.configs().items() if name not in except_for}
        return train_missing(asked, given) if asked else {}

    def rows(self, given: Asked, more: Callable[[Run], Mapping[str, Any]] = lambda run: {}) -> "pd.DataFrame":
        """The table, of runs that are trained where neither they nor their rows are there yet.

        Rows are kept in `rows.jsonl` beside the verdict: a run that is not there is not trained again to be counted,
        nor is one whose data were not given; without a row it is left out. Of those that are there, rows are made anew.
        """
        import pandas as pd

        file, configs = given.out / "rows.jsonl", self.configs()
        digests = {name: config.hash for name, config in configs.items()}
        kept = kept_rows(file, digests)
        gone = [name for name in kept if not (given.placed(configs[name]) and (given.out / "runs" / name).exists())]
        runs = self.train(given, except_for=gone)
        made: list[Any] = self.table(runs, more).to_dict("records")
        found = {name: kept[name] for name in gone} | dict(zip(runs, made, strict=True))
        rows = {name: found[name] for name in configs if name in found}
        keep_rows(file, rows, digests)
        return pd.DataFrame(list(rows.values()))

    def grouped(self, runs: Mapping[str, R], by: str = "arm", **only: Any) -> dict[Any, list[R]]:
        """The runs by what a column of labels says, in the order of the table; of those with some labels only."""
        groups: dict[Any, list[R]] = {}
        for name, line in self.labels().items():
            if name in runs and by in line and all(line.get(label) == value for label, value in only.items()):
                groups.setdefault(line[by], []).append(runs[name])
        return groups

    def table(self, runs: Mapping[str, R], more: Callable[[R], Mapping[str, Any]] = lambda run: {}) -> "pd.DataFrame":
        """One row per run: its labels, its start and end, when it memorised and grokked, and `more` of it.

        Times are those of `crossings.events`, nan where they are censored at the last step (`steps`).
        """
        return tabulate(self.labels(), runs, more, self.rules_of())

    def write(
        self,
        given: Asked,
        table: "pd.DataFrame",
        figure: "Figure",
        notes: Sequence[str] = (),
        runs: "pd.DataFrame | None" = None,
        made: "Callable[[pd.DataFrame], Sequence[Declared]] | Sequence[Declared]" = (),
    ) -> None:
        """Write table, figure and verdict, and print the verdict; setting and censoring are said before `notes`.

        Args:
            given: The options.
            table: Of the rows that decide the claims.
            figure: What is shown.
            notes: What else has to be said.
            runs: One row per run, for the setting, if the table has other rows, such as checkpoints.
            made: Claims that are decided by more than the table. Their sentences are among the study's claims, or they
                are post hoc. A function is given the rows of the seeds that decide.
        """
        record = registered.registered(given, self.question, self._first_seeds(given), self.claims)
        declared = [claim for claim in self.claims if isinstance(claim, Declared)]

        def decided(rows: "pd.DataFrame") -> list[Claim]:
            return decide([*declared, *(made(rows) if callable(made) else made)], rows)

        subsets = {"": table}
        if given.replicates:
            is_first = table["seed"].isin(self._first_seeds(given))
            subsets = dict(zip(verdicts.AGAIN, (table[is_first], table[~is_first], table), strict=True))
        by_seeds = {name: decided(rows) for name, rows in subsets.items()}
        texts = [claim.text for claim in next(iter(by_seeds.values()))]
        late = frozenset(text for text in texts if registered.is_post_hoc(text, record))
        when = registered.in_words(record, given.script)
        said = self.about(table if runs is None else runs)
        planned = [f"Planned for {len(self._first_seeds(given))} seeds: {self._planned_in_short(given)}."]
        all_notes = [when, *(planned if self.claims else []), *said, *notes]
        conclude(given, self.question, table, verdicts.Decided(by_seeds, late), figure, all_notes)

    def _planned(self, given: Asked) -> list[str]:
        plans = registered.plans(self.claims, len(self._first_seeds(given)))
        return [
            registered.text_of(claim) + (f" [{plan.words}]" if plan else "")
            for claim, plan in zip(self.claims, plans, strict=True)
        ]

    def _planned_in_short(self, given: Asked) -> str:
        """What the seeds can decide, claims of one plan together, by their places."""
        places: dict[str, list[int]] = {}
        for i, plan in enumerate(registered.plans(self.claims, len(self._first_seeds(given))), 1):
            places.setdefault(plan.words if plan else "decided by more than the seeds", []).append(i)
        return "; ".join(f"claims {', '.join(map(str, of))}: {words}" for words, of in places.items())

    def _first_seeds(self, given: Asked) -> list[int]:
        seeds = self.all_seeds
        return seeds[: len(seeds) // 2] if given.replicates else seeds


def _twice(seeds: Sequence[int]) -> list[int]:
    """Some seeds, and as many above the largest of them."""
    return [*seeds, *range(max(seeds) + 1, max(seeds) + 1 + len(seeds))]


def train_missing(configs: Mapping[str, TrainConfig], given: Asked) -> dict[str, Run]:
    """A run of each config by its name, below `given.out`; those that are finished are left as they are.

    Those whose data were not given are left out, and that is printed.
    """
    from circuitgrok.training.loop import train
    from circuitgrok.training.progress import LiveProgress

    here = _placed(configs, given)
    if n_missing := len(configs) - len(here):
        print(f"left out: {n_missing} runs that need --mnist FOLDER, MNIST's idx files")
    if not here:
        return {}
    folder, where = given.out / "runs", {"threads": given.threads, "device": given.device or "cpu"}
    runs = train(list(here.values()), folder, names=list(here), progress=LiveProgress(), **where)
    return dict(zip(here, runs, strict=True))


def _placed(configs: Mapping[str, TrainConfig], given: Asked) -> dict[str, TrainConfig]:
    """Those configs whose data are there, reading them where they are."""
    found = {name: given.placed(config) for name, config in configs.items()}
    return {name: config for name, config in found.items() if config}


def outlook_of(configs: Mapping[str, TrainConfig], given: Asked) -> str:
    """What training would do, in a line for each stack and one for all."""
    from circuitgrok.training.outlook import outlook

    where, folder = {"threads": given.threads, "device": given.device or "cpu"}, given.out / "runs"
    asked = {name: _as_begun(config, Run(folder / name)) for name, config in _placed(configs, given).items()}
    ahead = outlook(list(asked.values()), folder, names=list(asked), **where)
    lines = [
        f"{len(stack.names)} runs to step {stack.steps}, {stack.what}: {stack.seconds / 60:.1f} minutes, "
        f"{stack.bytes / 2**20:.0f} MiB"
        for stack in ahead.stacks
    ]
    done = f"{len(ahead.finished)} of {len(asked)} runs are finished"
    return "\n".join([*lines, f"{done}; the others take about {ahead.seconds / 60:.0f} minutes"])


def _as_begun(config: TrainConfig, run: Run) -> TrainConfig:
    """A config, from where its run began if that is there: where a second stage starts only the first one can tell."""
    if not (run.path / "config.json").exists():
        return config
    begun = config.with_(start=run.config.init.start)
    return begun if begun == run.config else config


def conclude(
    given: Asked,
    question: str,
    table: "pd.DataFrame",
    decided: "verdicts.Decided",
    figure: "Figure",
    notes: Sequence[str],
) -> None:
    """Write table, figure and verdict, and print the verdict."""
    verdicts.write(given.out, question, decided, notes, table, figure, machine_of(given))
    print((given.out / "verdict.md").read_text("utf-8"))


def machine_of(given: Asked) -> str:
    """What computes, in words: the device, its instruction set or model, threads, torch."""
    from circuitgrok.device import resolved
    from circuitgrok.store.environment import environment

    here = environment(given.threads, resolved(given.device or "cpu"))
    of = f"{here['device_name']}" if here["device"] == "cuda" else f"{here['cpu']} ({here['isa']})"
    return f"{here['device']}: {of}, {here['threads']} threads, torch {here['torch']}"
