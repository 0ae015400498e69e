"""Is what dropout does its noise or the loss that it descends; must it last; and does one place suffice, given time?

Dropout descends the mean loss over masks, and its gradient is noisy. `dropout_parts` takes the two apart: the mean of
four masks' losses descends the same loss with a quarter of the noise's variance; the loss without dropout plus the
noise of one mask, of the same size and shape, is a temperature without that loss. Then dropout is switched off where
networks have just memorised, and where they answer half of the unseen mirrors. Last, dropout at one place alone, to
step 10,000. Networks, pairs and rates are those of dropout.py, seeds others; what counts are unseen mirrors.

    python analyses/dropout_as_noise.py            # ten seeds; --dry-run says how long
    python analyses/dropout_as_noise.py --quick    # two of a tiny network, for few steps: seconds
"""

from functools import partial
from typing import Any

import pandas as pd
from dropout import NONE, PLACES, UNSEEN, dropout, ended
from dropout import STUDY as BEFORE

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, where
from circuitgrok.study.legs import first_checkpoints
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Studies, evenly

SHORT, MIDDLE, LONG, LEG = 2500, 4000, 10_000, 1500  # steps of averaged masks, of most, of single places, of a leg
MASKS = 4
ALL, AVERAGED, NOISE = "dropout 0.2", f"mean of {MASKS} masks", "its noise alone"
AT = {f"{place} alone": {"steps": LONG, **dropout(0.2, place)} for place in PLACES}
ARMS: dict[str, dict[str, Any]] = {
    NONE: {"steps": MIDDLE},
    ALL: {"steps": MIDDLE, "checkpoint_every": 100, **dropout(0.2)},
    AVERAGED: {**dropout(0.2), "dropout_parts": "averaged", "dropout_masks": MASKS},
    NOISE: {"steps": MIDDLE, **dropout(0.2), "dropout_parts": "noise"},
    **AT,
}
COLOURS = dict(zip(ARMS, (GREY, BLUE, SKY, RED, GREEN, ORANGE, PURPLE), strict=True))
LEGS = {"on": dropout(0.2), "off": {}}
MEMORISED, HALF = "from memorised", "from half"
TRAINING = "training"  # the part of the table that is no leg


def of(arm: str, part: str = TRAINING) -> Selection:
    """The runs of an arm."""
    return where(part=part, arm=arm)


def more(arm: str, column: str, less: str = NONE, part: str = TRAINING) -> Mean:
    """By how much more of the unseen mirrors an arm answers than another."""
    when = {"unseen_short": f"to step {SHORT}", "unseen_end": "last tenth"}[column]
    name = f"unseen mirrors ({when}), {arm} less {less}" + ("" if part == TRAINING else f", {part}")
    return Mean(of(arm, part), column, name, less=of(less, part), bounds=(-1, 1))


def gained(arm: str, part: str) -> Mean:
    """By how much more of the unseen mirrors a leg answers at its end than where it begins."""
    name = f"unseen mirrors, last tenth less start, {arm} {part}"
    return Mean(of(arm, part), "unseen_end", name, by="unseen_start", bounds=(-1, 1))


def times(over: str, under: str, event: str = "half") -> Ratio:
    """How many times as long an arm takes to half of the unseen mirrors, or to memorise, as another."""
    said = {"half": "T_half", "memorised": "T_mem"}[event]
    return Ratio(of(over), of(under), event, name=f"{said}({over}) / {said}({under})")


CLAIMS = [
    times(AVERAGED, ALL).falls_below(
        1.25, "It is the loss that is descended: with a quarter of the noise's variance half of the unseen mirrors "
        "comes less than 1.25 times as late.",
    ).telling(times(AVERAGED, ALL, "memorised"), more(AVERAGED, "unseen_short", ALL)),
    more(NOISE, "unseen_end").falls_below(
        0.1, f"Its noise alone, on the loss without dropout, gains under 10 points of unseen mirrors by step {MIDDLE}."
    ).telling(times(NOISE, ALL, "memorised")),
    more(NOISE, "unseen_end", ALL).falls_below(
        -0.25, "Without the loss that dropout descends its noise answers over 25 points less than dropout."
    ),
    gained("on", MEMORISED).exceeds(0.25, "Left on where they have just memorised, they gain over 25 points."),
    gained("off", MEMORISED).falls_below(0.1, "Switched off there, they gain under 10 points: it must last."),
    more("off", "unseen_end", "on", HALF).falls_below(
        -0.05, "Switched off at half of the unseen mirrors, they end over 5 points below those that keep it."
    ).telling(gained("on", HALF)),
    gained("off", HALF).exceeds(-0.1, "What is generalised stays without it: switched off at half they lose under 10."),
    *(
        more(place, "unseen_end").exceeds(0.25, f"One place suffices, given time: {place}, over 25 points by {LONG}.")
        for place in AT
    ),
]  # fmt: skip
STUDY = BEFORE.with_(
    question="Is what dropout does its noise or the loss that it descends; must it last; does one place suffice?",
    arms=ARMS, seeds=range(10, 20), claims=CLAIMS, steps=SHORT, **evenly(LONG),
)  # fmt: skip
QUICK = STUDY.with_(
    arms={arm: {leaf: v for leaf, v in leaves.items() if leaf != "steps"} for arm, leaves in ARMS.items()},
    seeds=[0, 1], steps=100, checkpoint_every=50, p=11, d_model=16, d_head=4, d_mlp=32,
)  # fmt: skip


