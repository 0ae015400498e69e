"""When the norm is held at alpha * |theta_0|, how do train and test accuracy depend on alpha?

And does the delay between memorising and generalising vanish? Two arms from the same initial directions
and splits: `free` (AdamW with weight decay, the norm may move) and `sphere` (no weight decay, the norm is
put back to alpha * |theta_0| after every step). All runs of the analysis train as one stack.

    python analyses/alpha_on_the_sphere.py            # the full grid: minutes
    python analyses/alpha_on_the_sphere.py --quick    # a smaller one: seconds
"""

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.study.claims import Ratio, Share, where
from circuitgrok.study.selections import Band, by_seed
from circuitgrok.study.study import Study, evenly

SOLVED, FITTED = 0.95, 0.99  # test accuracy that counts as generalising, train accuracy as memorising
COLOURS = {"free": figures.BLUE, "sphere": figures.RED}
free, sphere = where(arm="free", alpha=1.0), where(arm="sphere")


def is_solved(rows: pd.DataFrame) -> pd.Series:
    """Which runs fit and generalise."""
    return (rows["test_acc"] >= SOLVED) & (rows["train_acc"] >= FITTED)


band = Band(sphere, "alpha", is_solved, "α")
fastest = band.at_soonest(sphere)


def above_band(table: pd.DataFrame) -> pd.DataFrame:
    """Runs on the sphere at larger α than the band's that fit the training set."""
    rows = sphere(table)
    edge = max(band.values(table), default=rows["alpha"].min())
    return rows[(rows["alpha"] > edge) & (rows["train_acc"] >= FITTED)]


def below_band(table: pd.DataFrame) -> pd.DataFrame:
    """Runs on the sphere at smaller α than the band's."""
    rows = sphere(table)
    return rows[rows["alpha"] < min(band.values(table), default=0)]


CLAIMS = [
    band.is_found("There is a band of α in which every run on the sphere generalises."),
    Ratio(free, fastest, name="T_grok(free, α = 1) / T_grok(sphere)")
    .exceeds(1, "On the sphere at its fastest α the run generalises sooner than the free run at α = 1."),
    Ratio(free, fastest, "delay", name="delay(free, α = 1) / delay(sphere)")
    .exceeds(3, "There the delay T_grok/T_mem is at most a third of the free run's."),
    Ratio(fastest, fastest, by="memorised", name="T_grok / T_mem on the sphere")
    .falls_below(1.5, "There the delay vanishes: T_grok is less than 1.5 T_mem."),
    Share(by_seed(above_band, test_acc="max"), lambda rows: rows["test_acc"] < SOLVED, "share of seeds").exceeds(
        0.5, "Above the band, runs on the sphere that fit the training set do not generalise within the budget."
    ),
    Share(by_seed(below_band, train_acc="max"), lambda rows: rows["train_acc"] < FITTED, "share of seeds")
    .exceeds(0.5, "Below the band, runs on the sphere do not even fit the training set."),
]  # fmt: skip
STUDY = Study(
    "When the norm is held at α‖θ₀‖, how do train and test accuracy depend on α, and does the delay vanish?",
    cg.TrainConfig.preset("quickstart").with_(steps=3000, eval_every=10, **evenly(3000)),
    arms={"free": {}, "sphere": {"fixed_norm": True, "weight_decay": 0.0}},
    grid={"alpha": [0.5, 0.7, 0.8, 0.9, 1.0, 1.4, 2.0, 3.0]},
    claims=CLAIMS,
)
QUICK = STUDY.with_(steps=150, grid={"alpha": [0.5, 1.0, 2.0]}, seeds=[0, 1])


def draw(table: pd.DataFrame, budget: int) -> "figures.Figure":
    """Final accuracies, and times to memorise and to generalise, against alpha; seeds as dots."""
    figure, (accuracy, time) = figures.sheet(1, 2, (10, 3.8))
    times = table.fillna({"memorised_by": budget, "grokked_by": budget})
    for of, by, style in (("train_acc", "memorised_by", "--"), ("test_acc", "grokked_by", "-")):
        figures.draw_groups(accuracy, table, "arm", "alpha", of, COLOURS, style, f"{{}}, {of[:-4]}")
        figures.draw_groups(time, times, "arm", "alpha", by, COLOURS, style, f"{{}}, {by[:-3]}")
    accuracy.set_ylabel("final accuracy")
    figures.times_axis(time, budget)
    for ax in (accuracy, time):
        figures.values_axis(ax, table["alpha"].tolist(), "init scale α (held norm = α‖θ₀‖ on the sphere)")
    figures.legends([accuracy, time])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "a small grid")
    table = study.table(study.train(given))
    table["delay_after"] = table["grokked_after"] / table["memorised_by"].fillna(table["steps"])
    table["delay_by"] = table["grokked_by"] / table["memorised_after"].clip(lower=0.5)
    notes = [
        "The α that is compared with the free run was picked as the fastest of the same runs, which favours the sphere."
    ]
    study.write(given, table, draw(table, study.base.schedule.steps), notes)


if __name__ == "__main__":
    main()
