"""What happens in which order while a network groks, and in the other two corners of the phase diagram?

Delayed generalising, immediate generalising (the preset `sphere`), and lasting memorising (no decay; few pairs), each
at the published size p = 113 and at p = 29, with the same measures (`study/anatomy`): how well the circuit alone
answers pairs that nobody has seen, nor their mirrors, how many training pairs the rest alone still answers, excluded
loss, the circuit's share of the margin, the norm.

Artefacts to think of: key frequencies known from the end (here those of each checkpoint, and for comparison those of
the last); a set as large as the spectrum is white, which would hold the memories (here as many throughout); averages
over pairs of equal sum, which carry answers over (here a fit to unseen mirrors alone); mirrors that pass for
generalising; one size, one delay.

    python analyses/phases_of_grokking.py --claims   # what is claimed, to be committed before the runs
    python analyses/phases_of_grokking.py            # 80 runs: twenty minutes on one core
    python analyses/phases_of_grokking.py --quick    # tiny ones: seconds
"""

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import Event
from circuitgrok.measures.spectra.key_freqs import wl_energy
from circuitgrok.store.run import Run
from circuitgrok.study.anatomy import anatomy, events_of
from circuitgrok.study.claims import Mean, Ratio, Share, where
from circuitgrok.study.evidence import Declared
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Studies, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGE, SMALL = "p = 113", "p = 29"
DELAYED, IMMEDIATE, NO_DECAY, FEW = "delayed", "immediate", "no decay", "few pairs"
SEEN = {"checkpoint_every": 25, "checkpoints_per_decade": 0, "checkpoint_on_move": 100.0}
HELD = {"weight_decay": 0.0, "fixed_norm": True}
LASTS = {"checkpoint_every": 50}
PARTS = {
    LARGE: Study(
        "At the published size?",
        cg.TrainConfig.preset("nanda").with_(**SEEN, lr=3e-3, weight_decay=2.0, eval_every=10, steps=1300),
        {
            DELAYED: {},
            IMMEDIATE: HELD | {"norm_factor": 0.9, "lr": 1e-3, "steps": 500},
            NO_DECAY: LASTS | {"weight_decay": 0.0, "steps": 600},
            FEW: LASTS | {"frac_train": 0.15, "steps": 600},
        },
    ),
    SMALL: Study(
        "At a small one?",
        cg.TrainConfig.preset("quickstart").with_(**SEEN, steps=5000),
        {
            DELAYED: {},
            IMMEDIATE: HELD | {"norm_factor": 0.7, "lr": 3e-3, "steps": 500},
            NO_DECAY: LASTS | {"weight_decay": 0.0, "steps": 2000},
            FEW: LASTS | {"frac_train": 0.25, "steps": 2000},
        },
    ),
}
N_KEYS = {113: 5, 29: 3}  # of 56 and of 14 frequencies
KNOWN, HINDSIGHT = "at the time", "at the end"


def runs_of(size: str, arm: str) -> Any:
    """The runs of a corner at a size."""
    return where(part=size, arm=arm)


def times(size: str, arm: str, late: str, early: str) -> Ratio:
    """How many times as late one event is as another of the same run."""
    rows = runs_of(size, arm)
    return Ratio(rows, rows, late, by=early, name=f"T({_said(late)}) / T({_said(early)})")


def _said(event: str) -> str:
    return event.removesuffix("_by").replace("_", " ")


def phases_at(size: str) -> list[Declared]:
    """Both circuits, then clean-up: what is claimed of delayed generalising at a size."""
    return [
        times(size, DELAYED, "network_reaches", "excluded_minimum").exceeds(
            2, f"{size}: The circuit starts to form long before the network shows it: excluded loss turns at less than "
            "half of the time at which the network answers half of the unseen mirrors."
        ),
        times(size, DELAYED, "network_reaches", "circuit_reaches").exceeds(
            1.25, f"{size}: The circuit alone answers half of the unseen mirrors well before the network does."
        ),
        Mean(runs_of(size, DELAYED), "rest_then", "training pairs right by the rest then", bounds=(0, 1)).exceeds(
            0.25,
            f"{size}: Both circuits stand side by side: when the circuit answers half of the unseen mirrors, the "
            "rest alone still answers over a quarter of the training pairs.",
        ),
        times(size, DELAYED, "norm_fell", "circuit_carries")
        .exceeds(1, f"{size}: Clean-up is last: the norm falls half-way after the circuit carries half of the margin.")
        .telling(times(size, DELAYED, "network_reaches", "circuit_carries")),
    ]  # fmt: skip


