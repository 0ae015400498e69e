"""Does a crossing of two valleys hold what comes there: beyond Gibbs' law, and more than a place that is only flat?

At rest, noise that is the same everywhere puts particles where Gibbs' law says, at singular points as elsewhere. Noise
that vanishes with the gradient, as that of batches does, does not. Whether such noise draws to what is singular or to
what is flat is asked of a valley on a torus with a crossing and, elsewhere, a wide place of the same mass under Gibbs'
law. How long a walker stays is another question than how often it is there, and asked by stays and returns. A walk
without any loss, inside two crossing lines of some width, is compared with their area.

Artefacts to think of: steps of finite size (lr from .03 to .3), the size of the box, a temperature that shaped noise
changes (Gibbs' law is taken at the walkers' own mean loss), slow relaxation (walks start from Gibbs' law and have the
slowest time to leave it), a kink at the crossing (there is a smooth one), what becomes of a step that leaves the lines.

    python analyses/stickiness.py --claims   # what is claimed, to be committed before the walks
    python analyses/stickiness.py            # minutes
    python analyses/stickiness.py --quick    # seconds
"""

import math
from functools import cache, partial
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from circuitgrok import figures
from circuitgrok.exact.fat_cross import fat_cross_share, fat_cross_walk
from circuitgrok.exact.potentials import POTENTIALS
from circuitgrok.exact.singular_or_flat import crossing_and_basin, matched_flatness, places
from circuitgrok.exact.surfing import cross_potential
from circuitgrok.exact.torus import Gibbs, gibbs, gibbs_occupancy, torus_walk
from circuitgrok.landscape.potential_loss import differentiated, stiffness
from circuitgrok.landscape.sampling import SAMPLERS, SamplerName, Sampling
from circuitgrok.samplers.geometry import FLAT
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.target import Target
from circuitgrok.samplers.visits import visits
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import decide
from circuitgrok.study.question import conclude
from circuitgrok.study.registered import announced, in_words, is_post_hoc
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import picked_apart
from circuitgrok.study.verdicts import Decided

QUESTION = (
    "Is a singular crossing of valleys sticky: beyond its area, beyond Gibbs' law, and more than a flat place is?"
)
R, NEAR = 2.0, 0.25
GRID = {"half_width": (0.5, 1.0, 2.0), "lr": (0.03, 0.1, 0.3), "noise": (0.05, 0.1, 0.2)}
SITES = {"half_width": 1.6, "q": 0.4, "reach": 0.5}  # of the valley with a crossing and a flat place
KINDS: dict[str, dict[str, float]] = {  # min(x0², x1²); x0² x1² within l of the crossing; beside it x0⁴ within as much
    "kink": {}, "smooth": {"smooth": 0.1}, "smooth, quartic": {"smooth": 0.1, "quartic": 0.1},
}  # fmt: skip
SHAPES = {"everywhere": (0.0, False), "by the gradient": (2.0, False), "along the gradient": (2.0, True)}
SITE_LR, SITE_NOISE = 0.1, 0.05
WIDTH, FAT_STEPS = 0.1, (0.025, 0.05, 0.1, 0.2, 0.4)
CORNER, LEAPFROGS, NBETA, PULL = 0.3, 5, 1000.0, 10.0  # of samplers on x0² x1²
SHARES: dict[SamplerName, float] = {"sgld": 0.08, "sghmc": 0.14, "mala": 1.0, "hmc": 1.0}  # step × stiffness
COLOURS = dict(zip(SHAPES, (figures.BLUE, figures.ORANGE, figures.RED), strict=True))
Row = dict[str, Any]


class Effort(NamedTuple):
    """How many particles, and for how long beside the time to relax."""

    grid: int
    sites: int
    fat: int
    after: int
    relaxed: float = 1.0


FULL, QUICK = Effort(5000, 3000, 3000, 400), Effort(60, 60, 60, 40, 0.02)


