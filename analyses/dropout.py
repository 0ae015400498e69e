"""Does dropout make a network generalise without weight decay, and sooner; and is it the noise, or smaller logits?

The same networks on the same pairs: without anything, with dropout at three rates and at one place alone, with decay,
with both. Two arms are held at what dropout does to size, without its noise: a cap on the norm below that which
networks with dropout have, and smoothed labels that leave the training loss where dropout leaves it. One arm has
noise of another kind, on the weights, with which memorising takes as long. What counts are unseen mirrors: test pairs
(a, b) of which (b, a) was not trained on; a memory that is symmetric answers the others. p = 113 at the published
length is the preset nanda-dropout.

    python analyses/dropout.py            # ten seeds; --dry-run says how long
    python analyses/dropout.py --quick    # two of a tiny network, for few steps: seconds
"""

from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from circuitgrok.measures.learning.crossings import ACCURACY_RULES
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.effects import Gains, draw_gains
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Study, evenly

UNSEEN = "test_mirror_unseen_acc"
SHORT = 4000  # steps of the arms that are compared there; the main arms go on
PLACES = ("embed", "attention", "mlp")


def dropout(rate: float, *places: str) -> dict[str, float]:
    """Leaves of a rate, at some places or at all three."""
    return {f"dropout_{place}": rate for place in places or PLACES}


DECAY = {"weight_decay": 2.0}
NONE, MAIN, DECAYED, BOTH = "nothing", "dropout 0.2", "decay 2", "decay 2, dropout 0.2"
CAPPED, SMOOTHED, NOISY = "norm capped", "labels smoothed", "weight noise"
RATES = {f"dropout {rate:g}": dropout(rate) for rate in (0.1, 0.2, 0.5)}
AT = {f"dropout 0.2, {place}": {"steps": SHORT, **dropout(0.2, place)} for place in PLACES}
ARMS: dict[str, dict[str, Any]] = {
    NONE: {},
    **RATES,
    **AT,
    DECAYED: {"steps": SHORT, **DECAY},
    BOTH: {"steps": SHORT, **DECAY, **dropout(0.2)},
    CAPPED: {"steps": SHORT, "norm_cap": 1.3},
    SMOOTHED: {"steps": SHORT, "label_smoothing": 0.01},
    NOISY: {"steps": SHORT, "weight_noise": 0.05},
}
COLOURS = dict(zip(RATES, (SKY, BLUE, PURPLE), strict=True)) | dict.fromkeys(AT, SKY)
COLOURS |= {DECAYED: RED, BOTH: ORANGE, NOISY: GREEN, CAPPED: GREY, SMOOTHED: GREY}
ALONG = {arm: COLOURS[arm] for arm in (*RATES, DECAYED, BOTH, NOISY)}

GAINS = Gains(where(), "unseen_short", NONE, f"points of unseen mirrors, steps {SHORT * 9 // 10} to {SHORT}")


def of(arm: str) -> Selection:
    """The runs of an arm."""
    return where(arm=arm)


def gain(arm: str, column: str = "unseen_short") -> Mean:
    """By how much more of the unseen mirrors, or of the others, an arm answers than runs with nothing."""
    what = "mirrors of training pairs" if column.startswith("seen") else "unseen mirrors"
    when = "last tenth" if column.endswith("end") else f"to step {SHORT}"
    return Mean(of(arm), column, f"{what} ({when}), more than with nothing", less=of(NONE), bounds=(-1, 1))


def half(over: str, under: str) -> Ratio:
    """How many times as long an arm takes to half of the unseen mirrors as another."""
    return Ratio(of(over), of(under), "half", name=f"T_half({over}) / T_half({under})")