def hindsight(size: str, event: str = "circuit_reaches") -> Ratio:
    """By how much key frequencies of the last checkpoint date an event otherwise than those of each checkpoint."""
    return times(size, DELAYED, f"{event}_{HINDSIGHT.replace(' ', '_')}", event)


def circuit_in(size: str, arm: str) -> Mean:
    """What the circuit alone answers of the unseen mirrors at the end."""
    return Mean(runs_of(size, arm), "circuit_acc", f"{size}: unseen mirrors right by the circuit", bounds=(0, 1))


def memories_in(size: str, arm: str) -> Mean:
    """What the rest alone answers of the training pairs at its best."""
    return Mean(runs_of(size, arm), "rest_most", f"{size}, {arm}: most training pairs right by the rest", bounds=(0, 1))


CLAIMS = [
    *phases_at(LARGE),
    *phases_at(SMALL),
    hindsight(LARGE)
    .is_within(1.1, f"{LARGE}: Hindsight dates nothing otherwise: by the key frequencies of the last checkpoint the "
               "circuit answers half of the unseen mirrors when it does by those known at the time, to a tenth.")
    .telling(hindsight(LARGE, "circuit_carries"), hindsight(SMALL)),
    memories_in(LARGE, IMMEDIATE)
    .falls_below(0.5, f"{LARGE}: Where generalising is immediate, memories never hold the training set: at no "
                 "checkpoint does the rest alone answer half of it.")
    .telling(memories_in(LARGE, DELAYED), memories_in(SMALL, IMMEDIATE)),
    times(LARGE, IMMEDIATE, "memorised", "circuit_carries")
    .exceeds(1, f"{LARGE}: There it is the circuit that fits the training set: it carries half of the margin before "
             "the accuracy on train is .99.")
    .telling(times(SMALL, IMMEDIATE, "memorised", "circuit_carries")),
    Share(runs_of(LARGE, IMMEDIATE), lambda rows: rows["grokked_by"].notna(), "runs that generalise")
    .is_all("The preset `sphere` generalises within 500 steps, whatever the seed."),
    circuit_in(LARGE, NO_DECAY)
    .falls_below(0.05, f"{LARGE}: Without decay there is no circuit beneath lasting memories: alone it answers less "
                 "than 5 % of the unseen mirrors.")
    .telling(circuit_in(SMALL, NO_DECAY)),
    circuit_in(LARGE, FEW)
    .falls_below(0.05, f"{LARGE}: Nor is there with few pairs under decay.")
    .telling(circuit_in(SMALL, FEW)),
]  # fmt: skip
STUDY = Studies(
    "What happens in which order while a network groks, generalises at once, or only memorises?", PARTS, claims=CLAIMS
)
_TINY = {"seeds": [0, 1], "d_model": 16, "d_head": 4, "d_mlp": 32, "p": 11, "frac_train": 0.6}
QUICK = STUDY.with_(
    {size: {"arms": {arm: dict(leaves) | {"steps": 60} for arm, leaves in part.arms.items()}}  # pyright: ignore[reportArgumentType, reportCallIssue]
     for size, part in PARTS.items()},
    steps=60, **_TINY,
)  # fmt: skip
SHARES = {  # column: (what it is, colour, style)
    "accuracy[train]": ("network, train", figures.GREY, "--"),
    "pairs_rest[train]": ("rest alone, train", figures.ORANGE, "-"),
    "accuracy[test_mirror_unseen]": ("network, unseen mirrors", figures.RED, "-"),
    "restricted_acc_unseen": ("circuit alone, unseen mirrors", figures.GREEN, "-"),
    "norm": ("norm, share of its peak", figures.BLUE, ":"),
}
LOSSES = {
    "loss[train]": ("network, train", figures.GREY, "--"),
    "excluded_loss[train]": ("rest alone, train", figures.ORANGE, "-"),
    "loss[test_mirror_unseen]": ("network, unseen mirrors", figures.RED, "-"),
    "restricted_loss_unseen": ("circuit alone, unseen mirrors", figures.GREEN, "-"),
}
TICKS = (25, 50, 100, 200, 500, 1000, 2000, 5000)
BANDS = (("excluded_minimum", figures.RED), ("circuit_carries", figures.SKY), ("norm_fell", figures.GREEN))


