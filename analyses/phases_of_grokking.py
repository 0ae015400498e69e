"""What happens in which order while a network groks: every measure of one run on one time axis.

The figure shows one run. The order is asked of all seeds that grok: a measure is half-way when it has done half of
its way from where it was when the training set was memorised to where it ends, and stays beyond.

    python analyses/phases_of_grokking.py            # five seeds: minutes
    python analyses/phases_of_grokking.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, crossing, events
from circuitgrok.measures.learning.phases import PHASES, Phase, boundaries, phases
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, above, mean_interval
from circuitgrok.training.progress import LiveProgress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import LegendLocType

Line = tuple[str, str, str | None, str]  # column, label, colour, style
QUESTION = "What happens in which order while a network groks?"
GROUPS = ["polar", "fourier", "circuits", "memorization", "scale", "orbits", "sparsity", "neurons", "attention"]
GROUPS += ["forms", "ablations", "updates"]
WAYS = {  # what is asked for its half-way step: column, and whether its logarithm moves
    "embedding: Gini": ("gini[W_E]", False),
    "W_L: Gini": ("gini[W_L]", False),
    "circularity of the embedding": ("circularity", False),
    "heads: one frequency": ("head_fve", False),
    "neurons: purity": ("neuron_purity", False),
    "gradient symmetricity": ("gradient_symmetricity", False),
    "clock: share of logit variance": ("frac_explained", False),
    "margin: share of the circuit": ("circuit_share[train]", False),
    "pairs right by the circuit": ("pairs_circuit", False),
    "pairs right by the rest": ("pairs_rest", False),
    "restricted loss (log)": ("restricted_loss[all]", True),
    "excluded loss (log)": ("excluded_loss[train]", True),
    "ablating the MLP's skip (log)": ("loss[skip, mean, test]", True),
    "efficiency: margin per norm": ("efficiency[whole]", False),
    "descent points outwards": ("cos_descent", False),
    "norm": ("norm", False),
    "orbit-minimal norm": ("norm_min", False),
}


def measured(run: Run) -> pd.DataFrame:
    """All measures of a run, and three sums of columns that are asked for."""
    table = cg.measure(run, GROUPS)
    heads = [f"head_fve[head {h}]" for h in range(run.config.transformer.n_heads)]
    extra = {
        "head_fve": table[heads].mean(axis=1),
        "pairs_circuit": table["pairs_circuit_only[train]"] + table["pairs_both[train]"],
        "pairs_rest": table["pairs_rest_only[train]"] + table["pairs_both[train]"],
    }
    return table.assign(**extra)


def half_way(table: pd.DataFrame, memorised: int) -> dict[str, float]:
    """The first checkpoint from which each measure has done half of its way; nan if it does not move."""
    after = table[table.index >= memorised]
    found = {}
    for name, (column, logarithmic) in WAYS.items():
        values = after[column].dropna()
        if logarithmic:
            values = values.map(math.log)
        way = values.iloc[-1] - values.iloc[0]
        share = (values - values.iloc[0]) / way if way else values * math.nan
        step = crossing([int(s) for s in share.index], share.tolist(), 0.5, HOLD).by
        found[name] = math.nan if step is None else float(step)
    return found


def claims(ways: pd.DataFrame, grokked: pd.Series, found: Mapping[int, Mapping[str, Phase]], tables: list[pd.DataFrame],
           memorised: list[int]) -> list[Claim]:  # fmt: skip
    """The order of things, as ratios of steps over the seeds that grokked."""
    logs = ways.map(math.log, na_action="ignore").sub(grokked.map(math.log), axis=0)

    def before(text: str, early: str, late: str | None) -> Claim:
        ratios = (-logs[early] if late is None else logs[late] - logs[early]).dropna()
        against = "T_grok" if late is None else f"T({late})"
        if len(ratios) < 2:
            return Claim(text, f"both half-way in {len(ratios)} of {len(logs)} seeds", "undecided")
        ratio = mean_interval(ratios.tolist())
        return Claim(text, f"{against} / T({early}), {verdicts.factor(ratio)}", above(ratio, 0.0))

    starts = [found[seed]["circuit_formation"].start.by for seed in ways.index]
    lead = mean_interval([math.log(g / s) for g, s in zip(grokked, starts, strict=True) if s])
    outwards = [
        table.loc[(table.index >= first) & (table.index < last), "cos_descent"].mean()
        for table, first, last in zip(tables, memorised, grokked, strict=True)
    ]
    sideways = [
        math.log((table["update_tangential[applied]"] / table["update_radial[applied]"].abs()).median())
        for table in tables
    ]
    return [
        Claim(
            "Circuit formation starts before the test accuracy shows it: excluded loss is at its minimum well before.",
            f"T_grok / T(excluded minimum), {verdicts.factor(lead)}",
            above(lead, math.log(2)),
        ),
        before(
            "The circuit carries half of the margin before the network groks.", "margin: share of the circuit", None
        ),
        before(
            "The circuit is there before the memories go: pairs are right by the circuit before they stop being right "
            "by the rest.",
            "pairs right by the circuit",
            "pairs right by the rest",
        ),
        before("Heads are tuned before neurons are pure.", "heads: one frequency", "neurons: purity"),
        before("The embedding is sparse before W_L is.", "embedding: Gini", "W_L: Gini"),
        before("The norm falls after the circuit has taken over the margin.", "margin: share of the circuit", "norm"),
        Claim(
            "Between memorising and grokking, descent points outwards: cos(−∇L, θ) above 0.5 on average.",
            f"mean cosine {mean_interval(outwards)}",
            above(mean_interval(outwards), 0.5),
        ),
        Claim(
            "And yet the applied steps go sideways: tangential parts more than twice the radial ones (median).",
            f"tangential over radial, {verdicts.factor(mean_interval(sideways))}",
            above(mean_interval(sideways), math.log(2)),
        ),
    ]


def draw(run: Run, table: pd.DataFrame, found: Mapping[str, Phase]) -> "figures.Figure":
    """Eight panels over one time axis, the phases as bands."""
    figure, axes = figures.sheet(4, 2, (12, 13), sharex=True)
    history, keys, heads = run.history, table.attrs["key_freqs"], range(run.config.transformer.n_heads)
    figures.draw_losses(axes[0, 0], history, table)
    control, spread = table["restricted_loss_random"], table["restricted_loss_random_sd"]
    axes[0, 0].fill_between(table.index, control - spread, control + spread, color=figures.GREEN, alpha=0.15, lw=0)
    figures.draw_accuracies(axes[0, 1], history, table)
    names = {"circuit_only": figures.GREEN, "both": figures.SKY, "rest_only": figures.RED, "together": figures.ORANGE}
    stacked = [table[f"pairs_{name}[train]"] for name in names]
    labels = ["circuit only", "each alone", "rest only", "only together"]
    axes[1, 0].stackplot(table.index, stacked, colors=list(names.values()), labels=labels, alpha=0.75, lw=0)
    axes[1, 0].set_ylabel("training pairs answered right by …")
    axes[1, 0].legend(fontsize=7, loc="upper left")
    lines = [
        ("gini[W_E]", "Gini of W_E", figures.BLUE, "-"),
        ("gini[W_L]", "Gini of W_L", figures.BLUE, "--"),
        ("head_fve", "heads: one frequency", figures.ORANGE, "-"),
        ("neuron_purity", "neurons: purity", figures.GREEN, "-"),
        ("direction_fve_mean", "W_L directions: sum wave", figures.GREEN, "--"),
        ("frac_explained", "logits: clock form", figures.RED, "-"),
        ("circularity", "circularity of W_E", figures.PURPLE, ":"),
    ]
    _lines(axes[1, 1], table, lines, "structure, 0..1")
    parts = [
        ("norm_min", "least norm of the orbit", figures.GREY, ":"),
        ("norm", "norm r", figures.BLUE, "-"),
        ("norm[embed]", "embedding", figures.ORANGE, "--"),
        ("norm[attention]", "attention", figures.GREEN, "--"),
        ("norm[mlp]", "MLP", figures.RED, "--"),
        ("norm[unembed]", "unembedding", figures.PURPLE, "--"),
    ]
    _lines(axes[2, 0], table, parts, "weight norm", "upper right")
    axes[2, 0].set_ylim(0, 1.35 * table["norm"].max())
    updates = [
        ("update_radial[gradient]", "radial: present gradient", figures.RED, "-"),
        ("update_radial[momentum]", "radial: momentum", figures.ORANGE, "-"),
        ("update_radial[decay]", "radial: decay", figures.BLUE, "-"),
        ("update_radial[applied]", "radial: applied", figures.GREY, "-"),
        ("update_tangential[applied]", "tangential: applied", figures.GREEN, "--"),
    ]
    _lines(axes[2, 1], table.iloc[:-1], updates, "part of one step (units of the weights)", "center right")
    axes[2, 1].set_yscale("symlog", linthresh=1e-3)
    cuts = [(f"loss[waves {k}, zero, test]", f"waves of k = {k}", None, "-") for k in keys]
    cuts += [(f"loss[head {h}, mean, test]", "heads" if h == 0 else "", figures.GREY, "--") for h in heads]
    cuts += [
        ("loss[pattern, mean, test]", "attention pattern", figures.PURPLE, "-."),
        ("loss[skip, mean, test]", "skip around the MLP", figures.SKY, ":"),
        ("loss[other waves, mean, test]", "all but the key waves", figures.GREEN, ":"),
    ]
    _lines(axes[3, 0], table, cuts, "test loss without … (nats)")
    axes[3, 0].set_yscale("log")
    forms = [
        ("gradient_symmetricity", "gradient symmetricity", figures.BLUE, "-"),
        ("distance_irrelevance", "distance irrelevance", figures.ORANGE, "-"),
        ("frac_explained", "clock form", figures.RED, "--"),
        ("frac_pizza", "pizza form", figures.GREEN, "--"),
        ("cos_descent", "cos(−∇L, θ)", figures.PURPLE, ":"),
    ]
    _lines(axes[3, 1], table, forms, "clock or pizza; radial descent")
    colours = dict(zip(found, (figures.RED, figures.SKY, figures.GREEN), strict=True))
    for i, ax in enumerate(axes.flat):
        figures.step_axis(ax, int(table.index[-1]))
        ax.set_xlabel("optimizer step" if i >= 6 else "")
        for name, phase in found.items():
            if phase.start.by is not None and phase.end.by is not None:
                ax.axvspan(max(phase.start.by, 1), phase.end.by, color=colours[name], alpha=0.08, lw=0)
    titles = [f"{name.replace('_', ' ')} {phase.start.by}–{phase.end.by}" for name, phase in found.items()]
    figure.suptitle(f"{run.name}: {run.config.task.formula}, key frequencies {keys}; " + ", ".join(titles), fontsize=10)
    return figure


def _lines(ax: "Axes", table: pd.DataFrame, lines: Sequence[Line], label: str, at: "LegendLocType" = "best") -> None:
    for column, name, colour, style in lines:
        ax.plot(table.index, table[column], color=colour, ls=style, label=name or None, lw=1.2)
    ax.set_ylabel(label)
    ax.legend(fontsize=7, frameon=False, loc=at)


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "two seeds for few steps")
    seeds = [0, 1] if given.quick else [0, 1, 2, 3, 4]
    leaves = {"steps": 300, "frac_train": 0.8, "lr": 3e-3, "checkpoint_every": 20} if given.quick else {"steps": 6000}
    base = cg.TrainConfig.preset("quickstart").with_(**leaves)
    grid = {f"quickstart-s{seed}": base.with_(seed=seed, data_seed=seed) for seed in seeds}
    runs = cg.train(
        list(grid.values()), given.out / "runs", names=list(grid), progress=LiveProgress(), threads=given.threads
    )
    when = {seed: events(run.history) for seed, run in zip(seeds, runs, strict=True)}
    solved = [seed for seed in seeds if when[seed]["grokked"].by is not None]
    if len(solved) < 2:
        raise SystemExit(f"only seeds {solved} grokked within {base.schedule.steps} steps: the order needs two")
    tables = {seed: measured(runs[seeds.index(seed)]) for seed in solved}
    found = {seed: phases(tables[seed]) for seed in solved}
    grokked = pd.Series({seed: float(when[seed]["grokked"].by or math.nan) for seed in solved})
    memorised = [int(when[seed]["memorised"].by or 0) for seed in solved]
    ways = pd.DataFrame(
        [half_way(tables[s], m) for s, m in zip(solved, memorised, strict=True)], index=pd.Index(solved)
    )
    order = ways.div(grokked, axis=0).median().sort_values()
    rows = [
        {"seed": seed, "what": name, "step": step, "of_T_grok": step / grokked[seed]}
        for seed in solved
        for name, step in [*ways.loc[seed].items(), *_by_rule(tables[seed]).items()]
    ]
    r0 = runs[0].manifest["start"]["norm"]
    notes = [
        "Half-way in units of T_grok, median over seeds: "
        + "; ".join(f"{name} {value:.2f}" for name, value in order.items())
        + ".",
        f"{base.modular.formula}, {base.modular.n_train} training pairs; quickstart: one layer, d_model "
        f"{base.transformer.d_model}, d_mlp {base.transformer.d_mlp}, AdamW {base.optimizer.lr:g}, weight decay "
        f"{base.optimizer.weight_decay:g}, base init {base.init.scheme} at α = 1, ‖θ₀‖ = {r0:.2f} (seed {seeds[0]}). "
        f"Seeds {seeds}, {base.schedule.steps} steps; not grokked within them, and left out of the order: "
        f"{[s for s in seeds if s not in solved] or 'none'}. T_grok of the others {[int(step) for step in grokked]}, "
        f"memorised by {memorised}.",
        "A way starts at the checkpoint at which the training set was memorised and ends at the last one; half-way is "
        f"held at {HOLD + 1} checkpoints in a row. Checkpoints every {base.schedule.checkpoint_every} steps and where "
        "the test loss moves. Phases by "
        + "; ".join(f"{name}: {start or 'start'} to {end}" for name, (start, end) in PHASES.items())
        + f" (learning/phases.py). Key frequencies by wl_energy at the last checkpoint. Figure: seed {solved[0]}.",
    ]
    figure = draw(runs[seeds.index(solved[0])], tables[solved[0]], found[solved[0]])
    made = claims(ways, grokked, found, list(tables.values()), memorised)
    verdicts.write(given.out, QUESTION, made, notes, pd.DataFrame(rows), figure)
    print((given.out / "verdict.md").read_text())


def _by_rule(table: pd.DataFrame) -> dict[str, float]:
    """The steps of all rules for the boundaries of phases; nan where censored."""
    return {f"rule {name}": math.nan if e.by is None else float(e.by) for name, e in boundaries(table).items()}


if __name__ == "__main__":
    main()