CLAIMS = [
    gain(MAIN, "unseen_end").exceeds(
        0.5, "Without decay networks with dropout 0.2 generalise: they end over 50 points of unseen mirrors above "
        "those with nothing.",
    ).telling(Mean(of(MAIN), "best_unseen", "at its best fifth")),
    Share(of(MAIN), lambda rows: rows["grokked_unseen_by"].notna(), "runs that hold 0.95 of unseen mirrors")
    .exceeds(0.5, "They grok: most come to 0.95 of the unseen mirrors."),
    gain("dropout 0.1", "unseen_end").exceeds(0.25, "So does 0.1: over 25 points."),
    gain("dropout 0.5", "unseen_end").exceeds(0.25, "So does 0.5: over 25 points.").telling(
        Mean(of("dropout 0.5"), "train_acc", "train accuracy at the end")
    ),
    GAINS.any_exceeds(AT, 0.25, f"One place is enough: dropout 0.2 of one of three gains over 25 points by {SHORT}."),
    half(MAIN, DECAYED).falls_below(1, "It is sooner: dropout alone comes to half of the unseen mirrors before decay."),
    half(BOTH, DECAYED).falls_below(1, "Beside decay it is sooner still: with both it is before decay alone."),
    Ratio(of(BOTH), of(BOTH), "grokked_unseen", "memorised", name="T_gen / T_mem with both")
    .falls_below(1.5, "With both there is no delay: T_gen is less than 1.5 T_mem.").telling(
        Ratio(of(DECAYED), of(DECAYED), "grokked_unseen", "memorised", name="with decay alone")
    ),
    gain(CAPPED).falls_below(0.1, "It is not a smaller norm: a cap below the norm with dropout gains under 10 points."),
    gain(SMOOTHED).falls_below(
        0.1, "Nor logits that stop growing: labels so smoothed that the training loss stays at that with dropout gain "
        "under 10 points.",
    ),
    gain(NOISY).exceeds(0.25, "Noise of another kind does it too: on the weights it gains over 25 points."),
    gain(MAIN, "seen_short").exceeds(
        0.25, "Mirrors come too: of the test pairs whose mirror was trained on dropout answers over 25 points more.",
    ),
]  # fmt: skip
STUDY = Study(
    "Does dropout make a network generalise without weight decay, and sooner; noise or smaller logits?",
    cg.TrainConfig.preset("quickstart").with_(
        p=23, d_model=32, d_head=8, d_mlp=128, frac_train=0.7, weight_decay=0.0, steps=10_000, eval_every=25,
        **evenly(10_000),
    ),
    ARMS,
    seeded=("seed", "data_seed", "noise_seed"),
    rules=ACCURACY_RULES | {"half": (UNSEEN, 0.5)},
    claims=CLAIMS,
)  # fmt: skip
QUICK = STUDY.with_(
    arms={arm: {leaf: v for leaf, v in leaves.items() if leaf != "steps"} for arm, leaves in ARMS.items()},
    seeds=[0, 1], steps=50, p=11, d_model=16, d_head=4, d_mlp=32,
)  # fmt: skip


def ended(values: pd.Series, last: int) -> float:
    """The mean over the last tenth of the steps to `last`."""
    return values[(values.index > 0.9 * last) & (values.index <= last)].mean()


