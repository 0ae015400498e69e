"""Can canonical sampling of the training loss make a network grok, and do networks that generalise stay under it?

Chains of Hamiltonian Monte Carlo and of Langevin dynamics start at memorisers, at generalisers and at random weights,
free or on one sphere, with and without a Gaussian prior, at temperatures down to where sampling becomes slow descent;
20,000 gradients each. Where memorisers gain and generalisers stay, generalising is what equilibrium prefers; whether
chains have met R-hat over starts says. Beside them goes descent on the same potential, without any temperature: what it
gains as well is the prior's doing. All test pairs are unseen mirrors.

    python analyses/sampling_in_the_basin.py            # ten seeds
    python analyses/sampling_in_the_basin.py --quick    # two of a tiny network, for few draws: seconds
"""

import sys
from typing import Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.files import write_atomically
from circuitgrok.study.chain_courses import GENERALISER, MEMORISER, RANDOM, STARTS, Cell, Effort, sample_all, starts_of
from circuitgrok.study.chain_ends import (
    CAME,
    beside,
    change,
    counted,
    met,
    of,
    said_of_chains,
    said_of_ends,
    said_of_starts,
    settling,
)  # fmt: skip
from circuitgrok.study.claims import Mean, Share
from circuitgrok.study.effects import GAIN, Factor, any_exceeds, draw_gains
from circuitgrok.study.study import Studies, Study, evenly

POINTS, MANY, MOST = 0.05, 0.20, 0.50  # of unseen mirrors: a change that counts, a large one, one that is grokking
NOT_MET = 1.1  # R-hat
SETTLED = 0.1  # of ln training loss
FULL, QUICK = Effort(1e-2, 1.0, 0.9, 20_000, 50), Effort(2.4, 0.0, 0.0, 64, 2)

CELLS = [
    Cell("HMC", "free", True, 1e5, STARTS),
    Cell("HMC", "free", True, 1e6, STARTS[:1]),
    Cell("HMC", "free", True, 1e7, STARTS[:1]),
    Cell("descent", "free", True, 1e5, STARTS[:1]),
    Cell("descent", "free", True, 1e7, STARTS[:1]),
    Cell("SGLD", "free", True, 1e5, STARTS[:1]),
    Cell("HMC", "sphere", False, 1e6, STARTS[:1]),
    Cell("HMC", "free", False, 1e6, STARTS[1:2]),
    Cell("SGLD", "sphere", False, 1e5, STARTS[:1]),
]
CELL_NAMES = [cell.name for cell in CELLS]
WARM, MIDDLE, COLD, DOWN_WARM, DOWN_COLD, LANGEVIN, HELD, BARE, LANGEVIN_HELD = CELL_NAMES
COLOURS = dict(zip(CELL_NAMES, (
    figures.ORANGE, figures.BLUE, figures.PURPLE, figures.RED, figures.GREY, figures.SKY, figures.GREEN, figures.RED,
    figures.PURPLE), strict=True))  # fmt: skip
STYLES = {MEMORISER: "-", GENERALISER: "--", RANDOM: ":"}


def generalised(table: pd.DataFrame) -> pd.DataFrame:
    """Chains with a prior, of 1e5 and 1e6, that answered most unseen mirrors at some draw."""
    return table[table["cell"].isin([WARM, MIDDLE]) & (table["best"] >= CAME)]