def measured(run: Run, curves: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """What a run adds to its row: events by the circuit known at the time and in hindsight, and levels; its curves."""
    n_keys = N_KEYS.get(run.config.modular.p, 2)
    table = anatomy(run, n_keys)
    found = events_of(table)
    late = {}
    if found["circuit_reaches"].by is not None:  # else there is no circuit to be wise after
        late = events_of(anatomy(run, n_keys, known_at=run.steps[-1]))
    columns = list(dict.fromkeys([*SHARES, *LOSSES]))
    curves[run.name] = table[columns].assign(norm=table["norm"] / table["norm"].max())
    last, reached = table.iloc[-1], found["circuit_reaches"].by
    return {
        **_row(found, ""),
        **_row(late or dict.fromkeys(found, Event(0, None, 0)), f"_{HINDSIGHT.replace(' ', '_')}", bool(late)),
        "rest_then": math.nan if reached is None else table["pairs_rest[train]"].loc[reached],
        "rest_most": table["pairs_rest[train]"].max(),
        "excluded_least": table["excluded_loss[train]"].min(),
        "circuit_acc": last["restricted_acc_unseen"],
        "circuit_loss": last["restricted_loss_unseen"],
        "unseen_acc": last["accuracy[test_mirror_unseen]"],
        "keys_by_rule": _keys_by_rule(run),
    }


def _row(found: dict[str, Event], suffix: str, is_known: bool = True) -> dict[str, float]:
    """Columns of a study's times; an event that was not asked for has none."""
    row = {}
    for name, event in found.items():
        row[f"{name}{suffix}_after"] = max(event.after, 0) if is_known else math.nan
        row[f"{name}{suffix}_by"] = math.nan if event.by is None else event.by
    return row


def _keys_by_rule(run: Run) -> int:
    """How many frequencies are key at the end by the rule with a threshold."""
    task, params = run.config.modular, run.at(run.steps[-1])
    return len(wl_energy(run.model.neuron_to_logit(params)[..., : task.p], task.p))


def summarised(curves: dict[str, pd.DataFrame], labels: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Median, least and largest over seeds of every curve, a row for each size, corner and step."""
    parts = [
        table.reset_index().assign(part=labels[name]["part"], arm=labels[name]["arm"]) for name, table in curves.items()
    ]
    by = pd.concat(parts).groupby(["part", "arm", "step"], sort=False)
    ends = {"": by.median(), " low": by.min(), " high": by.max()}
    return pd.concat([table.add_suffix(end) for end, table in ends.items()], axis=1).reset_index()


def draw_corner(ax: "Axes", rows: pd.DataFrame, shown: dict[str, tuple[str, str, str]], table: pd.DataFrame) -> None:
    """Medians of some curves with their range over seeds, the median phases as bands."""
    for column, (said, colour, style) in shown.items():
        ax.plot(rows["step"], rows[column], style, color=colour, lw=1.2, label=said)
        ax.fill_between(rows["step"], rows[f"{column} low"], rows[f"{column} high"], color=colour, alpha=0.12, lw=0)
    first, last = rows["step"].min(), rows["step"].max()
    start = first
    for event, colour in BANDS:
        end = table[f"{event}_by"].fillna(math.inf).median()
        if end > start and (math.isfinite(end) or start == first):  # the first phase may be all there is
            ax.axvspan(start, min(end, last), color=colour, alpha=0.08, lw=0)
            start = end
    ax.set(xscale="log", xlim=(first, last))
    ticks = [step for step in TICKS if first <= step <= last]
    ticks = ticks[:: 2 if len(ticks) > 6 else 1]
    ax.set_xticks(ticks, map(str, ticks))
    ax.minorticks_off()


def draw(table: pd.DataFrame, curves: pd.DataFrame) -> "Figure":
    """Sizes below each other, shares and losses; corners side by side."""
    figure, axes = figures.sheet(4, 3, (figures.PAGE, 7.6), sharey="row")
    kinds = [(size, shown) for size in PARTS for shown in (SHARES, LOSSES)]
    for j, arm in enumerate((DELAYED, IMMEDIATE, NO_DECAY)):
        for ax, (size, shown) in zip(axes[:, j], kinds, strict=True):
            rows = where(part=size, arm=arm, step=lambda step: step > 0)(curves)
            draw_corner(ax, rows, shown, runs_of(size, arm)(table))
            ax.set_xlabel("optimizer step")
            ax.set_title(f"{size}, {arm}", fontsize=8)
            if shown is LOSSES:
                ax.set(yscale="log", ylim=(1e-4, 100))
    for ax, (_, shown) in zip(axes[:, 0], kinds, strict=True):
        ax.set_ylabel("share answered right" if shown is SHARES else "cross-entropy (nats)")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=7.5, frameon=False
    )
    return figures.paper(figure, figures.PAGE, 7.6)


def notes(table: pd.DataFrame) -> list[str]:
    """What stands beside the claims: the order of events, levels at the ends, numbers of key frequencies."""
    names = [column.removesuffix("_by") for column in map(str, table) if column.endswith("_by")]
    of = table.groupby(["part", "arm"], sort=False)
    said = [
        f"{size}, {arm}: {listed(rows[[f'{name}_by' for name in names]].median().dropna().rename(_said), '{} {:g}')}"
        for (size, arm), rows in of
    ]
    levels = of[["rest_most", "excluded_least", "circuit_acc", "circuit_loss", "unseen_acc", "keys_by_rule"]].median()
    form = (
        "{}, {}: rest at most {:.2f} of the training pairs, excluded loss at least {:.2g} nats; at the end circuit "
        "{:.3f} of the unseen mirrors at {:.3g} nats, network {:.3f}; {:g} key frequencies by wl_energy"
    )
    return [
        f"Key frequencies: the {N_KEYS[113]} (p = 113) or {N_KEYS[29]} (p = 29) strongest in W_L, {KNOWN}: of each "
        "checkpoint; in hindsight those of the last. The circuit of unseen mirrors is fitted to these pairs alone; "
        "chance is 1 / p of them, and a loss of ln p.",
        f"Steps, medians over the seeds in which it happened: {'; '.join(said)}.",
        f"Levels, medians: {listed(levels, form, '; ')}.",
        "p = 113: rate 3e-3 and decay 2, where 1e-3 and 1 are published, so that the delay takes hundreds of steps and "
        "not ten thousand; at decay 1 two pilots took 1100 and over 1400 steps: the first in the same order, the "
        "budget of the second ended before its norm had settled. `immediate` is the "
        "preset `sphere`. p = 29: the preset `quickstart`; `immediate` is held at 0.7 of its start at rate 3e-3, as at "
        "0.9 it does not generalise (pilot). Few pairs: half of the preset's share. Thinned for two shared cores: 1300 "
        "steps, checkpoints every 25, lasting memories for 600; at first 1000 steps, started anew as one of ten had "
        "generalised by step 700, with nothing of the circuit measured. Pilots with seeds 100 and 101 were seen "
        "before the claims were made.",
        "Figure: medians of ten seeds, bands: their range; steps from the first checkpoint after the start. Shaded, by "
        "medians: until excluded loss is least (red), until the circuit carries half of the margin (blue), until the "
        "norm is half-way down (green).",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "tiny networks for few steps")
    found: dict[str, pd.DataFrame] = {}
    table = study.rows(given, lambda run: measured(run, found))
    kept = given.out / "curves.csv"
    curves = summarised(found, study.labels()) if found else pd.read_csv(kept)
    curves.to_csv(kept, index=False, float_format="%.4g")
    study.write(given, table, draw(table, curves), notes(table))


if __name__ == "__main__":
    main()