def measured(run: Run) -> dict[str, float]:
    """Accuracies on unseen mirrors and on the other test pairs, losses and norms, at the common step and at the end."""
    history, task = run.history, run.task
    unseen, last = history[UNSEEN], int(history.index[-1])
    share = task.where("test_mirror_unseen").sum().item() / (~task.is_train).sum().item()
    seen = (history["test_acc"] - share * unseen) / (1 - share)
    fifth = unseen.rolling(max(1, len(unseen) // 5)).mean()
    found = {f"{name}_end": ended(of, last) for name, of in {"unseen": unseen, "seen": seen}.items()}
    found |= {f"{name}_short": ended(of, min(SHORT, last)) for name, of in {"unseen": unseen, "seen": seen}.items()}
    at = history.loc[: min(SHORT, last)].iloc[-1]
    found |= {"best_unseen": fifth.max(), "norm_ratio_short": at["norm"] / run.manifest["start"]["norm"]}
    return found | {"train_loss_short": at["train_loss"], "train_loss_end": history["train_loss"].iloc[-1]}


def draw(table: pd.DataFrame, runs: dict[str, list[Run]]) -> "figures.Figure":
    """Accuracy on unseen mirrors along the arms; gains at the common step; times; norm and training loss there."""
    figure, ((course, gains), (times, sizes)) = figures.sheet(2, 2, (11.5, 7.8))
    figures.draw_runs(course, runs, UNSEEN, {NONE: GREY}, "--")
    figures.draw_runs(course, runs, UNSEEN, ALONG)
    course.set(ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03))
    figures.step_axis(course, last=int(table["steps"].max()))
    course.legend(fontsize=7, frameon=False, loc="upper left")
    draw_gains(gains, GAINS.found(table), COLOURS, 0.1)
    gains.set_xlabel(f"gain by step {SHORT}, points of unseen mirrors (95 %)")
    figures.draw_dots(times, table, "half_by", {**ALONG, NONE: GREY}, "steps")
    times.set_xlabel("steps to half of the unseen mirrors (▷ not by then)")
    for arm, rows in table.groupby("arm", sort=False):
        sizes.plot(rows["norm_ratio_short"], rows["train_loss_short"], "o", color=COLOURS.get(str(arm), "black"), ms=4,
                   alpha=0.3 + 0.7 * float(rows["unseen_short"].mean() > 0.25))  # fmt: skip
    for arm in (NONE, MAIN, NOISY, CAPPED, SMOOTHED, DECAYED, BOTH):
        rows = of(arm)(table)
        if len(rows):
            sizes.annotate(arm, (rows["norm_ratio_short"].mean(), rows["train_loss_short"].median()), fontsize=7)
    sizes.set_yscale("log")
    sizes.set(xlabel=f"norm over that of step 0, step {SHORT} (pale: few mirrors)", ylabel="training loss there, nats")
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two of a tiny network, few steps")
    runs = study.train(given)
    table = study.table(runs, measured)
    columns = ["unseen_short", "seen_short", "norm_ratio_short", "train_loss_short"]
    seen = table.groupby("arm", sort=False)[columns].agg("mean")
    longer = table[table["steps"] > SHORT].groupby("arm", sort=False)[["unseen_end", "best_unseen", "norm_ratio_short"]]
    memorised = table.groupby("arm", sort=False)["memorised_by"].median()
    halves = table.groupby("arm", sort=False)["half_by"].median()
    notes = [
        f"Main arms have {table['steps'].max()} steps, the others {SHORT}; unseen mirrors are means over the last "
        f"tenth of either. A fifth at best is the largest mean over a fifth of a run. Losses are without any noise.",
        f"To step {SHORT}, means over seeds (unseen mirrors, test pairs whose mirror was trained on, norm over that of "
        f"step 0, training loss): {listed(seen, '{}: {:.2f}, {:.2f}, {:.2f}, {:.1e}', '; ')}.",
        f"Over the last tenth, and at the best fifth: {listed(longer.mean(), '{}: {:.2f}, {:.2f}', '; ')}.",
        f"Median step of memorising: {listed(memorised, '{} {:g}')}. Median step of half of the unseen mirrors, of "
        f"runs that came to it: {listed(halves, '{} {:g}')}.",
        "Sizes, share, rates, cap, smoothing and the weight noise were chosen in pilots with seeds 90 and 91, in which "
        "networks with dropout 0.2 answered 0.8 of the unseen mirrors by step 4000, those with nothing none, and those "
        "with weight noise 0.06 memorised a little later than with dropout.",
        "Thinned for time: one modulus (p = 23), one share of the pairs, one network; places and controls to step "
        f"{SHORT} only. p = 113 at the published 40 000 steps is the preset nanda-dropout.",
    ]
    study.write(given, table, draw(table, study.grouped(runs)), notes)


if __name__ == "__main__":
    main()
