"""The sphere at the published size in full: what two cores thin, and one GPU does in minutes.

At p = 113 with 3830 pairs (`nanda`), ten seeds and the published rate: held norms from 0.4 to 2 ‖θ₀‖ with true and
random labels; doses of lies; large radii for five times as long, as a budget that ends first is no proof; fewer and
more pairs; and free runs with decay, against which a delay is one. About 1.9 million steps of single runs. Rows, table,
figure and verdict are small; the runs can be deleted.

    python analyses/at_scale.py --claims                   # what is claimed, to be committed first
    python analyses/at_scale.py --device cuda              # minutes on one GPU
    python analyses/at_scale.py --quick                    # tiny networks: seconds
"""

from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.selections import Band, has_grokked
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.study.survival import censored_median

TRUE, RANDOM, LIES, FREE = "true labels", "random labels", "lies", "free, decay 1"
SEEDED = ("seed", "data_seed", "label_seed")
RADII = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0]
HELD = cg.TrainConfig.preset("sphere").with_(norm_factor=1.0, steps=3000, eval_every=10, **evenly(3000))
LABELS = {TRUE: {}, RANDOM: {"operation": "random"}}
LONG = {"steps": 15_000, "eval_every": 50, **evenly(15_000)}
PARTS = {
    "radii": Study("At which radius?", HELD, LABELS, {"alpha": RADII}, seeded=SEEDED),
    "doses": Study(
        "Which lies are fitted?", HELD, {LIES: {}}, {"alpha": [0.7, 0.9, 1.25], "corrupted": [0.02, 0.05, 0.1, 0.2]},
        seeded=SEEDED,
    ),
    "longer": Study("And later?", HELD.with_(**LONG), {TRUE: {}}, {"alpha": [1.25, 1.5, 2.0]}, seeded=SEEDED),
    "pairs": Study(
        "With other shares of the pairs?", HELD.with_(steps=2000, **evenly(2000)), LABELS,
        {"frac_train": [0.2, 0.5, 0.8], "alpha": [0.7, 0.9, 1.25]}, seeded=SEEDED,
    ),
    "free": Study("Without a sphere?", cg.TrainConfig.preset("nanda").with_(**LONG), {FREE: {}}, seeded=SEEDED),
}  # fmt: skip
COLOURS = {TRUE: figures.BLUE, RANDOM: figures.RED}


def held(arm: str) -> Selection:
    """Runs of an arm on the spheres of the main grid."""
    return where(part="radii", arm=arm)


band = Band(held(TRUE), "alpha", has_grokked, "α")
soonest, twins = band.at_soonest(held(TRUE)), band.at_soonest(held(RANDOM))
free = where(part="free")
late = where(part="longer", alpha=2.0)
tenth = {"part": "doses", "corrupted": 0.1}
AT = "Where it generalises soonest"
CLAIMS = [
    band.is_found("There are radii at which most runs generalise within 3000 steps."),
    Ratio(soonest, soonest, by="memorised", name="T_gen / T_mem")
    .falls_below(1.5, f"{AT}, there is no delay: T_gen is less than 1.5 T_mem."),
    Ratio(free, soonest, name="T_gen free / T_gen held").exceeds(5, f"{AT}, it is over five times as soon as free."),
    Ratio(twins, soonest, "memorised", by="grokked", name="T_random / T_gen")
    .exceeds(1, f"{AT}, memorising is outrun: random labels take longer to fit."),
    Share(twins, lambda rows: rows["memorised_by"].notna(), "random labels fitted to .99")
    .is_all(f"{AT}, memorising is not prevented: in every run random labels are fitted in the end."),
    Mean(where(alpha=1.25, **tenth), "lies_fitted", "10 % lies fitted, α 1.25 less 0.7", less=where(alpha=0.7, **tenth))
    .exceeds(0.5, "On a larger sphere over half of the lies more are fitted than on a small one."),
    Share(late, lambda rows: rows["memorised_by"].notna() & rows["grokked_by"].isna(), "fit, do not generalise")
    .exceeds(0.5, "At twice the norm most runs fit the training set and do not generalise within 15,000 steps."),
]  # fmt: skip
STUDY = Studies(
    "At the published size: where does a held norm generalise, and what does it memorise?", PARTS, claims=CLAIMS
)
_TINY: dict[str, Any] = {"p": 7, "d_model": 16, "d_head": 4, "d_mlp": 32, "steps": 20, "seeds": [0, 1]}
QUICK = STUDY.with_(
    {
        "radii": {"grid": {"alpha": [0.7, 1.0]}},
        "doses": {"grid": {"alpha": [0.7, 1.25], "corrupted": [0.1]}, "frac_train": 0.6},
        "longer": {"grid": {"alpha": [2.0]}},
        "pairs": {"grid": {"frac_train": [0.5], "alpha": [0.9]}},
    },
    **_TINY,
)  # fmt: skip


