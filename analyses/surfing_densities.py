"""Where are particles of gradient surfing after 100 steps, beside what area and Gibbs' law would have there?

The panels of the post, in our runs: the loss min(x0², x1²) without decay, with decay to a centre at the left, in the
middle, at the right and off the cross, and with momentum. Two nulls stand beside each. By *area density* the crossing
is compared with the arms, particles per area in a square about it over those per area along them; *Gibbs' law*,
exp(-nβ U) with nβ = 2 lr / noise², is where noise of that size would have them at rest.

Artefacts to think of: transit that looks like rest (the time course is shown), open ends of arms (a torus has none), a
noise that is picked (each half of the seeds picks for the other), the post's unknown numbers (it gives 100 steps and
no others; the decay here puts transit where it is largest, and is no evidence about the post's).

    python analyses/surfing_densities.py --claims   # what is claimed, to be committed before the walks
    python analyses/surfing_densities.py            # a minute
    python analyses/surfing_densities.py --quick    # seconds
"""

from functools import cache, partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from circuitgrok import figures
from circuitgrok.exact.surfing import cross_potential, occupancy, surf
from circuitgrok.exact.torus import Gibbs, gibbs, torus_walk
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import decide
from circuitgrok.study.question import conclude
from circuitgrok.study.registered import announced, in_words, is_post_hoc
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import picked_apart
from circuitgrok.study.verdicts import Decided

QUESTION = "Do particles crowd where two valleys cross, by area and against Gibbs' law, after 100 steps and at rest?"
LR, R, NEAR, SHORT, LONG, DECAY = 0.1, 2.0, 0.25, 100, 1000, 0.1
PANELS = {  # centre of the decay, its strength, momentum
    "no decay": ((0.0, 0.0), 0.0, 0.0), "left": ((-1.0, 0.0), DECAY, 0.0), "middle": ((0.0, 0.0), DECAY, 0.0),
    "right": ((1.0, 0.0), DECAY, 0.0), "off-centre": ((-1.0, -1.0), DECAY, 0.0),
    "off-centre, momentum": ((-1.0, -1.0), DECAY, 0.9),
}  # fmt: skip
SHOWN = (0.01, 0.1)  # noises of the panels
NOISES = (0.01, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2)
TIMED = {("left", 0.01): figures.GREEN, ("off-centre", 0.01): figures.PURPLE, ("off-centre", 0.1): figures.RED}
Row = dict[str, Any]


def area_ratio(near: float, arms: float, half_width: float) -> float:
    """Particles per area in the square about the crossing over those per area along the arms within NEAR of them."""
    return near / (2 * NEAR) ** 2 / (arms / (8 * NEAR * (half_width - NEAR)))


def on_arms(x: Tensor, half_width: float) -> Tensor:
    """Which points are near an arm and not near the crossing."""
    small, large = x.abs().amin(-1), x.abs().amax(-1)
    return (small < NEAR) & (large >= NEAR) & (large < half_width)


def near(x: Tensor) -> Tensor:
    """Which points are near the crossing."""
    return x.abs().amax(-1) < NEAR


def both(x: Tensor) -> tuple[float, float]:
    """The shares of points near the crossing and near the arms."""
    return near(x).double().mean().item(), on_arms(x, R).double().mean().item()


@cache
def law_of(panel: str) -> Gibbs:
    """The loss of a panel, with its pull, on a grid."""
    centre, decay, _ = PANELS[panel]
    return gibbs(partial(cross_potential, decay=decay, centre=centre), R)


def short(seed: int, n: int) -> list[Row]:
    """After 100 steps, from a uniform start: every panel at two noises, and no decay at more, open and on a torus."""
    rows = []
    for panel, noise in [*product(PANELS, SHOWN), *product(["no decay", "torus"], NOISES)]:
        named = "no decay" if panel == "torus" else panel
        law, nbeta = law_of(named), 2 * LR / noise**2
        on_law = (law.share(near(law.points), nbeta), law.share(on_arms(law.points, R), nbeta))
        x = ended(panel, noise, seed, n)
        found = {"share": both(x)[0], "area": area_ratio(*both(x), R)}
        at = {"panel": panel, "noise": noise, "step": SHORT}
        rows.append({**at, **found, "gibbs": on_law[0], "gibbs_area": area_ratio(*on_law, R)})
    unique = {(row["panel"], row["noise"]): row for row in rows}
    return list(unique.values())


