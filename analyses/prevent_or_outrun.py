"""Does a held norm prevent memorising, or is memorising outrun; and where does generalising stop?

On the sphere of radius α‖θ₀‖ (held from step 0, no decay) the same first networks are trained on the same pairs with
their true labels, with random labels, which can only be memorised, and with a dose of lies: some of the training labels
are wrong. T_gen is when the true task is generalised, T_random when as many random labels are fitted.

What is predicted before any run at another share f of the pairs than f₀: memorising takes in proportion to the number
of pairs, generalising does not depend on it, and generalising stops at the radius above which memorising is sooner. So
T_gen(α) = T_random(α) f / f₀ gives α*(f), with both times from f₀ alone (`predicted`).

It would be an artefact if random labels were harder for a reason of their own: they are as many, on the same pairs, in
the same network, at the same rate. A budget that ends first makes a bound of T_random, no time; and what these rates
and budgets do not fit is not shown to be unfittable.

    python analyses/prevent_or_outrun.py            # the full grid
    python analyses/prevent_or_outrun.py --quick    # a smaller one: seconds
"""

import math
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.selections import Band, has_grokked
from circuitgrok.study.study import Studies, Study, evenly

TRUE, RANDOM, LIES = "true labels", "random labels", "10 % lies"
HELD = {"fixed_norm": True, "weight_decay": 0.0, "lr": 3e-3, "eval_every": 10}
SEEDED = ("seed", "data_seed", "label_seed")
F0, OTHERS = 0.5, [0.4, 0.65, 0.8]  # the share of the pairs that predicts, and those that are predicted
RADII = [0.6, 0.7, 0.8, 0.9, 1.0, 1.25]
PUBLISHED_SIZE = cg.TrainConfig.preset("sphere").with_(**HELD, norm_factor=1.0, steps=300, **evenly(300))
SMALL = cg.TrainConfig.preset("quickstart").with_(**HELD, steps=600, **evenly(600))


def budget(cell: cg.TrainConfig) -> dict[str, Any]:
    """Fewer steps where random labels and lies are fitted soon: above 1 at p = 113, above 0.8 at p = 29 (pilots)."""
    is_large, alpha = cell.schedule.steps == 300, cell.init.alpha
    return {"steps": 150 if alpha > 1 else 300} if is_large else {"steps": 200 if alpha > 0.8 else 600}


ARMS = {
    TRUE: lambda cell: {"checkpoint_every": 25} | ({"steps": 250} if cell.schedule.steps == 300 else {}),
    RANDOM: lambda cell: {"operation": "random"} | budget(cell),
    LIES: lambda cell: {"corrupted": 0.1} | budget(cell),
}
LARGE, SMALL_PART, DOSES, OTHER, RATES = "p = 113", "p = 29", "doses", "other shares", "rates"
PARTS = {
    LARGE: Study("At the published size?", PUBLISHED_SIZE, ARMS, {"alpha": [0.7, 0.9, 1.2]}, seeded=SEEDED),
    SMALL_PART: Study("At a small one?", SMALL, ARMS, {"alpha": RADII}, seeded=SEEDED),
    DOSES: Study("Which dose?", SMALL, {"lies": {}}, {"corrupted": [0.02, 0.05, 0.2], "alpha": [0.8]}, seeded=SEEDED),
    OTHER: Study(
        "With fewer or more pairs?", SMALL, {TRUE: {}, LIES: {"corrupted": 0.1, "steps": 300}},
        {"frac_train": OTHERS, "alpha": RADII}, seeded=SEEDED,
    ),
    RATES: Study(
        "At which rate?", SMALL, {RANDOM: {"operation": "random"}}, {"lr": [1e-3, 1e-2], "alpha": [0.6, 0.7]},
        seeded=SEEDED,
    ),
}  # fmt: skip


def part(name: str, arm: str, **more: Any) -> Selection:
    """The runs of an arm of a part."""
    return where(part=name, arm=arm, **more)


def in_most(rows: pd.DataFrame) -> pd.Series:
    """Whether more than three in four runs at a row's radius generalise."""
    return has_grokked(rows).groupby(rows["alpha"]).transform("mean") > 0.75


def at_soonest(name: str, arm: str) -> Selection:
    """Those at the radius at which the other half of the seeds generalises soonest, of those where most do."""
    return Band(part(name, TRUE), "alpha", in_most, "α").at_soonest(part(name, arm))


def outrun(name: str) -> Ratio:
    """How many times as long random labels take as generalising, at the radius where that is soonest."""
    return Ratio(at_soonest(name, RANDOM), at_soonest(name, TRUE), "memorised", by="grokked", name="T_random / T_gen")


def delay(name: str) -> Ratio:
    """How many times as long generalising takes as memorising, there."""
    return Ratio(at_soonest(name, TRUE), at_soonest(name, TRUE), "grokked", by="memorised", name="T_gen / T_mem")


