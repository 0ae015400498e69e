"""Does restricted loss tell a network that groks from one that only memorises, at as many frequencies for both?

Without decay the rule finds all frequencies key, and restricted to all of them nearly every network loses little. Here
each run without decay is restricted to as many frequencies as the run of the same seed that groks has, its own
strongest by the same rule, and to random ones of that number.

    python analyses/size_matched_controls.py            # twenty runs: minutes
    python analyses/size_matched_controls.py --quick    # four short ones: seconds
"""

from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Study, evenly

GROKS, MEMORISES = "groks", "no decay"
groks, memorises = where(arm=GROKS, kind="own"), where(arm=MEMORISES, kind="matched")
own = where(arm=MEMORISES, kind="own")


def with_others(rows: Selection) -> Selection:
    """Those for which there are as many other frequencies as key ones."""
    return lambda table: rows(table).dropna(subset="random")


CLAIMS = [
    Share(own, lambda rows: rows["n_keys"] > rows["n_freqs"] / 2, "runs without a sparse spectrum").exceeds(
        0.5, "Without decay a network has no sparse spectrum: more than half of all frequencies are key."
    ),
    Factor(memorises, "restricted", "restricted loss, matched over own size", over=own).exceeds(
        2, "Restricted to as many frequencies as the run that groks, a memoriser loses more than twice as much as "
        "restricted to all that its rule finds."
    ),
    Factor(memorises, "restricted", "restricted loss, memoriser over grokked", over=groks).exceeds(
        100, "At as many frequencies a memoriser's restricted loss is over 100 times that of the run that groks."
    ),
    Factor(memorises, "restricted", "its strongest over random ones", by="random").exceeds(
        0.5, "A memoriser's strongest frequencies are no circuit: restricted to them it loses more than half of what "
        "it loses restricted to random ones."
    ),
    Factor(groks, "restricted", "key over random ones", by="random").falls_below(
        0.01, "The frequencies of a run that groks are one: less than a hundredth."
    ),
    Mean(memorises, "excluded", "excluded loss on train (nats)").falls_below(
        1, "Without as many of its strongest frequencies a memoriser still knows its pairs: under 1 nat on train."
    ),
    Mean(groks, "excluded", "excluded loss on train (nats)").exceeds(
        1, "A run that groks does not: over 1 nat."
    ),
]  # fmt: skip
LATER = [  # once it was seen that a partner may have so many key frequencies that there are not as many others
    Factor(with_others(memorises), "restricted", "its strongest over random ones", by="random").exceeds(
        0.5, "Where there are as many other frequencies, a memoriser restricted to its strongest loses more than half "
        "of what it loses restricted to random ones."
    ),
    Factor(with_others(groks), "restricted", "key over random ones", by="random").falls_below(
        0.01, "Where there are as many other frequencies, a run that groks loses less than a hundredth."
    ),
]  # fmt: skip
STUDY = Study(
    "Does restricted loss tell a network that groks from one that memorises, at as many frequencies?",
    cg.TrainConfig.preset("quickstart").with_(**evenly(200)),
    arms={GROKS: {}, MEMORISES: {"weight_decay": 0.0}},
    claims=CLAIMS,
)
QUICK = STUDY.with_(seeds=[0, 1], steps=60, checkpoint_every=20, p=13, d_model=16, d_head=8, n_heads=2, d_mlp=32)
COLOURS = {GROKS: figures.BLUE, MEMORISES: figures.ORANGE}
STYLES = {"own": "--", "matched": "-", "random": ":"}


def along(run: Run, n_keys: int | None) -> pd.DataFrame:
    """Restricted and excluded losses of a run, a row for each checkpoint; keys of its own number or of a given one."""
    table = cg.measure(run, "circuits", n_keys=n_keys)
    facts = {"n_keys": len(table.attrs["key_freqs"]), "n_freqs": table.attrs["n_freqs"]}
    columns = {
        "restricted": "restricted_loss[all]", "random": "restricted_loss_random", "excluded": "excluded_loss[train]",
        "unseen": "restricted_loss_unseen",
    }  # fmt: skip
    return pd.DataFrame({name: table[column] for name, column in columns.items()}).assign(**facts).reset_index()


def measured(runs: dict[str, Run], labels: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Every run with its own number of key frequencies, and those without decay with that of their partner too."""
    found = []
    partner = {labels[name]["seed"]: run for name, run in runs.items() if labels[name]["arm"] == GROKS}
    for name, run in runs.items():
        arm, seed = labels[name]["arm"], labels[name]["seed"]
        found.append(along(run, None).assign(arm=arm, seed=seed, kind="own"))
        if arm == MEMORISES:
            n = len(cg.measure(partner[seed], "circuits", partner[seed].steps[-1]).attrs["key_freqs"])
            found.append(along(run, n).assign(arm=arm, seed=seed, kind="matched"))
    return pd.concat(found)


def draw(course: pd.DataFrame) -> "figures.Figure":
    """Restricted and excluded loss along training; lines are medians over seeds, bands their range."""
    figure, axes = figures.sheet(1, 2, (11, 4.2))
    shown = {"restricted": "restricted loss, all pairs (nats)", "excluded": "excluded loss, train (nats)"}
    for ax, (column, label) in zip(axes, shown.items(), strict=True):
        for arm, kind in ((GROKS, "own"), (MEMORISES, "own"), (MEMORISES, "matched")):
            rows = where(arm=arm, kind=kind)(course)
            keys = f"{rows['n_keys'].median():.0f} frequencies"
            figures.draw_seeds(ax, rows, "step", column, COLOURS[arm], STYLES[kind], f"{arm}, {keys}")
        if column == "restricted":
            rows = memorises(course)
            said = f"{MEMORISES}, as many random ones"
            figures.draw_seeds(ax, rows, "step", "random", COLOURS[MEMORISES], STYLES["random"], said)
        ax.set(yscale="log", ylabel=label, xlabel="optimizer step")
    figures.legends(axes)
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "four short runs")
    runs = study.train(given)
    of = study.table(runs)
    course = measured(runs, study.labels())
    last = course[course["step"] == course.groupby(["arm", "seed"])["step"].transform("max")]
    sizes = last.groupby(["arm", "kind"])["n_keys"].median()
    unseen = last.groupby(["arm", "kind"])["unseen"].median()
    notes = [
        "Key frequencies by wl_energy at the last checkpoint, kept along the run; in a run without decay once all that "
        "the rule finds (`own`), once as many of its strongest as the run of the same seed under decay has (`matched`: "
        "`cg.measure(run, n_keys=K)`). Claims are of the last checkpoint. Median numbers: "
        f"{listed(sizes, '{} {}: {:g}')}.",
        "Restricted loss from unseen pairs alone, median at the end (nats; of a memoriser ln p or more, whatever "
        f"the set): {listed(unseen, '{} {}: {:.3g}')}.",
    ]
    study.write(given, last.drop(columns="step"), draw(course), notes, runs=of, made=LATER)


if __name__ == "__main__":
    main()