def ended(panel: str, noise: float, seed: int, n: int) -> Tensor:
    """Where the particles of a panel are after 100 steps."""
    how: Any = {"n_particles": n, "steps": SHORT, "lr": LR, "noise": noise, "half_width": R, "record": SHORT}
    stream = torch.Generator().manual_seed(seed)
    if panel == "torus":
        return torus_walk(stream, **how).positions[-1]
    centre, decay, momentum = PANELS[panel]
    return surf(stream, **how, decay=decay, momentum=momentum, centre=centre).positions[-1]


def course(seed: int, n: int) -> list[Row]:
    """The time course of two panels, against what Gibbs' law has near the crossing."""
    rows = []
    for panel, noise in TIMED:
        centre, decay, momentum = PANELS[panel]
        expected = law_of(panel).share(near(law_of(panel).points), 2 * LR / noise**2)
        walk = surf(
            torch.Generator().manual_seed(seed), n_particles=n, steps=LONG, lr=LR, noise=noise, decay=decay,
            momentum=momentum, half_width=R, record=20, centre=centre,
        )  # fmt: skip
        shares = occupancy(walk.positions, NEAR).fraction.tolist()
        at = {"panel": f"{panel}, in time", "noise": noise, "gibbs": expected}
        rows += [{**at, "step": step, "share": x} for step, x in zip(walk.steps.tolist(), shares, strict=True)]
    return rows


def best(panel: str) -> Selection:
    """The rows of a panel at the noise at which the other half of the seeds has the densest crossing."""
    return picked_apart(where(panel=panel), "noise", lambda rows: -rows["area"].mean())


IN_TIME = "off-centre, in time"
CLAIMS = [
    Factor(best("no decay"), "area", "crossing over arms, per area").exceeds(
        1, f"After {SHORT} steps with noise alone, at its best size, the crossing is denser than the arms, per area."
    ),
    Factor(best("no decay"), "area", "crossing over arms, over that of Gibbs' law", by="gibbs_area")
    .exceeds(1, "There it is denser than in Gibbs' law too."),
    Factor(best("torus"), "area", "crossing over arms, over that of Gibbs' law", by="gibbs_area")
    .falls_below(1, "On a torus, where arms have no open ends, it is less dense than in Gibbs' law at its best noise."),
    Factor(where(panel="no decay", noise=SHOWN[0]), "area", "crossing over arms, per area")
    .falls_below(0.5, f"With noise {SHOWN[0]:g} the crossing repels: it is less than half as dense as the arms."),
    Mean(where(panel=IN_TIME, step=SHORT, noise=SHOWN[0]), "share", "share less Gibbs'", by="gibbs", bounds=(-1, 1))
    .exceeds(0.1, f"With decay to a centre off it, over 10 points more than Gibbs' share are there at step {SHORT}."),
    Mean(where(panel=IN_TIME, step=LONG, noise=SHOWN[1]), "share", "share less Gibbs'", by="gibbs", bounds=(-1, 1))
    .is_within(0.01, f"At step {LONG} it is Gibbs' share, within one point (noise {SHOWN[1]:g})."),
    Mean(where(panel="off-centre, momentum", noise=SHOWN[0]), "share", "share with momentum less without",
         less=where(panel="off-centre", noise=SHOWN[0]), bounds=(-1, 1))
    .exceeds(0, f"Momentum 0.9 leaves more of them there after {SHORT} steps: it lags, and transit is later."),
]  # fmt: skip


