"""Without decay, do small batches keep what their noise gains, and does the full batch catch up, in 10,000 steps?

Batches of 32, 128, 512 and all 671 pairs, by Adam and SGD, free and with the norm held (for 5000 steps), but for those
of `THINNED`. All have one rate; free ones larger than 32 have a higher one as well, because a full batch may want it:
four times as high, which is linear scaling for 128 and about the root's for all pairs, which by Adam have eight times;
by SGD only the higher. Each half of the seeds is judged at the rate that is best for the other half. `batch_noise`
asked of 2000 and 4000 steps, and what about the noise it is.

    python analyses/batches_for_longer.py --claims   # what is claimed, to be committed before the runs
    python analyses/batches_for_longer.py            # ten seeds; --dry-run says how long
    python analyses/batches_for_longer.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.interventions.batches import MiniBatch
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, where
from circuitgrok.study.effects import GAIN
from circuitgrok.study.ranks import PartialSpearman, across_arms
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import picked_apart
from circuitgrok.study.study import Study
from circuitgrok.study.walked import arcs, sustained

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = (
    "Without decay, do small batches keep what their noise gains, and does the full batch catch up in 10,000 steps?"
)
EARLY, SOON = 1000, 2000  # steps: noise is early up to the first; earlier runs ended at the second
SIZES: dict[str, int | None] = {"32": 32, "128": 128, "512": 512, "all": None}
RULES: dict[str, dict[str, Any]] = {"Adam": {"lr": 5e-3}, "SGD": {"rule": "sgd", "momentum": 0.9, "lr": 2e-2}}
FASTER, FASTEST = 4, {"Adam": 8, "SGD": 4}  # times the rate: of batches, of all pairs
HELD_FOR = 0.5  # of the steps
BASE = cg.TrainConfig.preset("quickstart").with_(
    p=29, d_model=32, d_head=8, d_mlp=128, equals=False, split="mirror_free", frac_train=0.8, weight_decay=0.0,
    steps=10_000, eval_every=50, checkpoint_every=500, checkpoints_per_decade=4, checkpoint_on_move=100.0,
)  # fmt: skip
FREE, HELD = "free", "held"
ON_SPHERE = ("32", "128", "all")  # sizes with the norm held
THINNED = ["Adam, 32, 4 x", "Adam, 512, 4 x", "Adam, 512, held"]
THINNED += ["SGD, 32, 4 x", "SGD, 512", "SGD, 512, 4 x", "SGD, 512, held", "SGD, all", "SGD, 128", "SGD, 128, held"]
THINNED += ["SGD, 128, 4 x", "SGD, 32, held", "SGD, all, held"]
COLOURS = dict(zip(SIZES, (figures.RED, figures.ORANGE, figures.GREEN, figures.BLUE), strict=True))


def named(rule: str, size: str, more: str = "") -> str:
    """An arm."""
    return f"{rule}, {size}{', ' * bool(more)}{more}"


def held(leaves: Mapping[str, Any], cell: cg.TrainConfig) -> dict[str, Any]:
    """The same with its norm held, for fewer steps."""
    return {**leaves, "fixed_norm": True, "steps": int(HELD_FOR * cell.schedule.steps)}


def arms() -> dict[str, Any]:
    """Sizes at the rule's rate, free and held, and free ones at a higher one, but for `THINNED`."""
    made: dict[str, Any] = {}
    for rule, leaves in RULES.items():
        for size, n in SIZES.items():
            one = leaves | ({"batch_size": n} if n else {})
            times = FASTER if n else FASTEST[rule]
            made[named(rule, size)] = one
            made[named(rule, size, f"{times} x")] = one | {"lr": times * leaves["lr"]}
            made[named(rule, size, HELD)] = partial(held, one)
    return {arm: leaves for arm, leaves in made.items() if arm not in THINNED}


def best(rule: str, size: str, column: str = "end") -> Selection:
    """Free runs, at the rate at which the other half of the seeds has most of a column."""
    return picked_apart(where(rule=rule, size=size, hold=FREE), "lr", lambda rows: -rows[column].mean())