def fitted(rows: Selection, column: str, when: str) -> Mean:
    """The share of the lies that are fitted."""
    return Mean(rows, column, f"share of the lies fitted {when}", bounds=(0, 1))


def edges(table: pd.DataFrame) -> pd.DataFrame:
    """For each seed and share: the largest radius at which it generalises (0 without any), and the next of the grid."""
    lines = []
    for (f, seed), rows in where(arm=TRUE, p=29)(table).groupby(["f", "seed"]):
        radii = rows["alpha"].sort_values().tolist()
        last = max(rows["alpha"][has_grokked(rows)], default=0.0)
        lines.append(
            {"f": f, "seed": seed, "last": last, "next": min((a for a in radii if a > last), default=math.inf)}
        )
    return pd.DataFrame(lines)


def medians(table: pd.DataFrame, arm: str, event: str) -> pd.Series:
    """ln T by radius at f₀, the median over seeds, where censored the budget, which is a bound."""
    rows = part(SMALL_PART, arm)(table)
    times = rows[f"{event}_by"].fillna(rows["steps"])
    return times.map(math.log).groupby(rows["alpha"]).median()


def predicted(table: pd.DataFrame, f: float) -> float:
    """The largest radius at which ln T_gen = ln T_random + ln(f / f₀), between radii of the grid on a straight line.

    From the runs at f₀ alone; nan if the two do not cross within the grid.
    """
    late = medians(table, TRUE, "grokked") - medians(table, RANDOM, "memorised") - math.log(f / F0)
    pairs = list(zip(late.index[:-1], late.index[1:], late.iloc[:-1], late.iloc[1:], strict=True))
    crossed = [a + (b - a) * -low / (high - low) for a, b, low, high in pairs if low <= 0 < high]
    return max(crossed, default=math.nan)


def missed(table: pd.DataFrame) -> pd.DataFrame:
    """By how much the prediction misses the edge of each seed, in steps of ln α of 0.1, on average over other shares.

    It misses by nothing if it lies between the last radius at which the seed generalises and the next of the grid.
    """
    found = edges(table)
    found = found[found["f"] != F0]
    for name, rule in {"miss": lambda f: predicted(table, f), "stays": lambda f: predicted(table, F0)}.items():
        at = found["f"].map({f: rule(f) for f in OTHERS})
        below, above = (found["last"] / at).map(_log), (at / found["next"]).map(_log)
        found[name] = pd.concat([below, above], axis=1).max(axis=1).clip(lower=0) / 0.1
    return found.groupby("seed", as_index=False)[["miss", "stays"]].mean()


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


AT = "Where it generalises soonest"
tenth, there = where(part=LARGE, arm=LIES, alpha=0.9), part(SMALL_PART, LIES, alpha=0.6)
CLAIMS = [
    outrun(LARGE).exceeds(1, f"p = 113: {AT}, memorising is outrun: random labels take longer to fit."),
    outrun(SMALL_PART).exceeds(1, f"p = 29: {AT}, memorising is outrun: random labels take longer to fit."),
    delay(LARGE)
    .falls_below(1.5, f"p = 113: {AT}, there is no delay: T_gen is less than 1.5 T_mem.")
    .telling(delay(SMALL_PART)),
    Share(at_soonest(SMALL_PART, RANDOM), lambda rows: rows["memorised_by"].notna(), "random labels fitted to .99")
    .is_all(f"p = 29: {AT}, memorising is not prevented: in every run the random labels are fitted in the end."),
    fitted(tenth, "fitted_then", "by T_gen of the true labels")
    .falls_below(0.5, "p = 113, α = 0.9: of 10 % lies less than half are fitted by T_gen of the true labels."),
    fitted(tenth, "fitted_end", "at the end")
    .exceeds(0.5, "p = 113, α = 0.9: and yet lies are not prevented: more than half are fitted in the end."),
    fitted(there, "fitted_end", "at the end")
    .falls_below(0.5, "p = 29, α = 0.6: a small enough sphere prevents: less than half of the lies are fitted."),
    Mean(missed, "miss", "miss of α*(f), in steps of 0.1 of ln α")
    .falls_below(1, "p = 29: the race at f = 0.5 predicts where generalising stops at 0.4, 0.65 and 0.8, to a step.")
    .telling(Mean(missed, "stays", "miss if it stayed where it is at f = 0.5")),
]  # fmt: skip
QUESTION = "Does holding the norm prevent memorising, or is it outrun; and where does generalising stop?"
STUDY = Studies(QUESTION, PARTS, claims=CLAIMS)


def main() -> None:
    given, study = STUDY.asked(__file__, STUDY, "a small grid")
    study.train(given)


if __name__ == "__main__":
    main()
