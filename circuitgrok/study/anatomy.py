"""Every measure of one run on one time axis, the phases of grokking as bands: the sheet that shows a run's anatomy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from circuitgrok import figures
from circuitgrok.measures.learning.phases import Phase
from circuitgrok.store.run import Run
from circuitgrok.table.measure import measure
from circuitgrok.table.needs import Group

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = tuple[str, str, str | None, str]  # column, label, colour, style
GROUPS: list[Group] = [
    "polar", "fourier", "circuits", "memorization", "scale", "orbits", "sparsity", "neurons", "attention",
    "forms", "ablations", "updates",
]  # fmt: skip
PAIRS = {  # column: (label, colour)
    "circuit_only": ("circuit only", figures.GREEN),
    "both": ("each alone", figures.SKY),
    "rest_only": ("rest only", figures.RED),
    "together": ("only together", figures.ORANGE),
}
STRUCTURE: list[Line] = [
    ("gini[W_E]", "Gini of W_E", figures.BLUE, "-"),
    ("gini[W_L]", "Gini of W_L", figures.BLUE, "--"),
    ("head_fve", "heads: one frequency", figures.ORANGE, "-"),
    ("neuron_purity", "neurons: purity", figures.GREEN, "-"),
    ("direction_fve_mean", "W_L directions: sum wave", figures.GREEN, "--"),
    ("frac_explained", "logits: clock form", figures.RED, "-"),
    ("circularity", "circularity of W_E", figures.PURPLE, ":"),
]
NORMS: list[Line] = [
    ("norm_min", "least norm of the orbit", figures.GREY, ":"),
    ("norm", "norm r", figures.BLUE, "-"),
    ("norm[embed]", "embedding", figures.ORANGE, "--"),
    ("norm[attention]", "attention", figures.GREEN, "--"),
    ("norm[mlp]", "MLP", figures.RED, "--"),
    ("norm[unembed]", "unembedding", figures.PURPLE, "--"),
]
UPDATES: list[Line] = [
    ("update_radial[gradient]", "radial: present gradient", figures.RED, "-"),
    ("update_radial[momentum]", "radial: momentum", figures.ORANGE, "-"),
    ("update_radial[decay]", "radial: decay", figures.BLUE, "-"),
    ("update_radial[applied]", "radial: applied", figures.GREY, "-"),
    ("update_tangential[applied]", "tangential: applied", figures.GREEN, "--"),
]
CUTS: list[Line] = [
    ("loss[pattern, mean, test]", "attention pattern", figures.PURPLE, "-."),
    ("loss[skip, mean, test]", "skip around the MLP", figures.SKY, ":"),
    ("loss[other waves, mean, test]", "all but the key waves", figures.GREEN, ":"),
]
FORMS: list[Line] = [
    ("gradient_symmetricity", "gradient symmetricity", figures.BLUE, "-"),
    ("distance_irrelevance", "distance irrelevance", figures.ORANGE, "-"),
    ("frac_explained", "clock form", figures.RED, "--"),
    ("frac_pizza", "pizza form", figures.GREEN, "--"),
    ("cos_descent", "cos(−∇L, θ)", figures.PURPLE, ":"),
]


def anatomy(run: Run) -> "pd.DataFrame":
    """All that a sheet shows of a transformer on a modular task: measures by checkpoint, and three sums of them.

    `head_fve` is the mean over heads of `head_fve[head h]`, `pairs_circuit` and `pairs_rest` the shares of training
    pairs that the circuit and the rest answer right, alone or each.
    """
    table = measure(run, GROUPS)
    heads = [f"head_fve[head {h}]" for h in range(run.config.transformer.n_heads)]
    extra = {
        "head_fve": table[heads].mean(axis=1),
        "pairs_circuit": table["pairs_circuit_only[train]"] + table["pairs_both[train]"],
        "pairs_rest": table["pairs_rest_only[train]"] + table["pairs_both[train]"],
    }
    return table.assign(**extra)


def draw_anatomy(run: Run, table: "pd.DataFrame", found: Mapping[str, Phase]) -> "Figure":
    """Eight panels over one time axis, the phases as bands.

    Args:
        run: The run.
        table: Its `anatomy`.
        found: Its three phases (`phases.phases`); one of which an end is censored has no band.
    """
    figure, axes = figures.sheet(4, 2, (12, 13), sharex=True)
    history, keys, heads = run.history, table.attrs["key_freqs"], range(run.config.transformer.n_heads)
    figures.draw_losses(axes[0, 0], history, table)
    control, spread = table["restricted_loss_random"], table["restricted_loss_random_sd"]
    axes[0, 0].fill_between(table.index, control - spread, control + spread, color=figures.GREEN, alpha=0.15, lw=0)
    figures.draw_accuracies(axes[0, 1], history, table)
    stacked, (labels, colours) = [table[f"pairs_{name}[train]"] for name in PAIRS], zip(*PAIRS.values(), strict=True)
    axes[1, 0].stackplot(table.index, stacked, colors=colours, labels=labels, alpha=0.75, lw=0)
    axes[1, 0].set_ylabel("training pairs answered right by …")
    axes[1, 0].legend(fontsize=7, loc="upper left")
    _lines(axes[1, 1], table, STRUCTURE, "structure, 0..1")
    _lines(axes[2, 0], table, NORMS, "weight norm", legend_above=True)
    axes[2, 0].set_ylim(0, None)
    _lines(axes[2, 1], table.iloc[:-1], UPDATES, "part of one step (units of the weights)", legend_above=True)
    axes[2, 1].set_yscale("symlog", linthresh=1e-3)
    cuts: list[Line] = [(f"loss[waves {k}, zero, test]", f"waves of k = {k}", None, "-") for k in keys]
    cuts += [(f"loss[head {h}, mean, test]", "heads" if h == 0 else "", figures.GREY, "--") for h in heads]
    _lines(axes[3, 0], table, [*cuts, *CUTS], "test loss without … (nats)")
    axes[3, 0].set_yscale("log")
    _lines(axes[3, 1], table, FORMS, "clock or pizza; radial descent")
    for i, ax in enumerate(axes.flat):
        figures.step_axis(ax, int(table.index[-1]))
        ax.set_xlabel("optimizer step" if i >= 6 else "")
        for phase, colour in zip(found.values(), (figures.RED, figures.SKY, figures.GREEN), strict=True):
            if phase.start.by is not None and phase.end.by is not None:
                ax.axvspan(max(phase.start.by, 1), phase.end.by, color=colour, alpha=0.08, lw=0)
    ends = {name: ["…" if end.by is None else str(end.by) for end in phase] for name, phase in found.items()}
    titles = [f"{name.replace('_', ' ')} {'–'.join(shown)}" for name, shown in ends.items()]
    figure.suptitle(f"{run.name}: {run.config.task.formula}, key frequencies {keys}; " + ", ".join(titles), fontsize=10)
    return figure


def _lines(ax: "Axes", table: "pd.DataFrame", shown: Sequence[Line], label: str, legend_above: bool = False) -> None:
    for column, name, colour, style in shown:
        ax.plot(table.index, table[column], color=colour, ls=style, label=name or None, lw=1.2)
    ax.set_ylabel(label)
    if legend_above:
        figures.legend_above(ax, 3)
    else:
        ax.legend(fontsize=7, frameon=False)
