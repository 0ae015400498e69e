"""Do regularization and noise drive SGD to a singularity of the loss, and do they keep it there?

The toy of the gradient-surfing post: particles on U = min(x0^2, x1^2) + (decay / 2) |x - c|^2, c = (-1, -1), whose
two valleys cross at the origin. Where are they after T steps for no, some and more decay and noise, with and without
momentum; and is a crowd at the crossing an equilibrium, or particles in transit? The post states T = 100 and no other
number, so the whole time course is shown.

    python analyses/singularities_toy.py            # about a minute
    python analyses/singularities_toy.py --quick    # seconds
"""

import pandas as pd
import torch

from circuitgrok import figures
from circuitgrok.exact.surfing import occupancy, surf
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, Interval, above, below, mean_interval, within

QUESTION = "Do regularization and noise drive SGD to a singularity, and is that an equilibrium or a transit effect?"
LR, HALF_WIDTH, NEAR = 0.1, 2.0, 0.25
UNIFORM = NEAR / HALF_WIDTH  # share of particles spread evenly over the two arms
NOISE_ARMS = [(0.0, noise, 0.0) for noise in (0.0, 0.01, 0.05, 0.1, 0.2)]
DECAY_ARMS = [(decay, 0.01, 0.0) for decay in (0.02, 0.05, 0.1, 0.3)]
MOMENTUM_ARMS = [(0.0, 0.01, 0.9), (0.1, 0.01, 0.9)]
COLOURS = [figures.GREY, figures.BLUE, figures.GREEN, figures.ORANGE, figures.RED]


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


def at(table: pd.DataFrame, arm: tuple[float, float, float], step: int) -> pd.Series:
    """Occupancy of one arm at one step, by seed."""
    decay, noise, momentum = arm
    chosen = table[(table["decay"] == decay) & (table["noise"] == noise) & (table["momentum"] == momentum)]
    return chosen[chosen["step"] == step].set_index("seed")["near"]


def share(table: pd.DataFrame, arm: tuple[float, float, float], step: int) -> Interval:
    """Mean occupancy with its interval over seeds."""
    return mean_interval(at(table, arm, step).tolist())


def peak(table: pd.DataFrame, arm: tuple[float, float, float]) -> int:
    """Step at which the mean occupancy is largest."""
    decay, noise, momentum = arm
    chosen = table[(table["decay"] == decay) & (table["noise"] == noise) & (table["momentum"] == momentum)]
    course = chosen.groupby("step")["near"].mean()
    return int(course.index.to_numpy()[course.to_numpy().argmax()])


def claims(table: pd.DataFrame, short: int, long: int) -> list[Claim]:
    """The post's four claims, and what becomes of the third with time."""
    calm, decayed = (0.0, 0.01, 0.0), (0.1, 0.01, 0.0)
    loudest = max(NOISE_ARMS, key=lambda arm: share(table, arm, short).estimate)
    kicked = mean_interval((at(table, loudest, short) - at(table, calm, short)).tolist())
    best = max(DECAY_ARMS, key=lambda arm: share(table, arm, short).estimate)
    lasting = max((share(table, arm, long) for arm in DECAY_ARMS), key=lambda interval: interval.estimate)
    times = [arm[0] * LR * peak(table, arm) for arm in DECAY_ARMS if arm[0] <= 0.1]
    pushed = mean_interval((at(table, (0.1, 0.01, 0.9), short) - at(table, decayed, short)).tolist())
    return [
        Claim(
            f"Without decay and with little noise (0.01) the crossing repels: fewer than {UNIFORM:g} of the particles, "
            f"the share of an even spread, are within {NEAR:g} of it after {short} steps.",
            f"share {share(table, calm, short)}",
            below(share(table, calm, short), UNIFORM),
        ),
        Claim(
            f"More noise brings more particles to the crossing (largest at noise {loudest[1]:g}).",
            f"rise of the share against noise 0.01 {kicked}",
            above(kicked, 0.0),
        ),
        Claim(
            "Noise alone makes the crossing a favoured place: more than the share of an even spread.",
            f"largest share over the noises {share(table, loudest, short)}, even spread {UNIFORM:g}",
            above(share(table, loudest, short), UNIFORM),
        ),
        Claim(
            f"With decay the crossing is favoured after {short} steps although the minimum lies elsewhere.",
            f"largest share (decay {best[0]:g}) {share(table, best, short)}, even spread {UNIFORM:g}",
            above(share(table, best, short), UNIFORM),
        ),
        Claim(
            f"That preference is an equilibrium: some decay keeps the share above an even spread's at step {long}.",
            f"largest share over decays {', '.join(f'{arm[0]:g}' for arm in DECAY_ARMS)}: {lasting}",
            above(lasting, UNIFORM),
        ),
        Claim(
            "It is transit: for decays up to 0.1 the share peaks when lr · decay · steps is between 0.8 and 1.3.",
            f"lr · decay · peak step {', '.join(f'{time:.2f}' for time in times)}",
            "holds" if all(0.8 <= time <= 1.3 for time in times) else "fails",
        ),
        Claim(
            "Momentum 0.9 changes the share with decay by less than 0.01.",
            f"change at decay 0.1 after {short} steps {pushed}",
            within(pushed, 0.01),
        ),
    ]


def draw(table: pd.DataFrame, long: int) -> "figures.Figure":
    """Occupancy against the step, without decay for several noises and with decay against lr * decay * steps."""
    figure, axes = figures.sheet(1, 2, (10, 3.8), sharey=True)
    for colour, arm in zip(COLOURS, NOISE_ARMS, strict=True):
        chosen = table[(table["decay"] == 0) & (table["noise"] == arm[1]) & (table["momentum"] == 0)]
        figures.draw_seeds(axes[0], chosen, "step", "near", colour, "-", f"noise {arm[1]:g}")
    for colour, arm in zip(COLOURS[1:], DECAY_ARMS, strict=True):
        chosen = table[(table["decay"] == arm[0]) & (table["momentum"] == 0) & (table["noise"] == 0.01)]
        chosen = chosen.assign(phase=chosen["step"] * LR * arm[0])
        figures.draw_seeds(axes[1], chosen, "phase", "near", colour, "-", f"decay {arm[0]:g}, noise 0.01")
    axes[0].set_xlabel("step (no decay)")
    axes[0].set_ylabel(f"share of particles within {NEAR:g} of the crossing")
    axes[0].set_xlim(0, long)
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
    short, long, record = (100, 300, 20) if given.quick else (100, 1000, 10)
    table = measure(n_particles, long, record, seeds)
    notes = [
        f"U = min(x0², x1²) + (decay/2)|x − c|², c = (−1, −1); lr {LR:g}, uniform start on [−{HALF_WIDTH:g}, "
        f"{HALF_WIDTH:g}]², noise per coordinate and step; {n_particles} particles, seeds {seeds}; intervals are 95 % "
        "over seeds. Where a claim names the largest of several settings, it was picked from the same runs.",
        "The learning coefficient does not single the crossing out here: it is 1/2 with multiplicity 1 there, as on "
        "the arms.",
    ]
    verdicts.write(given.out, QUESTION, claims(table, short, long), notes, table, draw(table, long))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
