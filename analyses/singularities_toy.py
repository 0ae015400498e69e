"""Do regularization and noise drive SGD to a singularity of the loss, and do they keep it there?

The toy of the gradient-surfing post: particles on U = min(x0^2, x1^2) + (decay / 2) |x - c|^2, c = (-1, -1), whose
two valleys cross at the origin. Where are they after T steps for no, some and more decay and noise, with and without
momentum; and is a crowd at the crossing an equilibrium, or particles in transit? The post states T = 100 and no other
number, so the whole time course is shown.

    python analyses/singularities_toy.py            # about a minute
    python analyses/singularities_toy.py --quick    # seconds
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import pandas as pd
import torch

from circuitgrok import figures
from circuitgrok.exact.surfing import occupancy, surf
from circuitgrok.study.asked import asked
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.evidence import decide
from circuitgrok.study.question import conclude
from circuitgrok.study.selections import picked_apart
from circuitgrok.study.verdicts import Decided

QUESTION = "Do regularization and noise drive SGD to a singularity, and is that an equilibrium or a transit effect?"
LR, HALF_WIDTH, NEAR = 0.1, 2.0, 0.25
UNIFORM = NEAR / HALF_WIDTH  # share of particles spread evenly over the two arms
SHORT = 100  # steps, as in the post
Arm = tuple[float, float, float]  # decay, noise, momentum
NOISE_ARMS: list[Arm] = [(0.0, noise, 0.0) for noise in (0.0, 0.01, 0.05, 0.1, 0.2)]
DECAY_ARMS: list[Arm] = [(decay, 0.01, 0.0) for decay in (0.02, 0.05, 0.1, 0.3)]
MOMENTUM_ARMS: list[Arm] = [(0.0, 0.01, 0.9), (0.1, 0.01, 0.9)]
COLOURS = [figures.GREY, figures.BLUE, figures.GREEN, figures.ORANGE, figures.RED]


def of(arm: Arm, **more: float) -> Selection:
    """The rows of an arm, at one step if it is given."""
    return where(**dict(zip(("decay", "noise", "momentum"), arm, strict=True)), **more)


def largest(arms: list[Arm], column: str, at: Callable[[pd.Series], Any] = lambda step: step == SHORT) -> Selection:
    """The rows at a step of the arm, told by a column, that has most particles near the crossing in other seeds."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = pd.concat([of(arm)(table) for arm in arms])
        return found[at(found["step"])]

    return picked_apart(rows, column, lambda rows: -rows["near"].mean())


def peaks(table: pd.DataFrame) -> pd.DataFrame:
    """When the share of each smaller decay is largest in each seed, in units of lr · decay · steps."""
    rows = table[(table["decay"] > 0) & (table["decay"] <= 0.1) & (table["momentum"] == 0)]
    largest = rows.loc[rows.groupby(["decay", "seed"])["near"].idxmax()]
    return largest.assign(peak=LR * largest["decay"] * largest["step"])


calm, decayed, pushed = (of(arm, step=SHORT) for arm in ((0.0, 0.01, 0.0), (0.1, 0.01, 0.0), (0.1, 0.01, 0.9)))
loudest, favoured = largest(NOISE_ARMS, "noise"), largest(DECAY_ARMS, "decay")
lasting = largest(DECAY_ARMS, "decay", lambda step: step == step.max())
CLAIMS = [
    Mean(calm, "near", "share", bounds=(0, 1)).falls_below(
        UNIFORM,
        f"Without decay and with little noise (0.01) the crossing repels: fewer than {UNIFORM:g} of the particles, the "
        f"share of an even spread, are within {NEAR:g} of it after {SHORT} steps.",
    ),
    Mean(loudest, "near", "rise of the largest share over the noises, against noise 0.01", calm, bounds=(-1, 1))
    .exceeds(0, "More noise brings more particles to the crossing."),
    Mean(loudest, "near", "largest share over the noises", bounds=(0, 1))
    .exceeds(UNIFORM, "Noise alone makes the crossing a favoured place: more than the share of an even spread."),
    Mean(favoured, "near", "largest share over the decays", bounds=(0, 1)).exceeds(
        UNIFORM, f"With decay the crossing is favoured after {SHORT} steps although the minimum lies elsewhere."
    ),
    Mean(lasting, "near", "largest share over the decays", bounds=(0, 1)).exceeds(
        UNIFORM,
        "That preference is an equilibrium: some decay keeps the share above an even spread's to the last step.",
    ),
    Share(peaks, lambda rows: rows["peak"].between(0.8, 1.3), "peaks of a decay in a seed").is_all(
        "It is transit: for decays up to 0.1 the share peaks when lr · decay · steps is between 0.8 and 1.3.",
        "{peak:.2f} at decay {decay:g}",
    ),
    Mean(pushed, "near", f"change at decay 0.1 after {SHORT} steps", less=decayed, bounds=(-1, 1))
    .is_within(0.01, "Momentum 0.9 changes the share with decay by less than 0.01."),
]  # fmt: skip