def lead(rule: str, size: str, under: str = "all", column: str = "end") -> Mean:
    """By how much a size of batches is ahead of another, each at its best rate, paired by seed."""
    name = f"unseen pairs, {rule}, {size} less {under}"
    return Mean(best(rule, size), column, name, best(rule, under), bounds=GAIN)


def answers(rule: str, size: str, hold: str = FREE) -> Mean:
    """What a size of batches answers in the end."""
    rows = best(rule, size) if hold == FREE else where(arm=named(rule, size, hold))
    return Mean(rows, "end", f"unseen pairs at the end, {rule}, {size}, {hold}", bounds=(0, 1))


def after(rule: str, size: str, column: str, less: str) -> Mean:
    """How much more a column is than another of the same runs."""
    name = {"end": "end", "soon": f"by step {SOON}", "peak": "best tenth"}
    return Mean(best(rule, size), column, f"{rule}, {size}: {name[column]} less {name[less]}", by=less, bounds=GAIN)


def foretold(rule: str, column: str, name: str) -> Mean:
    """The rank correlation over free arms of a column with what they answer."""
    rows = across_arms(where(rule=rule, hold=FREE), column, "end")
    return Mean(rows, "rank", f"rank correlation over free arms of {rule}, {name}", bounds=(-1, 1))


def on_sphere(rule: str) -> Mean:
    """Held, batches of 32 less all pairs."""
    of, less = (where(arm=named(rule, size, HELD)) for size in ("32", "all"))
    return Mean(of, "end", f"unseen pairs, {rule}, held, 32 less all", less, bounds=GAIN)


def times_on_sphere(rule: str) -> Ratio:
    """Held, how many times as long all pairs take to half of the unseen ones as batches of 32."""
    over, under = (where(arm=named(rule, size, HELD)) for size in ("all", "32"))
    return Ratio(over, under, "half", name=f"T_half(all) / T_half(32), {rule}, held")


def claims() -> list[Any]:
    """Whether it lasts, whether the full batch catches up, what foretells it, and whether it counts on the sphere."""
    per_radian = Mean(
        best("Adam", "32"), "per_radian", "unseen pairs per radian, Adam, 32 less all", best("Adam", "all")
    )
    within = PartialSpearman(where(rule="Adam", hold=FREE, lr=RULES["Adam"]["lr"], size=lambda s: s != "all"),
                             "noise_early", "end", name="rank correlation within arms over seeds")  # fmt: skip
    return [
        answers("Adam", "all", HELD).exceeds(0.9, "Positive control: held at its norm the full batch ends above 90 %."),
        lead("Adam", "32").exceeds(
            0.25, "The full batch does not catch up: after 10,000 steps of Adam batches of 32 end over 25 points above "
            "it, each at its best rate.",
        ).telling(answers("Adam", "32"), answers("Adam", "all"), lead("Adam", "128"), lead("Adam", "512")),
        lead("SGD", "32").exceeds(0.25, "By SGD as well: batches of 32 end over 25 points above the full batch.")
        .telling(answers("SGD", "32"), answers("SGD", "all")),
        after("Adam", "all", "end", "soon").is_within(
            0.05, f"Nor is the full batch on its way: from step {SOON} to the end it gains less than 5 points."
        ).telling(after("SGD", "all", "end", "soon")),
        after("Adam", "32", "end", "soon").exceeds(
            0.05, f"Batches of 32 are: from step {SOON} to the end they gain over 5 points."
        ).telling(after("SGD", "32", "end", "soon"), after("Adam", "128", "end", "soon")),
        after("Adam", "32", "end", "peak").is_within(
            0.1, "What small batches gain stays: by Adam the last tenth is within 10 points of the best tenth."
        ).telling(after("Adam", "128", "end", "peak")),
        after("SGD", "32", "end", "peak").is_within(0.1, "By SGD too it is within 10 points."),
        answers("Adam", "32").falls_below(
            0.95, "Yet they stop short of generalising: batches of 32 end below 95 % by Adam."
        ).telling(answers("Adam", "128"), answers("SGD", "32")),
        lead("Adam", "128", "32").is_within(
            0.1, "Four times the batch at its best rate does as well: 128 end within 10 points of 32."
        ),
        lead("Adam", "512").is_within(
            0.1, "Of 671 pairs 512 are no noise: batches of 512 end within 10 points of the full batch."
        ),
        per_radian.falls_below(0, "Per radian turned batches of 32 answer less than the full batch.").telling(
            Mean(best("Adam", "32"), "arc", "radians, 32"), Mean(best("Adam", "all"), "arc", "radians, all")
        ),
        foretold("Adam", "arc", "radians turned").exceeds(
            0.7, "What keeps turning generalises: over free arms of Adam what they answer goes with the radians turned."
        ).telling(foretold("SGD", "arc", "radians turned")),
        foretold("Adam", "signal", "noise over gradient").exceeds(
            0.7, f"The noise scale foretells it: over free arms of Adam tr Σ/|g|² over the batch, in the first {EARLY} "
            "steps, goes with what they answer in the end.",
        ).telling(foretold("SGD", "signal", "noise over gradient"), foretold("Adam", "signal_late", "the same, late")),
        within.exceeds(0, "And seed by seed: within arms of one size and rate more noise early means more in the end."),
        on_sphere("Adam").is_within(
            0.05, "With the norm held the batch does not count for what is answered in the end: by Adam 32 and all are "
            "within 5 points.",
        ).telling(*(answers("Adam", size, HELD) for size in ON_SPHERE)),
        on_sphere("SGD").is_within(0.05, "Nor by SGD."),
        times_on_sphere("Adam").is_within(
            1.5, "Nor for when: held, by Adam, all pairs take 2/3 to 1.5 times as long to half of the unseen ones."
        ),
    ]  # fmt: skip