def slowest(half_width: float, noise: float) -> float:
    """Steps in which two circles of length 2 R that touch become alike by diffusion along them."""
    return 8 * (half_width / (math.pi * noise)) ** 2


def near(x: Tensor) -> Tensor:
    """Which points are near the crossing."""
    return x.abs().amax(-1) < NEAR


@cache
def law_of(half_width: float) -> Gibbs:
    """The cross on a grid of its torus."""
    return gibbs(cross_potential, half_width)


def grid(seed: int, effort: Effort) -> list[Row]:
    """The cross on tori of several sizes at rest, at several rates and noises."""
    rows = []
    for half_width, lr, noise in product(*GRID.values()):
        law, nbeta = law_of(half_width), 2 * lr / noise**2
        burn = math.ceil(effort.relaxed * slowest(half_width, noise) / 10) * 10
        stream = torch.Generator().manual_seed(seed)
        x = torus_walk(
            stream, n_particles=effort.grid, steps=burn + effort.after, lr=lr, noise=noise, half_width=half_width,
            record=10, start=law.drawn(stream, effort.grid, nbeta),
        ).positions[burn // 10 :]  # fmt: skip
        share = near(x).double().mean().item()
        expected = gibbs_occupancy(NEAR, nbeta=nbeta, half_width=half_width)
        by_length, cell = share / (NEAR / half_width), f"R {half_width:g}, lr {lr:g}, noise {noise:g}"
        of_law = {"excess": share / expected, "log_excess": math.log(share / expected), "by_length": by_length}
        setting = {"half_width": half_width, "lr": lr, "noise": noise, "nbeta": nbeta}
        rows.append({"part": "grid", "cell": cell, **setting, "share": share, **of_law})
    return rows


def sites(seed: int, effort: Effort, matched: dict[str, tuple[float, Gibbs]]) -> list[Row]:
    """A crossing and a flat place of equal mass, by kind of crossing and shape of noise: shares and stays."""
    rows, half_width = [], SITES["half_width"]
    burn = math.ceil(effort.relaxed * 2 * slowest(half_width, SITE_NOISE))
    for (kind, (flat, law)), (shape, (shaped, along)) in product(matched.items(), SHAPES.items()):
        energy = crossing_and_basin(flat=flat, reach=SITES["reach"], half_width=half_width, **KINDS[kind])
        stream = torch.Generator().manual_seed(seed)
        x = torus_walk(
            stream, n_particles=effort.sites, steps=burn + 4 * effort.after, lr=SITE_LR, noise=SITE_NOISE,
            half_width=half_width, record=1, energy=energy, shaped=shaped, along=along,
            start=law.drawn(stream, effort.sites, 2 * SITE_LR / SITE_NOISE**2),
        ).positions[burn:]  # fmt: skip
        own = law.nbeta_of(energy(x[::20]).mean().item())
        found = {name: visits(inside) for name, inside in places(x, SITES["q"], half_width).items()}
        on_law = {name: law.share(at, own) for name, at in places(law.points, SITES["q"], half_width).items()}
        row: Row = {"part": "sites", "kind": kind, "shape": shape, "flat": flat, "own_nbeta": own}
        row |= {f"share_{name}": one.share for name, one in found.items()}
        row |= {f"excess_{name}": one.share / on_law[name] for name, one in found.items()}
        row |= {f"stay_{name}": one.residence for name, one in found.items()}
        row |= {f"absence_{name}": one.absence for name, one in found.items()}
        rows.append(row | {"log_preference": math.log(row["excess_crossing"] / row["excess_basin"])})
    return rows


def fat(seed: int, effort: Effort) -> list[Row]:
    """A walk inside two crossing lines of some width, steps that leave refused or projected."""
    rows = []
    for rule, noise in product(("refuse", "project"), FAT_STEPS):
        burn = math.ceil(effort.relaxed * slowest(R, max(noise, 0.05)))
        x = fat_cross_walk(
            torch.Generator().manual_seed(seed), n_particles=effort.fat, steps=burn + effort.after, noise=noise,
            width=WIDTH, half_width=R, record=1, rule=rule,
        ).positions[burn:]  # fmt: skip
        arms = [
            (x[..., i].abs() <= WIDTH) & ((x[..., 1 - i] - side * R / 2).abs() < NEAR)
            for i in (0, 1)
            for side in (-1, 1)
        ]
        at, arm = visits(near(x)), [visits(one) for one in arms]
        excess = at.share / fat_cross_share(NEAR, width=WIDTH, half_width=R)
        stay = sum(one.residence for one in arm) / 4
        of = {"excess": excess, "log_excess": math.log(excess), "stay_crossing": at.residence, "stay_arm": stay}
        rows.append({"part": "fat", "rule": rule, "noise": noise, "cell": noise, **of})
    return rows


def corners(seed: int, effort: Effort) -> list[Row]:
    """Samplers on x0² x1² with a pull to the origin: stays near the crossing and out on the arms, in gradients."""
    potential, rows = POTENTIALS["x^2 y^2"], []
    steepest = stiffness(potential, NBETA, PULL)
    law = gibbs(lambda x: potential.energy(x) + PULL / (2 * NBETA) * x.square().sum(-1), 2.0)
    expected = law.share(law.points.abs().amax(-1) < CORNER, NBETA)
    for name, share in SHARES.items():
        how = Sampling(sampler=name, step_size=share / steepest, n_leapfrog=LEAPFROGS, localization=PULL, nbeta=NBETA)
        cost = LEAPFROGS if name == "hmc" else 1
        centre = torch.zeros(16, 2, dtype=torch.float64)
        sampler = SAMPLERS[name](Target(differentiated(potential), centre, NBETA, PULL), how, FLAT)
        chains = start(sampler, centre, range(1000 * seed, 1000 * seed + len(centre)))
        draws = sample(
            sampler, chains, 10 * effort.after // cost, n_burnin=2 * effort.after // cost, observe=lambda w: w
        )
        inside = torch.as_tensor(draws[1].observed).abs().amax(-1) < CORNER
        at, out = visits(inside), visits(~inside)
        stays = {"stay_crossing": cost * at.residence, "stay_arm": cost * out.residence}
        rows.append({"part": "samplers", "sampler": name, "share": at.share, "gibbs": expected, **stays})
    return rows


def worst(**of: Any) -> Selection:
    """The rows of the cell that is furthest from its null in the other half of the seeds."""
    return picked_apart(where(**of), "cell", lambda rows: -abs(rows["log_excess"].mean()))


def site(kind: str, shape: str) -> Selection:
    """The rows of a kind of crossing and a shape of noise."""
    return where(part="sites", kind=kind, shape=shape)


EVEN, BY, ALONG = SHAPES
first_kinds = where(part="sites", shape=EVEN, kind=lambda kinds: kinds != "smooth, quartic")
apart = picked_apart(first_kinds, "kind", lambda rows: -abs(rows["log_preference"].mean()))
PREFERS = "crossing over flat place, each over Gibbs' law at the walkers' loss"
CLAIMS = [
    Mean(worst(part="grid"), "log_excess", "ln of share over Gibbs', worst cell").is_within(
        math.log(1.1), "At rest the crossing holds what Gibbs' law says, within 10 %, at every R, rate and noise."
    ),
    Mean(apart, "log_preference", f"ln of {PREFERS}, worse kind").is_within(
        math.log(1.1), "Noise that is the same everywhere prefers neither the crossing nor the flat place, within 10 %."
    ),
    Factor(site("kink", BY), "excess_crossing", PREFERS, by="excess_basin")
    .exceeds(1, "Noise by the gradient draws more to a crossing with a kink than to the flat place."),
    Factor(site("smooth", ALONG), "excess_crossing", PREFERS, by="excess_basin")
    .exceeds(1.1, "Noise along the gradient draws over 10 % more to a smooth crossing than to the flat place."),
    Factor(site("smooth, quartic", ALONG), "excess_crossing", PREFERS, by="excess_basin")
    .exceeds(1.1, "So it does where the flat place, a straight valley, is flat to fourth order as the crossing is."),
    Factor(site("smooth, quartic", BY), "excess_crossing", PREFERS, by="excess_basin")
    .exceeds(1.1, "And there noise by the gradient in all directions does so too."),
    Factor(site("kink", EVEN), "stay_crossing", "stay at the crossing over stay on an arm", by="stay_arm")
    .exceeds(1, "A walker stays longer at a crossing than on an equal piece of arm."),
    Mean(worst(part="fat", rule="refuse"), "log_excess", "ln of share over its area's, worst step").is_within(
        math.log(1.1), "Inside two lines of some width a walk is at their crossing as its area says, at any step size."
    ),
    Factor(where(part="fat", rule="project", noise=FAT_STEPS[-1]), "excess", "share over its area's").falls_below(
        0.5, "Projected steps of four half widths keep away from it: it has less than half of its area's share."
    ),
]  # fmt: skip


def draw(table: pd.DataFrame) -> "figures.Figure":
    """The cross at rest, a crossing beside a flat place, two lines of some width, and stays."""
    figure, ((at_rest, drawn_to), (in_lines, stays)) = figures.sheet(2, 2, (10, 7))
    cells = where(part="grid")(table).groupby(["half_width", "lr", "nbeta"], as_index=False)["excess"].mean()
    for (half_width, colour), marker in zip(
        zip(GRID["half_width"], (figures.SKY, figures.BLUE, figures.PURPLE), strict=True), "o^s", strict=True
    ):
        rows = cells[cells["half_width"] == half_width]
        at_rest.plot(rows["nbeta"], rows["excess"], marker, color=colour, ms=4, label=f"R {half_width:g}")
    at_rest.axhline(1, color="black", lw=0.8)
    at_rest.set(xscale="log", ylim=(0.85, 1.15), xlabel="nβ = 2 lr / noise²", ylabel="share over Gibbs', at rest")
    names = ["\n".join([*kind.split(", "), place]) for kind in KINDS for place in ("crossing", "basin")]
    for i, (kind, place) in enumerate(product(KINDS, ("crossing", "basin"))):
        for j, (shape, colour) in enumerate(COLOURS.items()):
            values = site(kind, shape)(table)[f"excess_{place}"]
            drawn_to.plot([i + 0.2 * (j - 1)] * len(values), values, "o", color=colour, ms=3, alpha=0.6)
    drawn_to.axhline(1, color="black", lw=0.8)
    drawn_to.set_xticks(range(6), [name.replace("basin", "flat") for name in names], fontsize=7)
    drawn_to.set_ylabel("share over Gibbs' at the same loss")
    for rule, colour in (("refuse", figures.BLUE), ("project", figures.RED)):
        rows = where(part="fat", rule=rule)(table)
        rows = rows.assign(ratio=rows["noise"] / WIDTH)
        figures.draw_seeds(in_lines, rows, "ratio", "excess", colour, "-", f"steps that leave: {rule}")
    in_lines.axhline(1, color="black", lw=0.8)
    figures.values_axis(in_lines, [step / WIDTH for step in FAT_STEPS], "step over half width")
    in_lines.set_ylabel("crossing of two lines, share over area's")
    for i, place in enumerate(("crossing", "arm", "basin")):
        for j, (shape, colour) in enumerate(COLOURS.items()):
            values = site("kink", shape)(table)[f"stay_{place}"]
            label = f"noise {shape}" if i == 0 else None
            stays.plot([i + 0.2 * (j - 1)] * len(values), values, "o", color=colour, ms=3, alpha=0.6, label=label)
    stays.set_xticks(range(3), ["crossing", "arm", "flat"])
    stays.set_ylabel("mean stay, steps (kink)")
    figures.legends([at_rest, in_lines, stays])
    return figure


def notes(table: pd.DataFrame, effort: Effort) -> list[str]:
    """Settings, what each part says in numbers, samplers."""
    at = where(part="sites")(table).groupby(["kind", "shape"], sort=False)
    stays = at[["stay_crossing", "stay_arm", "stay_basin", "absence_crossing", "absence_basin"]].mean()
    excess = at[["own_nbeta", "excess_crossing", "excess_basin", "excess_arm"]].mean()
    cells = where(part="grid")(table).groupby("cell", sort=False)["excess"].mean()
    fatter = where(part="fat")(table).groupby(["rule", "noise"], sort=False)[["excess", "stay_crossing", "stay_arm"]]
    of = where(part="samplers")(table).groupby("sampler", sort=False)[["share", "gibbs", "stay_crossing", "stay_arm"]]
    flat = where(part="sites")(table).groupby("kind", sort=False)["flat"].first()
    return [
        f"At rest: {effort.grid} particles on tori, from Gibbs' law, for the slowest time of two touching "
        f"circles and {effort.after} steps. Share over Gibbs': {listed(cells, '{} {:.3f}', '; ')}.",
        f"Crossing and flat place: R {SITES['half_width']:g}, squares of {2 * SITES['q']:g}, lr {SITE_LR:g}, noise "
        f"{SITE_NOISE:g}, {effort.sites} particles; curvature of the flat place {listed(flat, '{} {:.3f}')}, so "
        "that both hold the same mass at nβ = 2 lr / noise². Own nβ; over Gibbs' there crossing, flat place, arm: "
        f"{listed(excess, '{}, {}: {:.0f}, {:.3f}, {:.3f}, {:.3f}', '; ')}. With shaped noise alone, without the even "
        "part, particles come to rest on the valleys wherever they are: nothing moves along them.",
        "Mean stay in steps at crossing, arm, flat place, and mean time away from crossing and flat place: "
        f"{listed(stays, '{}, {}: {:.1f}, {:.1f}, {:.1f}, {:.0f}, {:.0f}', '; ')}.",
        f"Lines of half width {WIDTH:g} on a torus of R {R:g}; share of the crossing over its area's, stays there and "
        f"on an equal piece of arm: {listed(fatter.mean(), '{}, step {:g}: {:.3f}, {:.1f}, {:.1f}', '; ')}.",
        f"Samplers on x0² x1² at nβ = {NBETA:g} with a pull of {PULL:g}, 16 chains: share within {CORNER:g} of the "
        "crossing, exact share, mean stay there and out on the arms in gradients: "
        f"{listed(of.mean(), '{} {:.3f} ({:.3f}), {:.0f}, {:.0f}', '; ')}. No claim is made of them.",
        "Sizes were chosen on seeds 90 and 91. What is matched is mass, not the learning coefficient: at the crossing "
        "λ is 1/2 (m = 1 with a kink, 2 smooth), as in the valley and in the flat place (m = 1); quartic 1/4. "
        "That place and its two claims were added after a first run and before they were measured.",
    ]


def main() -> None:
    given, record = announced(QUESTION, __file__, "few particles and seeds", range(10), CLAIMS)
    torch.set_num_threads(given.threads)
    effort, seeds = (QUICK, range(2)) if given.quick else (FULL, range(10))
    how = {name: SITES[name] for name in ("q", "reach", "half_width")}
    matched = {kind: matched_flatness(nbeta=2 * SITE_LR / SITE_NOISE**2, **how, **of) for kind, of in KINDS.items()}
    parts = (grid, partial(sites, matched=matched), fat, corners)
    rows = [{"seed": seed, **row} for seed in seeds for part in parts for row in part(seed, effort)]
    table = pd.DataFrame(rows)
    late = frozenset(claim.text for claim in CLAIMS if is_post_hoc(claim.text, record))
    said = [in_words(record, given.script), *notes(table, effort)]
    conclude(given, QUESTION, table, Decided({"": decide(CLAIMS, table)}, late), draw(table), said)


if __name__ == "__main__":
    main()