def is_there(level: float, fitted: float, at: pd.DataFrame) -> pd.Series:
    """Whether checkpoints have such accuracies on unseen mirrors and training pairs."""
    return (at["train_acc"] >= fitted) & (at[UNSEEN] >= level)


def leaves(there: dict[int, tuple[Run, int]], own: dict[str, float], cell: cg.TrainConfig) -> dict[str, Any]:
    """Where a leg starts, and what it has."""
    run, step = there[cell.init.seed]
    return {"start": f"{run.path}@{step}", **own}


def measured(run: Run) -> dict[str, float]:
    """Unseen mirrors at the start, at the common step and over the last tenth; norm and training loss there."""
    unseen, last = run.history[UNSEEN], int(run.history.index[-1])
    at = run.history.loc[: min(SHORT, last)].iloc[-1]
    return {
        "unseen_start": unseen.iloc[0],
        "unseen_short": ended(unseen, min(SHORT, last)),
        "unseen_end": ended(unseen, last),
        "norm_ratio_short": at["norm"] / run.manifest["start"]["norm"],
        "train_loss_short": at["train_loss"],
    }


def draw(table: pd.DataFrame, runs: dict[str, dict[str, list[Run]]]) -> "figures.Figure":
    """Unseen mirrors along the parts, along the legs, and at single places; steps to half of them."""
    figure, ((parts, legs), (places, halves)) = figures.sheet(2, 2, (11, 7.6))
    for ax, arms in ((parts, (NONE, ALL, AVERAGED, NOISE)), (places, (NONE, *AT))):
        figures.draw_runs(ax, runs[TRAINING], UNSEEN, {arm: COLOURS[arm] for arm in arms})
    for part, colours in ((MEMORISED, (SKY, GREY)), (HALF, (BLUE, RED))):
        for (arm, of_arm), colour in zip(runs.get(part, {}).items(), colours, strict=True):
            curves = [run.history[UNSEEN] for run in of_arm]
            figures.draw_band(legs, curves, colour, "-" if arm == "on" else "--", f"{arm} {part}")
    for ax in (parts, legs, places):
        ax.set(ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03), xlabel="optimizer step")
    parts.set_xlim(0, runs[TRAINING][ALL][0].history.index[-1])
    legs.set_xlabel("optimizer step after the start")
    figures.legends([parts, legs, places])
    figures.draw_dots(halves, of_training(table), "half_by", COLOURS, "steps")
    halves.set_xlabel("steps to half of the unseen mirrors (▷ not by then)")
    return figure


def of_training(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are no legs."""
    return where(part=TRAINING)(table)


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two of a tiny network, few steps")
    trained = study.train(given)
    by_arm = study.grouped(trained)
    levels = {MEMORISED: (0.0, 0.0), HALF: (0.0, 0.0)} if given.quick else {MEMORISED: (0.0, 0.99), HALF: (0.5, 0.99)}
    there = {part: first_checkpoints(by_arm[ALL], partial(is_there, *level)) for part, level in levels.items()}
    steps = 20 if given.quick else LEG
    parts = {
        part: study.with_(
            arms={arm: partial(leaves, of_seed, own) for arm, own in LEGS.items()}, seeds=list(of_seed), steps=steps,
            **evenly(steps),
        )
        for part, of_seed in there.items()
        if of_seed
    }  # fmt: skip
    whole = Studies(study.question, {TRAINING: study, **parts}, "part", study.claims)
    legs = Studies(study.question, parts, "part", study.claims).train(given) if parts else {}
    runs = {f"{TRAINING}-{name}": run for name, run in trained.items()} | legs
    table = whole.table(runs, measured)
    columns = ["unseen_start", "unseen_short", "unseen_end", "norm_ratio_short", "train_loss_short"]
    ends = table.groupby(["part", "arm"], sort=False)[columns].mean()
    halves = of_training(table).groupby("arm", sort=False)[["memorised_by", "half_by"]].median()
    begin = table[table["part"] != TRAINING].groupby("part", sort=False)["seed"].nunique()
    notes = [
        f"To step {SHORT} averaged masks, {MIDDLE} dropout, its noise, and nothing (which in dropout.py answered as "
        f"little by {LONG}), {LONG} single places. Legs: "
        f"{steps} steps from the first checkpoint (every hundred steps) that fits 0.99 of the training pairs, or also "
        f"answers half of the unseen mirrors; fresh optimizer and its warm-up, on or off. Seeds that have one: "
        f"{listed(begin, '{} {}')}.",
        "Unseen mirrors at the start, at the common step, over the last tenth; norm over that of step 0, and training "
        f"loss without dropout, at the common step, means: "
        f"{listed(ends, '{}, {}: {:.2f}, {:.2f}, {:.2f}; {:.2f}, {:.1e}', '. ')}.",
        f"Median steps of memorising and of half of the unseen mirrors, of runs that came to them: "
        f"{listed(halves, '{} {:g}, {:g}', '; ')}.",
        "Seeds 10 to 19, as those of dropout.py were known. In pilots of seeds 90 to 93 averaged masks came to half of "
        "the unseen mirrors at steps 625 to 1925 (dropout: 1200 to 1475), and the noise alone answered 0.00 to 0.13 by "
        "step 2500. Adam divides by the size of the gradient: where the clean loss is small, the noise alone moves "
        "weights in a step about as far as dropout does.",
    ]
    grouped = {part: whole.grouped(runs, "arm", part=part) for part in whole.parts}
    study.write(given, table, draw(table, grouped), notes, runs=study.table(trained))


if __name__ == "__main__":
    main()