def measured(run: Run) -> dict[str, Any]:
    """What a run adds to its row: unseen mirrors and lies at the end."""
    last = run.history.iloc[-1]
    columns = {"unseen_acc": "test_mirror_unseen_acc", "lies_fitted": "train_corrupted_acc"}
    return {name: float(last[column]) for name, column in columns.items() if column in last}


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Times against the radius, medians that are censored as open triangles; lies fitted; unseen mirrors by share."""
    figure, (times, lies, pairs) = figures.sheet(1, 3, (10.2, 3.5))
    for arm, event, style, said in (
        (TRUE, "memorised", "--", "$T_{mem}$"),
        (TRUE, "grokked", "-", "$T_{gen}$"),
        (RANDOM, "memorised", "-", "$T_{random}$"),
    ):
        known = []
        for alpha, rows in held(arm)(table).groupby("alpha"):
            by = rows[f"{event}_by"]
            times.plot([alpha] * int(by.notna().sum()), by.dropna(), "o", color=COLOURS[arm], ms=2, alpha=0.4)
            middle = censored_median(by.tolist(), rows["steps"].tolist())
            if middle.is_censored:
                times.plot(alpha, middle.value, "^", color=COLOURS[arm], mfc="white", ms=6)
            else:
                known.append((alpha, middle.value))
        line = zip(*known, strict=True) if known else ([], [])
        times.plot(*line, style, color=COLOURS[arm], label=f"{said}, {arm}")
    times.set(yscale="log", ylabel="optimizer step")
    figures.draw_groups(
        lies, where(part="doses")(table), "corrupted", "alpha", "lies_fitted", _shades(table, "corrupted")
    )
    lies.set(ylim=(-0.03, 1.03), ylabel="share of the lies fitted at the end")
    shares = where(part="pairs", arm=TRUE)(table)
    figures.draw_groups(pairs, shares, "frac_train", "alpha", "unseen_acc", _shades(table, "frac_train"))
    pairs.set(ylim=(-0.03, 1.03), ylabel="unseen mirrors answered right")
    for ax in (times, lies, pairs):
        figures.values_axis(ax, sorted(set(table["alpha"].dropna())), "held norm, in units of α = ‖θ‖/‖θ₀‖")
    figures.legends([times, lies, pairs])
    return figure


def _shades(table: pd.DataFrame, column: str) -> dict[Any, str]:
    """A colour for each value of a column."""
    palette = (figures.SKY, figures.BLUE, figures.ORANGE, figures.RED)
    return dict(zip(sorted(set(table[column].dropna())), palette, strict=False))


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "tiny networks and few steps")
    table = study.rows(given, measured)
    free_runs = free(table)
    notes = [
        "Held from step 0, no decay; free runs have decay 1. Open triangles: medians beyond the budget. "
        f"Free runs that generalised within their budget: {has_grokked(free_runs).sum()} of {len(free_runs)}."
    ]
    study.write(given, table, draw(table), notes)


if __name__ == "__main__":
    main()