def measured(arm: Arm, seed: int, **how: Any) -> pd.DataFrame:
    """Occupancy of the crossing at each recorded step of one arm and seed."""
    moves = dict(zip(("decay", "noise", "momentum"), arm, strict=True))
    walk = surf(torch.Generator().manual_seed(seed), lr=LR, half_width=HALF_WIDTH, **moves, **how)
    near = {"step": walk.steps.tolist(), "near": occupancy(walk.positions, NEAR).fraction.tolist()}
    return pd.DataFrame({**moves, "seed": seed, **near})


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Occupancy against the step, without decay for several noises and with decay against lr * decay * steps."""
    figure, axes = figures.sheet(1, 2, (10, 3.8), sharey=True)
    rows = table[table["momentum"] == 0].assign(phase=lambda rows: rows["step"] * LR * rows["decay"])
    figures.draw_groups(axes[0], where(decay=0)(rows), "noise", "step", "near", COLOURS, label="noise {:g}")
    pulled = rows[rows["decay"] > 0]
    figures.draw_groups(axes[1], pulled, "decay", "phase", "near", COLOURS[1:], label="decay {:g}, noise 0.01")
    label = f"share of particles within {NEAR:g} of the crossing"
    axes[0].set(xlabel="step (no decay)", ylabel=label, xlim=(0, table["step"].max()))
    axes[1].set(xlabel="lr · decay · step", xlim=(0, 3))
    for ax in axes:
        ax.axhline(UNIFORM, color="black", lw=0.8, ls=":", label="even spread over the arms")
    figures.legends(axes)
    return figure


def main() -> None:
    given = asked(QUESTION, __file__, "few particles and seeds")
    torch.set_num_threads(given.threads)
    seeds, n = (range(2), 1000) if given.quick else (range(10), 20_000)
    steps, record = (300, 20) if given.quick else (1000, 10)
    arms = product(NOISE_ARMS + DECAY_ARMS + MOMENTUM_ARMS, seeds)
    tables = [measured(arm, seed, n_particles=n, steps=steps, record=record) for arm, seed in arms]
    table = pd.concat(tables, ignore_index=True)
    noises, decays, late = (rows(table) for rows in (loudest, favoured, lasting))
    at = [
        ", ".join(f"{value:g}" for value in sorted(set(of))) for of in (noises["noise"], decays["decay"], late["decay"])
    ]
    notes = [
        f"U = min(x0², x1²) + (decay/2)|x − c|², c = (−1, −1); lr {LR:g}, uniform start on [−{HALF_WIDTH:g}, "
        f"{HALF_WIDTH:g}]², noise per coordinate and step; {n} particles, {len(seeds)} seeds. Where the "
        f"share is largest each half of the seeds picks for the other: noise {at[0]}; decay {at[1]}; at the last step "
        f"({late['step'].iloc[0]:g}) decay {at[2]}.",
        "The learning coefficient does not single the crossing out here: it is 1/2 with multiplicity 1 there, as on "
        "the arms.",
    ]
    conclude(given, QUESTION, table, Decided({"": decide(CLAIMS, table)}), draw(table), notes)


if __name__ == "__main__":
    main()
