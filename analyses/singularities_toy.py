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
from circuitgrok.study.claims import Declared, Mean, Selection, where
from circuitgrok.study.rows import listed
from circuitgrok.study.study import conclude
from circuitgrok.study.verdicts import Decision, asked

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


def largest(arms: list[Arm], step: Callable[[pd.DataFrame], float] = lambda table: SHORT) -> Selection:
    """The rows at a step of the arm that has most particles near the crossing then."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        return max((of(arm, step=step(table))(table) for arm in arms), key=lambda found: found["near"].mean())

    return rows


def passes(table: pd.DataFrame) -> tuple[str, Decision]:
    """Whether the share of each smaller decay is largest when the pull has run its course."""
    rows = table[(table["decay"] > 0) & (table["decay"] <= 0.1) & (table["momentum"] == 0)]
    peaks = rows.groupby(["decay", "step"])["near"].mean().unstack().idxmax(axis=1).reset_index(name="peak")
    times = LR * peaks["decay"] * peaks["peak"]
    said = f"lr · decay · peak step {listed(times, '{1:.2f}')}"
    return said, "holds" if times.between(0.8, 1.3).all() else "fails"


calm, decayed, pushed = (of(arm, step=SHORT) for arm in ((0.0, 0.01, 0.0), (0.1, 0.01, 0.0), (0.1, 0.01, 0.9)))
loudest, lasting = largest(NOISE_ARMS), largest(DECAY_ARMS, lambda table: table["step"].max())
CLAIMS = [
    Mean(calm, "near", "share").falls_below(
        UNIFORM,
        f"Without decay and with little noise (0.01) the crossing repels: fewer than {UNIFORM:g} of the particles, the "
        f"share of an even spread, are within {NEAR:g} of it after {SHORT} steps.",
    ),
    Mean(loudest, "near", "rise of the largest share over the noises, against noise 0.01", less=calm)
    .exceeds(0, "More noise brings more particles to the crossing."),
    Mean(loudest, "near", "largest share over the noises")
    .exceeds(UNIFORM, "Noise alone makes the crossing a favoured place: more than the share of an even spread."),
    Mean(largest(DECAY_ARMS), "near", "largest share over the decays").exceeds(
        UNIFORM, f"With decay the crossing is favoured after {SHORT} steps although the minimum lies elsewhere."
    ),
    Mean(lasting, "near", "largest share over the decays").exceeds(
        UNIFORM,
        "That preference is an equilibrium: some decay keeps the share above an even spread's to the last step.",
    ),
    Declared(
        "It is transit: for decays up to 0.1 the share peaks when lr · decay · steps is between 0.8 and 1.3.", passes
    ),
    Mean(pushed, "near", f"change at decay 0.1 after {SHORT} steps", less=decayed)
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
    seeds, n = ([0, 1], 1000) if given.quick else ([0, 1, 2, 3, 4], 20_000)
    steps, record = (300, 20) if given.quick else (1000, 10)
    arms = product(NOISE_ARMS + DECAY_ARMS + MOMENTUM_ARMS, seeds)
    table = pd.concat([measured(arm, seed, n_particles=n, steps=steps, record=record) for arm, seed in arms])
    picked = [rows(table).iloc[0] for rows in (loudest, largest(DECAY_ARMS), lasting)]
    notes = [
        f"U = min(x0², x1²) + (decay/2)|x − c|², c = (−1, −1); lr {LR:g}, uniform start on [−{HALF_WIDTH:g}, "
        f"{HALF_WIDTH:g}]², noise per coordinate and step; {n} particles, seeds {seeds}; intervals are 95 % over "
        f"seeds. The largest shares are at noise {picked[0]['noise']:g}, at decay {picked[1]['decay']:g}, and at the "
        f"last step ({picked[2]['step']:g}) at decay {picked[2]['decay']:g}, picked from the same runs.",
        "The learning coefficient does not single the crossing out here: it is 1/2 with multiplicity 1 there, as on "
        "the arms.",
    ]
    conclude(given, QUESTION, table, CLAIMS, draw(table), notes)


if __name__ == "__main__":
    main()
