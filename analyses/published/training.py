"""What the trained rows are trained with: published configurations by preset, five seeds each, resumed where they are.

A design is trained once for all of its rows, and only where `--retrain` is given and a dry run says that it takes no
longer than `--minutes`. Its runs lie below the output folder; finished ones are not trained again.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from published.given import Given

import circuitgrok as cg
from circuitgrok.config.presets import PRESETS
from circuitgrok.measures.learning.crossings import events
from circuitgrok.store.run import Run
from circuitgrok.study.sheet import Got, NotTried, over_seeds
from circuitgrok.training.outlook import outlook
from circuitgrok.training.progress import LiveProgress

SEEDS = range(5)
TINY = {"steps": 20, "eval_every": 2, "checkpoint_every": 10}


class Design(NamedTuple):
    """Runs that rows are of.

    Attributes:
        preset: What every run shares.
        arms: What differs, by the arm's name.
        leaves: What is changed in all.
        until: When a run may stop, as in `cg.train`.
        apart: Whether runs are trained one after the other: large ones are faster so, with the same bits.
    """

    preset: str
    arms: Mapping[str, Mapping[str, Any]] = {"runs": {}}
    leaves: Mapping[str, Any] = {}
    until: str = ""
    apart: bool = False

    def configs(self, given: Given) -> dict[str, cg.TrainConfig]:
        """By the name of the run, arm and seed.

        Raises:
            NotTried: Images are wanted, and no folder of them was given.
        """
        base, quick = cg.TrainConfig.preset(self.preset).with_(**self.leaves), given.quick
        if base.task.kind == "mnist":
            if given.mnist is None:
                raise NotTried("needs --mnist FOLDER, MNIST in idx files, from http://yann.lecun.com/exdb/mnist")
            base = base.with_(folder=str(given.mnist))
        tiny = TINY | ({"p": 23} if "p" in base.leaves() else {})
        found = {}
        for arm, changed in self.arms.items():
            for seed in SEEDS[:2] if quick else SEEDS:
                leaves: dict[str, Any] = {**changed, "seed": seed, "data_seed": seed, **(tiny if quick else {})}
                found[f"{arm}-s{seed}"] = base.with_(**leaves)
        return found

    def minutes(self, configs: Mapping[str, cg.TrainConfig]) -> float:
        """Of one thread, by the time that is known of the preset; nan if none is."""
        of, steps = PRESETS[self.preset].minutes, cg.TrainConfig.preset(self.preset).schedule.steps
        return math.nan if of is None else sum(of * config.schedule.steps / steps for config in configs.values())


FRACTIONS, RATES = (0.5, 0.65, 0.8), {"λ .3": {"weight_decay": 0.3}, "λ 1": {}, "λ 3": {"weight_decay": 3.0}}
DESIGNS: dict[str, Design] = {
    "held": Design("omnigrok", leaves={"steps": 600, "checkpoint_every": 20}, until="grokked+50", apart=True),
    "first": Design("nanda", leaves={"steps": 1000, "eval_every": 10, "checkpoint_every": 500}, apart=True),
    "orthograd": Design("prieto-orthograd", until="grokked+50"),
    "collapse": Design("prieto", leaves={"steps": 500, "checkpoint_every": 50}, apart=True),
    "clean": Design("gromov", leaves={"steps": 100}, apart=True),
    "corrupted": Design("doshi", apart=True),
    "corrupted, decay": Design("doshi-decay", apart=True),
    "mlp": Design("devinterp"),
    "teacher": Design("omnigrok-teacher", leaves={"steps": 19_000}),
    "fractions": Design(
        "truong", {f"f {f:g}": {"frac_train": f} for f in FRACTIONS}, {"steps": 20_000}, until="grokked+200"
    ),
    "rates": Design(
        "truong", RATES | {"η 3e-3": {"lr": 3e-3}}, {"frac_train": 0.65, "steps": 20_000}, until="grokked+200"
    ),
    "images": Design(
        "omnigrok-mnist",
        {f"α {alpha}, N {n}": {"alpha": alpha, "n_train": n} for alpha in (1.0, 8.0) for n in (200, 4000)},
        {"fixed_norm": True, "weight_decay": 0.0, "batch_size": 100, "steps": 3000, "checkpoint_every": 3000},
    ),
    "nanda": Design("nanda", leaves={"eval_every": 50}),
    "free": Design("omnigrok-free"),
    "demo": Design("tl-demo"),
    "pizza": Design("pizza"),
    "clock": Design("clock"),
    "grokfast": Design("grokfast", until="grokked+200"),
    "grokfast-baseline": Design("grokfast-baseline", until="grokked+200"),
    "stablemax": Design("prieto-stablemax"),
}


@cache
def trained(name: str, given: Given) -> dict[str, Run]:
    """The runs of a design by name, arm and seed.

    Raises:
        NotTried: Nothing is to be trained, or this would take too long.
    """
    design, folder = DESIGNS[name], given.out / "runs" / name.replace(", ", "-")
    configs = design.configs(given)
    size = f"{len(configs)} runs of {next(iter(configs.values())).schedule.steps} steps"
    if not given.retrain:
        at_most = "at most " if design.until else ""
        raise NotTried(f"needs --retrain: {size}, {at_most}{in_words(design.minutes(configs))} of one thread")
    ahead = outlook(list(configs.values()), folder, names=list(configs), threads=given.threads).seconds / 60
    print(f"{name}: {size}, {in_words(ahead)} by a dry run", flush=True)
    if ahead > given.minutes:
        raise NotTried(f"needs {in_words(ahead)} by a dry run ({size}), more than --minutes {given.minutes:g}")
    together = [[name] for name in configs] if design.apart else [list(configs)]
    runs: list[Run] = []
    for names in together:
        how: dict[str, Any] = {"names": names, "threads": given.threads, "progress": LiveProgress()}
        runs += cg.train([configs[name] for name in names], folder, until=design.until, **how)
    return dict(zip(configs, runs, strict=True))


def in_words(minutes: float) -> str:
    """A time.

    >>> in_words(0.5), in_words(150)
    ('0.5 minutes', '2.5 hours')
    """
    if math.isnan(minutes):
        return "a time that is not known"
    return f"{minutes:.1f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def of_runs(name: str, number: Callable[[Run], float], said: str = "", arm: str = "runs") -> Callable[[Given], Got]:
    """The median over seeds of a number of a design's runs."""

    def found(given: Given) -> Got:
        return over_seeds(
            [number(run) for key, run in trained(name, given).items() if key.startswith(f"{arm}-s")], said
        )

    return found