STAYS = f"stay, to {100 * 2 * POINTS:g} points"
FROM_MEMORISERS = [change(cell, MEMORISER) for cell in (WARM, MIDDLE, COLD)]
OVER, MORE, TEN = f"over {100 * MANY:g} points", f"more than {100 * POINTS:g} points", f"{200 * POINTS:g} points"
CLAIMS = [
    any_exceeds(FROM_MEMORISERS, MANY, f"From memorisers HMC with a prior groks: at some temperature it gains {OVER}."),
    any_exceeds(FROM_MEMORISERS, POINTS, f"It gains {MORE}."),
    change(HELD, MEMORISER).exceeds(POINTS, f"On the sphere HMC gains {MORE}."),
    change(LANGEVIN, MEMORISER).exceeds(POINTS, f"SGLD with a prior gains {MORE}."),
    change(WARM, RANDOM).exceeds(MANY, f"From random weights HMC with a prior gains {OVER}."),
    change(WARM, GENERALISER).exceeds(-2 * POINTS, f"With a prior generalisers {STAYS}."),
    change(BARE, GENERALISER).falls_below(-2 * POINTS, f"Without a prior free generalisers lose more than {TEN}."),
    Share(of(MIDDLE, MEMORISER), lambda rows: rows["acceptance"] > 0.5, "chains that accept over half of their steps")
    .is_all("HMC with a prior moves: from every memoriser it accepts over half of its steps."),
    Mean(of(MIDDLE, MEMORISER), "best", "best less last fifth, of unseen mirrors", by="outcome", bounds=GAIN)
    .falls_below(2 * POINTS, f"What it gains stays: less than {TEN} are lost from its best."),
    # what length alone can tell
    change(MIDDLE, MEMORISER).exceeds(MOST, f"At nβ = 1e6 they come to grok in time: over {100 * MOST:g} points."),
    beside(WARM, MEMORISER, WARM, GENERALISER)
    .is_within(2 * POINTS, f"At 1e5 chains from memorisers answer in the end what those of generalisers do, to {TEN}."),
    beside(WARM, RANDOM, WARM, GENERALISER)
    .is_within(2 * POINTS, f"So do those from random weights, to {TEN}."),
    met(WARM, "r_hat_pair", "memorisers and generalisers")
    .falls_below(NOT_MET, f"The first two have met: R-hat below {NOT_MET:g}.")
    .telling(met(WARM)),
    Share(generalised, lambda rows: rows["back"] > 0.5, f"chains that keep half once they had {CAME:g}")
    .is_all("With a prior nothing comes back from generalising, from wherever it came.", "seed {seed}, {arm}"),
    settling(WARM, MEMORISER)
    .is_within(SETTLED, f"At nβ = 1e5 the training loss no longer moves: by less than {SETTLED:g} in ln.")
    .telling(settling(WARM, GENERALISER), settling(MIDDLE, MEMORISER)),
    beside(COLD, MEMORISER, DOWN_COLD, MEMORISER, "gain")
    .is_within(POINTS, f"At nβ = 1e7 HMC is slow descent: it gains what descent does, to {100 * POINTS:g} points."),
    Factor(of(COLD, MEMORISER), "norm", "norm of HMC at nβ = 1e7 over that of descent", over=of(DOWN_COLD, MEMORISER))
    .is_within(1.02, "And ends at its norm, to 2 %."),
    change(DOWN_WARM, MEMORISER)
    .exceeds(MANY, f"It takes no temperature: descent on the potential of 1e5 gains {OVER}."),
    change(LANGEVIN, MEMORISER).exceeds(MANY, f"SGLD with a prior gains {OVER}."),
    change(LANGEVIN_HELD, MEMORISER).exceeds(POINTS, f"On the sphere SGLD gains {MORE}."),
    change(HELD, MEMORISER).exceeds(MANY, f"On the sphere HMC gains {OVER}."),
]  # fmt: skip
QUESTION = "Can canonical sampling of the training loss grok, and do generalisers stay under it?"
STUDY = Study(
    QUESTION,
    cg.TrainConfig.preset("quickstart").with_(
        p=23, d_model=32, d_head=8, d_mlp=128, split="mirror_free", frac_train=0.9, weight_decay=0.0, steps=500,
        **evenly(20),
    ),
    arms={"no decay": {}},
    seeds=range(10, 20),
)  # fmt: skip
GROKS = STUDY.with_(arms={"decay": {}}, weight_decay=2.0, steps=3000, checkpoint_every=100)
BOTH = Studies(QUESTION, {"memorisers": STUDY, "generalisers": GROKS}, claims=CLAIMS)
TINY = BOTH.with_(seeds=[0, 1], steps=60, p=11, d_model=16, d_head=4, d_mlp=32, checkpoint_every=10, frac_train=0.8)


