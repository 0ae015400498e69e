"""Do regularization and noise drive SGD to a singularity of the loss, and do they keep it there?

The toy of the gradient-surfing post: particles on U = min(x0^2, x1^2) + (decay / 2) |x - c|^2, c = (-1, -1), whose
two valleys cross at the origin. Where are they after T steps for no, some and more decay and noise, with and without
momentum; and is a crowd at the crossing an equilibrium, or particles in transit? The post states T = 100 and no other
number, so the whole time course is shown.

    python analyses/singularities_toy.py            # about a minute
    python analyses/singularities_toy.py --quick    # seconds
"""

from collections.abc import Callable

import pandas as pd
import torch

from circuitgrok import figures
from circuitgrok.exact.surfing import occupancy, surf
from circuitgrok.study import verdicts
from circuitgrok.study.claims import Declared, Mean, Selection, decide, where

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


def passes(table: pd.DataFrame) -> tuple[str, verdicts.Decision]:
    """Whether the share of each smaller decay is largest when the pull has run its course."""
    courses = {arm: of(arm)(table).groupby("step")["near"].mean() for arm in DECAY_ARMS if arm[0] <= 0.1}
    times = [
        decay * LR * course.index.to_numpy()[course.to_numpy().argmax()] for (decay, _, _), course in courses.items()
    ]
    said = f"lr · decay · peak step {', '.join(f'{time:.2f}' for time in times)}"
    return said, "holds" if all(0.8 <= time <= 1.3 for time in times) else "fails"


calm, decayed, pushed = (of(arm, step=SHORT) for arm in ((0.0, 0.01, 0.0), (0.1, 0.01, 0.0), (0.1, 0.01, 0.9)))
loudest, lasting = largest(NOISE_ARMS), largest(DECAY_ARMS, lambda table: table["step"].max())
CLAIMS = [
    Mean(calm, "near", "share").falls_below(
        UNIFORM,
        f"Without decay and with little noise (0.01) the crossing repels: fewer than {UNIFORM:g} of the particles, the "
        f"share of an even spread, are within {NEAR:g} of it after {SHORT} steps.",
    ),
    Mean(loudest, "near", "rise of the largest share over the noises, against noise 0.01", less=calm).exceeds(
        0, "More noise brings more particles to the crossing."
    ),
    Mean(loudest, "near", "largest share over the noises").exceeds(
        UNIFORM, "Noise alone makes the crossing a favoured place: more than the share of an even spread."
    ),
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
    Mean(pushed, "near", f"change at decay 0.1 after {SHORT} steps", less=decayed).is_within(
        0.01, "Momentum 0.9 changes the share with decay by less than 0.01."
    ),
]


def measure(n_particles: int, steps: int, record: int, seeds: list[int]) -> pd.DataFrame:
    """Occupancy of the crossing for every arm, seed and recorded step."""
    rows = []
    for decay, noise, momentum in NOISE_ARMS + DECAY_ARMS + MOMENTUM_ARMS:
        for seed in seeds:
            walk = surf(
                torch.Generator().manual_seed(seed),
                n_particles=n_particles,
                steps=steps,
                lr=LR,
                noise=noise,
                decay=decay,
                momentum=momentum,
                half_width=HALF_WIDTH,
                record=record,
            )
            near = occupancy(walk.positions, NEAR).fraction.tolist()
            arm = {"decay": decay, "noise": noise, "momentum": momentum, "seed": seed}
            rows += [
                {**arm, "step": step, "near": share} for step, share in zip(walk.steps.tolist(), near, strict=True)
            ]
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Occupancy against the step, without decay for several noises and with decay against lr * decay * steps."""
    figure, axes = figures.sheet(1, 2, (10, 3.8), sharey=True)
    for colour, arm in zip(COLOURS, NOISE_ARMS, strict=True):
        figures.draw_seeds(axes[0], of(arm)(table), "step", "near", colour, "-", f"noise {arm[1]:g}")
    for colour, arm in zip(COLOURS[1:], DECAY_ARMS, strict=True):
        rows = of(arm)(table).assign(phase=lambda rows: rows["step"] * LR * rows["decay"])
        figures.draw_seeds(axes[1], rows, "phase", "near", colour, "-", f"decay {arm[0]:g}, noise 0.01")
    axes[0].set_xlabel("step (no decay)")
    axes[0].set_ylabel(f"share of particles within {NEAR:g} of the crossing")
    axes[0].set_xlim(0, table["step"].max())
    axes[1].set_xlabel("lr · decay · step")
    axes[1].set_xlim(0, 3)
    for ax in axes:
        ax.axhline(UNIFORM, color="black", lw=0.8, ls=":", label="even spread over the arms")
        ax.legend(frameon=False)
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "few particles and seeds")
    torch.set_num_threads(given.threads)
    n_particles, seeds = (1000, [0, 1]) if given.quick else (20_000, [0, 1, 2, 3, 4])
    table = measure(n_particles, *((300, 20) if given.quick else (1000, 10)), seeds)
    picked = [rows(table).iloc[0] for rows in (loudest, largest(DECAY_ARMS), lasting)]
    notes = [
        f"U = min(x0², x1²) + (decay/2)|x − c|², c = (−1, −1); lr {LR:g}, uniform start on [−{HALF_WIDTH:g}, "
        f"{HALF_WIDTH:g}]², noise per coordinate and step; {n_particles} particles, seeds {seeds}; intervals are 95 % "
        f"over seeds. The largest shares are at noise {picked[0]['noise']:g}, at decay {picked[1]['decay']:g}, and at "
        f"the last step ({picked[2]['step']:g}) at decay {picked[2]['decay']:g}, picked from the same runs.",
        "The learning coefficient does not single the crossing out here: it is 1/2 with multiplicity 1 there, as on "
        "the arms.",
    ]
    verdicts.write(given.out, QUESTION, decide(CLAIMS, table), notes, table, draw(table))
    print((given.out / "verdict.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
