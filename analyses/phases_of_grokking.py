"""What happens in which order while a network groks: every measure of one run on one time axis.

The figure shows one run. The order is asked of all seeds that grok: a measure is half-way when it has done half of
its way from where it was when the training set was memorised to where it ends, and stays beyond.

    python analyses/phases_of_grokking.py            # ten seeds; --dry-run says how long
    python analyses/phases_of_grokking.py --quick    # two, for few steps: seconds
"""

import math

import pandas as pd

import circuitgrok as cg
from circuitgrok.measures.learning.crossings import HOLD
from circuitgrok.measures.learning.phases import PHASES, boundaries, phases
from circuitgrok.study.alarms import Indicator, half_ways
from circuitgrok.study.anatomy import anatomy, draw_anatomy
from circuitgrok.study.claims import Mean, Ratio, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import Declared
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Study

WAYS = {  # what is asked for its half-way step
    "embedding: Gini": Indicator("gini[W_E]"),
    "W_L: Gini": Indicator("gini[W_L]"),
    "circularity of the embedding": Indicator("circularity"),
    "heads: one frequency": Indicator("head_fve"),
    "neurons: purity": Indicator("neuron_purity"),
    "gradient symmetricity": Indicator("gradient_symmetricity"),
    "clock: share of logit variance": Indicator("frac_explained"),
    "margin: share of the circuit": Indicator("circuit_share[train]"),
    "pairs right by the circuit": Indicator("pairs_circuit"),
    "pairs right by the rest": Indicator("pairs_rest"),
    "restricted loss (log)": Indicator("restricted_loss[all]", is_logarithmic=True),
    "excluded loss (log)": Indicator("excluded_loss[train]", is_logarithmic=True),
    "ablating the MLP's skip (log)": Indicator("loss[skip, mean, test]", is_logarithmic=True),
    "efficiency: margin per norm": Indicator("efficiency[whole]"),
    "descent points outwards": Indicator("cos_descent"),
    "norm": Indicator("norm"),
    "orbit-minimal norm": Indicator("norm_min"),
}


def told(table: pd.DataFrame, memorised: float, grokked: float) -> dict[str, float]:
    """Between which checkpoints each measure was half-way and each rule's event happened; the steps of a run."""
    by = half_ways(table[table.index >= memorised], WAYS)
    by |= {f"rule {name}": math.nan if e.by is None else float(e.by) for name, e in boundaries(table).items()}
    times = {f"{name}_by": step for name, step in by.items()}
    times |= {f"{name}_after": max(table.index[table.index < step], default=0) for name, step in by.items()}
    between = table[(table.index >= memorised) & (table.index < grokked)]
    parts = table["update_tangential[applied]"] / table["update_radial[applied]"].abs()
    return times | {"outwards": between["cos_descent"].mean(), "sideways": parts.median()}


def before(text: str, early: str, late: str = "grokked", by: float = 1) -> Declared:
    """The claim that one thing comes before another by a factor, in the runs that grokked and in which both moved."""

    def rows(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.dropna(subset=["grokked_by", f"{early}_by", f"{late}_by"])

    name = "T_grok" if late == "grokked" else f"T({late})"
    return Ratio(rows, rows, late, early, name=f"{name} / T({early.removeprefix('rule ')})").exceeds(by, text)


grokked, OWN = where(grokked_by=pd.Series.notna), "margin: share of the circuit"
CLAIMS = [
    before(
        "Circuit formation starts before the test accuracy shows it: excluded loss is at its minimum well before.",
        "rule excluded_minimum", by=2,
    ),
    before("The circuit carries half of the margin before the network groks.", OWN),
    before(
        "The circuit is there before the memories go: pairs are right by the circuit before they stop being right "
        "by the rest.", "pairs right by the circuit", "pairs right by the rest",
    ),
    before("Heads are tuned before neurons are pure.", "heads: one frequency", "neurons: purity"),
    before("The embedding is sparse before W_L is.", "embedding: Gini", "W_L: Gini"),
    before("The norm falls after the circuit has taken over the margin.", OWN, "norm"),
    Mean(grokked, "outwards", "mean cosine", bounds=(-1, 1))
    .exceeds(0.5, "Between memorising and grokking, descent points outwards: cos(−∇L, θ) above 0.5 on average."),
    Factor(grokked, "sideways", "tangential over radial").exceeds(
        2, "And yet the applied steps go sideways: tangential parts more than twice the radial ones (median)."
    ),
]  # fmt: skip
STUDY = Study(
    "What happens in which order while a network groks?",
    cg.TrainConfig.preset("quickstart").with_(steps=6000),
    arms={"quickstart": {}},
    claims=CLAIMS,
)
QUICK = STUDY.with_(seeds=[0, 1], steps=300, frac_train=0.8, lr=3e-3, checkpoint_every=20)


def notes(runs: pd.DataFrame, every: int) -> list[str]:
    """The order of all half-way steps, which seeds it is of, and by which rules."""
    solved = grokked(runs)
    ways = solved[[f"{name}_by" for name in WAYS]].set_axis(list(WAYS), axis=1)
    order = ways.div(solved["grokked_by"], axis=0).median().sort_values()
    rules = "; ".join(f"{name}: {start or 'start'} to {end}" for name, (start, end) in PHASES.items())
    times = solved[["memorised_by", "grokked_by"]]
    return [
        f"Half-way in units of T_grok, median over seeds: {listed(order, '{} {:.2f}', '; ')}.",
        "Seeds that did not grok are left out of the order; of the others, memorised and grokked by "
        f"{listed(times, '{}: {:g}, {:g}', '; ')}. A way starts at the checkpoint at which the training set was "
        f"memorised and ends at the last one; half-way is kept for {HOLD} steps. Checkpoints every "
        f"{every} steps and where the test loss moves. Phases by {rules} (learning/phases.py). Key frequencies by "
        f"wl_energy at the last checkpoint. Figure: seed {solved.index[0]}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    trained = study.train(given)
    runs = study.table(trained).set_index("seed", drop=False)
    solved = grokked(runs)
    if len(solved) < 2:
        raise SystemExit(f"only seeds {[*solved.index]} grokked within the budget: the order needs two")
    of = dict(zip(runs.index, trained.values(), strict=True))
    tables = {seed: anatomy(of[seed]) for seed in solved.index}
    facts = [told(tables[seed], *times) for seed, times in solved[["memorised_by", "grokked_by"]].iterrows()]
    runs = runs.join(pd.DataFrame(facts, index=solved.index))
    first = solved.index[0]
    figure = draw_anatomy(of[first], tables[first], phases(tables[first]))
    said = notes(runs, study.base.schedule.checkpoint_every)
    study.write(given, runs.reset_index(drop=True), figure, said)


if __name__ == "__main__":
    main()