def arms_ratio(one: tuple[str, str], other: tuple[str, str], number: Callable[[Run], float]) -> Callable[[Given], Got]:
    """The median over seeds of the ratio of a number in one (design, arm) to that in another."""

    def found(given: Given) -> Got:
        (a, arm), (b, reference) = one, other
        over, under = trained(a, given), trained(b, given)
        seeds = SEEDS[:2] if given.quick else SEEDS
        pairs = [(number(over[f"{arm}-s{s}"]), number(under[f"{reference}-s{s}"])) for s in seeds]
        said = f"medians {over_seeds([x for x, _ in pairs])} and {over_seeds([y for _, y in pairs])}"
        return over_seeds([x / y if math.isfinite(x / y) else math.nan for x, y in pairs], said)

    return found


def time_to(column: str, level: float) -> Callable[[Run], float]:
    """The evaluation by which a column of the history has reached a level for good; inf if it does not."""

    def of_run(run: Run) -> float:
        by = events(run.history, {"there": (column, level)})["there"].by
        return math.inf if by is None else float(by)

    return of_run


def at(column: str, step: int) -> Callable[[Run], float]:
    """A column of the history at a step, or at the last evaluation before it."""
    return lambda run: float(run.history[column].loc[:step].iloc[-1])


def last(column: str) -> Callable[[Run], float]:
    """A column of the history at its end."""
    return lambda run: float(run.history[column].iloc[-1])