STUDY = Study(
    QUESTION, BASE, arms(), seeded=("seed", "data_seed", "noise_seed"), claims=claims(),
    rules={"memorised": ("train_acc", 0.99), "half": ("test_acc", 0.5), "grokked": ("test_acc", 0.95)},
)  # fmt: skip
QUICK = STUDY.with_(steps=20, checkpoint_every=5, eval_every=5, seeds=[0, 1])


def measured(run: Run) -> dict[str, Any]:
    """What a run answers by and by, how far it turns, how large its noise is beside the gradient.

    A diverged run counts as where it was last. Of all pairs at once the noise is 0.
    """
    unseen, config = run.history["test_mirror_unseen_acc"], run.config
    last, batch = unseen.index[-1], config.intervention(MiniBatch)
    turned = float(arcs(run).iloc[-1])
    tenth = max(1, len(unseen) // 10)
    told = {
        "rule": {"adam": "Adam", "sgd": "SGD"}[config.optimizer.rule],
        "size": str(batch.batch_size) if batch else "all",
        "hold": FREE,
        "lr": config.optimizer.lr,
        "end": unseen.iloc[-tenth:].mean(),
        "soon": sustained(unseen, SOON),
        "peak": unseen.rolling(tenth).mean().max(),
        "arc": turned,
        "per_radian": unseen.iloc[-tenth:].mean() / turned if turned else math.nan,
        "signal": 0.0,
        "signal_late": 0.0,
    }
    if batch:
        noise = run.updates["noise_scale"].replace(math.inf, math.nan).dropna()
        early, late = noise[noise.index <= EARLY].median(), noise[noise.index > last - last // 5].median()
        told |= {"noise_early": early, "noise_late": late}
        told |= {"signal": early / batch.batch_size, "signal_late": late / batch.batch_size}
    return told


def draw(table: pd.DataFrame, runs: Mapping[str, list[Run]]) -> "figures.Figure":
    """Unseen pairs along free and held arms, each rule's; ends against radians turned, and against early noise."""
    figure, axes = figures.sheet(2, 3, (14, 8.4))
    for row, rule in zip(axes, RULES, strict=True):
        free, turned, noise = row if rule == "Adam" else (row[0], row[1], None)
        for size, colour in COLOURS.items():
            rates = sorted({run.config.optimizer.lr for arm in runs for run in runs[arm] if _is_free(arm, rule, size)})
            for arm in (arm for arm in runs if _is_free(arm, rule, size)):
                lr = runs[arm][0].config.optimizer.lr
                draw_unseen(free, runs[arm], colour, ("-", "--")[rates.index(lr)], f"{size}, rate {lr:g}")
            rows = where(rule=rule, size=size, hold=FREE)(table)
            for ax, column in ((turned, "arc"), (noise, "signal")):
                if ax is not None and len(rows):
                    ax.plot(rows[column].clip(lower=0.3), rows["end"], "o", color=colour, ms=3, alpha=0.7, label=size)
        free.set(title=f"{rule}, free", ylabel="accuracy on unseen pairs (seeds)", xlabel="step")
        turned.set(title=f"{rule}, free", ylabel="unseen pairs at the end")
        figures.values_axis(turned, [1, 3, 10, 30], "radians turned")
    axes[0][2].set(title="Adam, free", xlabel=f"noise over gradient, first {EARLY} steps (all: 0)", xscale="log")
    for size in ON_SPHERE:
        draw_unseen(axes[1][2], runs[named("Adam", size, HELD)], COLOURS[size], "-", size)
    axes[1][2].set(title="Adam, norm held", xlabel="step")
    for ax in (ax for row in axes for ax in row):
        ax.set_ylim(-0.03, 1.03)
    figures.legends([ax for row in axes for ax in row])
    return figure


def draw_unseen(ax: "Axes", runs: list[Run], colour: str, style: str, label: str) -> None:
    """What some runs answer, smoothed over ten evaluations."""
    curves = [run.history["test_mirror_unseen_acc"].rolling(10, min_periods=1).mean() for run in runs]
    figures.draw_band(ax, curves, colour, style, label)


def _is_free(arm: str, rule: str, size: str) -> bool:
    return arm.startswith(named(rule, size)) and not arm.endswith(HELD)


def notes(table: pd.DataFrame) -> list[str]:
    """What is compared, where arms end, their noise."""
    by_arm = table.groupby("arm", sort=False)
    ends = by_arm[["soon", "end", "peak", "train_acc", "final_norm", "arc"]].mean()
    noise = by_arm[["noise_early", "noise_late"]].median().dropna()
    diverged = table[table["state"] == "diverged"].groupby("arm", sort=False).size()
    picks = {
        named(rule, size): "/".join(f"{lr:g}" for lr in sorted(set(best(rule, size)(table)["lr"])))
        for rule in RULES
        for size in SIZES
        if len(where(rule=rule, size=size)(table))
    }
    return [
        "Unseen pairs are all test pairs (the split has no mirrors across). The end is the last tenth of the steps, "
        f"the best tenth any such stretch, by step {SOON} the last fifth of so many. A diverged run counts as where it "
        f"was last. Held runs have {HELD_FOR:g} of the steps.",
        f"Rates: Adam {RULES['Adam']['lr']:g}, SGD with momentum 0.9 {RULES['SGD']['lr']:g}; {FASTER} times that for "
        f"128, {FASTEST['Adam']} and {FASTEST['SGD']} times for all. In pilots (seeds 90 and 91; 400 to 1600 "
        "steps) linear scaling from 32 to 512 and all diverged at once (SGD 0.48 and 0.63) or fitted 41 to 46 % of the "
        "pairs (Adam 0.1); batches of 32 at 0.03 fitted 38 to 44 % by Adam, 78 % by SGD. Best for the other half of "
        f"the seeds: {', '.join(f'{arm} {rates}' for arm, rates in picks.items())}.",
        f"Unseen pairs by step {SOON}, at the end, in the best tenth, training accuracy, norm and radians, means: "
        f"{listed(ends, '{}: {:.2f}, {:.2f}, {:.2f}, {:.2f}, {:.1f}, {:.1f}', '; ')}.",
        f"Noise scale tr Σ/|g|² (pairs) over the first {EARLY} steps and the last fifth, medians: "
        f"{listed(noise, '{}: {:.0f}, {:.0f}', '; ')}.",
        "Thinned for time while runs of other arms were there, and in part had been looked at; of what is left out "
        "nothing had been: "
        f"{'; '.join(arm for arm in THINNED if ', 32, 4' not in arm)}.",
        f"Diverged: {listed(diverged, '{} {}') if len(diverged) else 'none'}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds, few steps")
    runs = study.train(given)
    table = study.table(runs, measured)
    table["hold"] = [HELD if arm.endswith(HELD) else FREE for arm in table["arm"]]
    study.write(given, table, draw(table, study.grouped(runs)), notes(table))


if __name__ == "__main__":
    main()