def draw_panels(axes: Any, noise: float, n: int, table: pd.DataFrame) -> None:
    """Densities after 100 steps, one panel each, with the two ratios."""
    edges = torch.linspace(-R, R, 61, dtype=torch.float64)
    for ax, panel in zip(axes, PANELS, strict=True):
        x = ended(panel, noise, 0, n)
        counts = torch.histogramdd(x, [edges, edges]).hist.T / len(x) / (edges[1] - edges[0]) ** 2
        ax.imshow(
            counts.numpy(), origin="lower", extent=(-R, R, -R, R), norm="log", vmin=0.01, vmax=20, cmap="magma",
            interpolation="nearest",
        )  # fmt: skip
        rows = where(panel=panel, noise=noise)(table)
        said = [f"{min(x, 999.0):.2f}" for x in (rows["area"].mean(), rows["gibbs_area"].mean())]
        ax.set_title(f"{panel}\n{said[0]} per area; Gibbs {said[1].replace('999.00', 'over 1000')}", fontsize=7)
        ax.set(facecolor="black", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        ax.grid(False)
    axes[0].set_ylabel(f"noise {noise:g}")


def draw(table: pd.DataFrame, n: int) -> "figures.Figure":
    """Densities at two noises; below, the crossing against the arms over noises, and two panels in time."""
    figure, axes = figures.sheet(3, 6, (13, 7.6), height_ratios=(1, 1, 1.3))
    for row, noise in zip(axes, SHOWN, strict=False):
        draw_panels(row, noise, n, table)
    below = axes[2, 0].get_gridspec()
    for ax in axes[2]:
        ax.remove()
    over, timed = figure.add_subplot(below[2, :3]), figure.add_subplot(below[2, 3:])
    for panel, colour, label in (("no decay", figures.BLUE, "open ends"), ("torus", figures.ORANGE, "torus")):
        figures.draw_seeds(over, where(panel=panel)(table), "noise", "area", colour, "-", label)
    law = where(panel="torus")(table).groupby("noise")["gibbs_area"].mean()
    over.plot(law.index, law, "k:", label="Gibbs' law")
    over.axhline(1, color=figures.GREY, lw=0.8)
    over.set(xscale="log", xlabel=f"noise (no decay, {SHORT} steps)", ylabel="crossing over arms, per area")
    for (panel, noise), colour in TIMED.items():
        rows = where(panel=f"{panel}, in time", noise=noise)(table)
        mean = rows.groupby("step")["share"].mean()
        timed.plot(LR * DECAY * mean.index, mean, color=colour, label=f"centre {panel}, noise {noise:g}")
        timed.axhline(rows["gibbs"].iloc[0], color=colour, ls=":", lw=1)
    timed.axvline(LR * DECAY * SHORT, color=figures.GREY, lw=0.8, label=f"{SHORT} steps")
    timed.set(xlabel="lr · decay · step (dotted: Gibbs' law)", xlim=(0, 5), ylim=(0, None))
    timed.set_ylabel(f"share within {NEAR:g} of the crossing")
    figures.legends([over, timed])
    return figure


def main() -> None:
    given, record = announced(QUESTION, __file__, "few particles and seeds", range(10), CLAIMS)
    torch.set_num_threads(given.threads)
    n, seeds = (500, range(2)) if given.quick else (20_000, range(10))
    table = pd.DataFrame([{"seed": seed, **row} for seed in seeds for row in [*short(seed, n), *course(seed, n)]])
    picked = ", ".join(f"{name} {sorted(set(best(name)(table)['noise']))}" for name in ("no decay", "torus"))
    shares = where(step=SHORT, noise=SHOWN[0], panel=lambda names: names.isin([*PANELS]))(table)
    shares = shares.groupby("panel", sort=False)[["share", "gibbs"]].mean()
    said = [
        in_words(record, given.script),
        f"U = min(x0², x1²) + (decay/2)|x − c|², lr {LR:g}, {n} particles, uniform start on [−{R:g}, {R:g}]², noise "
        f"per coordinate and step; decay {DECAY:g}. Near is the square within {NEAR:g} of the crossing, arms are what "
        f"is within {NEAR:g} of them in the box; Gibbs' law is that of the box. Best noise by halves: {picked}.",
        f"Share near the crossing after {SHORT} steps at noise {SHOWN[0]:g}, and Gibbs': "
        f"{listed(shares, '{} {:.3f} ({:.3f})')}.",
        "The rise of the crossing over the arms with noise, from .23 to 1.44 per area, was seen before in a run of "
        "another design; noises and the torus were tried on seed 90.",
    ]
    late = frozenset(claim.text for claim in CLAIMS if is_post_hoc(claim.text, record))
    conclude(given, QUESTION, table, Decided({"": decide(CLAIMS, table)}, late), draw(table, n), said)


if __name__ == "__main__":
    main()