PANELS = {
    f"from {MEMORISER}, prior": ([WARM, MIDDLE, COLD, DOWN_WARM, DOWN_COLD, LANGEVIN], [MEMORISER]),
    f"from {MEMORISER}, sphere": ([HELD, LANGEVIN_HELD], [MEMORISER]),
    f"from {GENERALISER} and {RANDOM} (dotted)": (CELL_NAMES, [GENERALISER, RANDOM]),
}


def draw(table: pd.DataFrame, courses: pd.DataFrame) -> "figures.Figure":
    """Unseen mirrors along chains by start; loss and norm; changes."""
    figure, axes = figures.sheet(2, 3, (14, 9.5))
    groups: Any = courses.groupby(["cell", "start"], sort=False)
    for (cell, begin), rows in groups:
        chosen = [ax for ax, (cells, starts) in zip(axes[0], PANELS.values(), strict=True)
                  if cell in cells and begin in starts]  # fmt: skip
        drawn = [(ax, "unseen_acc") for ax in chosen]
        if cell in (WARM, MIDDLE, COLD, DOWN_WARM, DOWN_COLD):
            drawn += [(axes[1, 0], "train_loss"), (axes[1, 1], "norm")]
        style = "-." if cell in (DOWN_WARM, DOWN_COLD) else STYLES[begin]
        for ax, column in drawn:
            curves = [chain.set_index(chain["gradients"] / 1000)[column] for _, chain in rows.groupby("seed")]
            figures.draw_band(ax, curves, COLOURS[cell], style, cell)
    for ax, title in zip(axes[0], PANELS, strict=True):
        ax.set(title=title, xlabel="thousand gradients", ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03))
    axes[1, 0].set(xlabel="thousand gradients", ylabel="training loss", yscale="log")
    axes[1, 1].set(xlabel="thousand gradients", ylabel="norm (dashed: generalisers, dotted: random)")
    gains = table.pivot(index="seed", columns="arm", values="gain")
    draw_gains(axes[1, 2], gains, {f"{c.name}, {s}": COLOURS[c.name] for c in CELLS for s in c.starts}, POINTS)
    axes[1, 2].set_xlabel("change of unseen mirrors, points (95 %)")
    figures.legends([*axes[0]])
    return figure


def main() -> None:
    given, study = BOTH.asked(__file__, TINY, "two seeds of a tiny network, few draws")
    effort = QUICK if given.quick else FULL
    torch.set_num_threads(given.threads)
    runs = study.train(given)
    there = starts_of(runs, study.labels(), effort)
    if not there:
        sys.exit(f"no seed has a memoriser; the runs are in {given.out}")
    courses = sample_all(CELLS, there, given, effort)
    table = counted(courses)
    notes = [
        said_of_starts(there, effort),
        said_of_chains(table, effort),
        "Seeds are others than those of the chains of 3000 gradients that the first nine claims were made for (seeds 0 "
        "to 9, at commit edc642f), so that these are asked anew. There chains of SGLD (at 1e6) shared one step size, "
        "those from random weights were sampled at 1e6, and weights were float64. Pilots, of seeds 90 to 92, 500 and "
        "1000 gradients: whether the code runs, what a gradient costs; step sizes begin with the smallest of a seed's "
        "starts since then. Left out for want of cores (a run of 15 chains for each seed was stopped in its third "
        "minute, before any chain was written; the networks that it had trained are the starts of these): generalisers "
        "and random weights at 1e6, memorisers free without a prior, generalisers on the sphere, SGLD from "
        f"generalisers, at 1e6 and free without a prior; other lengths of trajectories. {LANGEVIN} and {HELD} were "
        "sampled last, when the verdicts of the others were known; nothing was changed for it.",
        *said_of_ends(table),
    ]
    curves = courses.groupby(["cell", "start", "gradients"], sort=False)[["unseen_acc", "norm", "train_loss"]].mean()
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / "curves.csv", curves.reset_index().to_csv(index=False, float_format="%.4g").encode())
    study.write(given, table, draw(table, courses), notes, runs=study.table(runs))


if __name__ == "__main__":
    main()
