"""How accurate is each sampler's learning coefficient, at what cost, where the answer is known; and what holds it?

Every sampler gets the same number of gradients, and every seed its own chains, in one estimate with one status.

* Six potentials: quadrature says what an exact sampler would report at the chain's own temperature and localization.
  The mean error over seeds is a bias; their root mean square is what a reader of one estimate has to expect.
* Five deep linear networks of up to 1800 weights: Aoyagi's coefficient is the limit at large nbeta.
* Stays and returns: how many gradients chains spend at a crossing of valleys before they leave, beside a straight
  valley, each in the box that holds half of the mass. Chains start from Gibbs' law there.
* devinterp 1.3.2, if it is there, runs its SGLD with the same settings on one of the networks, in turn with ours.

It would be an artefact if a worst case were picked where it is judged (the other half of the seeds picks it), if steps
were unequal (they are in proportion to 1 / the stiffest curvature), or if samplers were looked at at unequal times
(every five gradients).

    python analyses/estimators.py --claims   # what is claimed, to be committed before the chains
    python analyses/estimators.py            # minutes
    python analyses/estimators.py --quick    # seconds: short chains, one network
"""

import math
from functools import cache, partial
from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from circuitgrok import figures
from circuitgrok.exact.deep_linear import DeepLinear
from circuitgrok.exact.potentials import POTENTIALS, Potential, localized_llc
from circuitgrok.exact.torus import Gibbs, gibbs
from circuitgrok.landscape.curvature import StackLoss
from circuitgrok.landscape.equal_cost import SAMPLER_NAMES, STEP_SHARES, at_equal_cost
from circuitgrok.landscape.llc import estimate_llc
from circuitgrok.landscape.potential_loss import differentiated, stiffness
from circuitgrok.landscape.sampling import SamplerName, Sampling
from circuitgrok.landscape.stays import sampled_visits
from circuitgrok.samplers.target import LossGrad
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import decide
from circuitgrok.study.judges import in_turn
from circuitgrok.study.processes import in_processes
from circuitgrok.study.question import conclude
from circuitgrok.study.registered import announced, in_words, is_post_hoc
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, derived, picked_apart
from circuitgrok.study.verdicts import Decided

QUESTION = "How accurate is each sampler's learning coefficient, at what cost, where the answer is known?"
COLOURS = dict(zip(SAMPLER_NAMES, [figures.BLUE, figures.SKY, figures.GREEN, figures.ORANGE, figures.RED], strict=True))
LANDSCAPES = ["x^2", "x^4", "x^2 + y^2", "x^2 y^2", "min(x^2, y^2)", "x^2 y^4"]
NBETAS, LOCALIZATION, LEAPFROGS = [10.0, 100.0, 1000.0], 10.0, 5
CHAINS = 4  # of one estimate
COURSE = (20, 50, 100, 200, 400)  # draws at which the error is looked at
TOLERANCE, BIAS, SE = 0.1, 0.05, 4.0
PLACES = {  # where stays are counted, at the largest nbeta
    "crossing": POTENTIALS["x^2 y^2"],
    "kink": POTENTIALS["min(x^2, y^2)"],
    "valley": Potential("x^2, y free", 2, lambda w: w[..., 0] ** 2, POTENTIALS["x^2"].llc, 1),
}
WALKERS, HALF_WIDTH = 8, 2.0  # chains of a seed there, and a square that holds all of the law
PASSED = "diagnostics_passed"
Row = dict[str, Any]


class Network(NamedTuple):
    """A deep linear network with HMC's settings on it; the others take as many gradients for a draw."""

    widths: tuple[int, ...]
    rank: int
    nbeta: float
    localization: float
    step_size: float
    n_leapfrog: int
    n_draws: int

    def landscape(self) -> DeepLinear:
        """Its loss."""
        return DeepLinear(self.widths, self.rank)

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.widths))} rank {self.rank}"


NETWORKS = [  # HMC accepts 0.6 to 0.9 of its proposals
    Network((5, 3, 5), 0, 1e4, 1.0, 3e-5, 50, 300),
    Network((10, 10, 10), 1, 1e4, 1.0, 5e-6, 60, 200),
    Network((10, 10, 10, 10), 3, 1e5, 5.0, 7e-7, 100, 200),
    Network((8, 8, 8, 8, 8), 2, 2e5, 5.0, 4e-7, 120, 250),
    Network((30, 30, 30), 3, 5e3, 10.0, 6e-6, 80, 110),
]


class Effort(NamedTuple):
    """How much is sampled: draws on potentials and at places, rounds with the judge and their draws."""

    n_draws: int
    nbetas: list[float]
    networks: list[Network]
    stays: int
    judged: int


FULL = Effort(COURSE[-1], NBETAS, NETWORKS, 2000, 2000)
QUICK = Effort(30, NBETAS[1:2], [NETWORKS[0]._replace(n_draws=30, n_leapfrog=10)], 40, 150)


def at(nbeta: float) -> dict[str, Any]:
    """A temperature and the usual pull."""
    return {"localization": LOCALIZATION, "nbeta": nbeta}


def estimated(
    loss: StackLoss, point: Tensor, how: Sampling, exact: float, seeds: range, **labels: object
) -> tuple[list[Row], Tensor]:
    """An estimate of each seed as a line of the table, and nbeta L along its chains, `[seed chain draw]`."""
    found = estimate_llc(loss, point.repeat(len(seeds), 1), 1000, how, seeds=seeds)
    named = {**labels, "sampler": how.sampler, "nbeta": how.nbeta, "localization": how.localization}
    named["gradients"] = how.n_chains * how.n_draws * how.n_thin * (how.n_leapfrog if how.sampler == "hmc" else 1)
    numbers = {of: getattr(found, of).tolist() for of in ("llc", "mcse", "r_hat", "spread", "spread_se", "acceptance")}
    lines = [
        {**named, "seed": seed, "exact": exact, "status": found.status[i], "faults": "; ".join(found.faults[i])}
        | {name: float(f"{of[i]:.5g}") for name, of in numbers.items()}
        for i, seed in enumerate(seeds)
    ]
    for line in lines:
        line["relative_error"] = line["llc"] / exact - 1
        line["errors_in_mcse"] = (line["llc"] - exact) / line["mcse"]
    return lines, found.traces * named["nbeta"]


def on_potential(name: str, nbeta: float, n_draws: int, seeds: range) -> list[Row]:
    """Every sampler on a potential (part `potential`), and its error against the budget (part `course`)."""
    potential, rows = POTENTIALS[name], []
    exact = localized_llc(potential, nbeta, localization=LOCALIZATION)
    stiffest = stiffness(potential, nbeta, LOCALIZATION)
    stream = LANDSCAPES.index(name) * len(NBETAS) + NBETAS.index(nbeta)  # of its own, lest all err to the same side
    for sampler in SAMPLER_NAMES:
        how = at_equal_cost(sampler, stiffest, n_draws, LEAPFROGS, n_chains=CHAINS, seed=stream, **at(nbeta))
        origin = torch.zeros(potential.dim, dtype=torch.float64)
        cell = f"{sampler} on {name} at {nbeta:g}"
        named = {"part": "potential", "landscape": name, "cell": cell}
        lines, traces = estimated(differentiated(potential), origin, how, exact, seeds, **named)
        rows += lines
        for draws in (n for n in COURSE if n <= n_draws):
            errors = traces[..., draws // 5 : draws].mean((1, 2)) / exact - 1
            labels = {"part": "course", "landscape": name, "nbeta": nbeta, "sampler": sampler}
            cost = CHAINS * draws * LEAPFROGS
            rows.append({**labels, "rms_error": errors.square().mean().sqrt().item(), "gradients": cost})
    return rows


def on_network(network: Network, sampler: SamplerName, seeds: range) -> list[Row]:
    """A sampler on a network (part `network`)."""
    landscape = network.landscape()
    given = {"localization": network.localization, "nbeta": network.nbeta, "friction": 0.02, "n_chains": CHAINS}
    stream = 100 + [str(of) for of in NETWORKS].index(str(network))
    stiffest = STEP_SHARES["hmc"] / network.step_size
    how = at_equal_cost(sampler, stiffest, network.n_draws, network.n_leapfrog, seed=stream, **given)
    labels = {"part": "network", "landscape": str(network), "n_weights": len(landscape.point)}
    loss, exact = lambda w: LossGrad(*landscape.loss(w)), float(landscape.exact.llc)
    return estimated(loss, landscape.point, how, exact, seeds, **labels)[0]


@cache
def law_of(place: str) -> tuple[Gibbs, float, float]:
    """Gibbs' law there on a grid, half the side of the box that holds half of its mass, and its exact share."""
    pull = LOCALIZATION / (2 * NBETAS[-1])
    law = gibbs(lambda x: PLACES[place].energy(x) + pull * x.square().sum(-1), HALF_WIDTH)
    box = law.box(0.5, NBETAS[-1])
    return law, box, law.share(law.points.abs().amax(-1) < box, NBETAS[-1])


def in_box(box: float, w: Tensor) -> Tensor:
    """Which points are in the square of half this side."""
    return w.abs().amax(-1) < box


def stays(sampler: SamplerName, n_draws: int, seeds: range) -> list[Row]:
    """Stays in the box, times away and returns, in gradients, at each place (part `stays`)."""
    nbeta = NBETAS[-1]
    stiffest = max(stiffness(place, nbeta, LOCALIZATION) for place in PLACES.values())
    how = at_equal_cost(sampler, stiffest, n_draws, LEAPFROGS, **at(nbeta))
    rows: list[Row] = [{"part": "stays", "sampler": sampler, "seed": seed} for seed in seeds]
    for place, potential in PLACES.items():
        law, box, expected = law_of(place)
        begun = [law.drawn(torch.Generator().manual_seed(seed), WALKERS, nbeta) for seed in seeds]
        found = sampled_visits(differentiated(potential), begun, how, seeds, partial(in_box, box))
        for row, seen in zip(rows, found, strict=True):
            row |= {f"share_{place}": seen.share, f"excess_{place}": seen.share / expected}
            row |= {f"stay_{place}": LEAPFROGS * seen.residence, f"away_{place}": LEAPFROGS * seen.absence}
            row[f"return_{place}"] = LEAPFROGS * seen.return_time
    return rows


def with_judge(n_draws: int, seeds: range) -> list[Row]:
    """SGLD on the first network by us and by devinterp in turn (part `judge`)."""
    how = Sampling(sampler="sgld", step_size=1e-4, n_draws=n_draws, n_chains=CHAINS, **at(1000.0))
    labels = {"part": "judge", "landscape": str(NETWORKS[0]), "nbeta": how.nbeta, "localization": LOCALIZATION}
    return [labels | row for row in in_turn(NETWORKS[0].landscape(), how, seeds)]


def sampling(sampler: str, part: str = "potential") -> Selection:
    """A sampler's estimates of a part."""
    return where(part=part, sampler=sampler)


def off(rows: pd.DataFrame) -> float:
    """Least where the mean error over seeds is largest."""
    return -abs(rows["relative_error"].mean())


def worst(column: str, **of: Any) -> Mean:
    """The mean relative error where it is worst for the other half of the seeds."""
    return Mean(picked_apart(where(**of), column, off), "relative_error", ", ".join([*of.values(), "worst: bias"]))


def rms(sampler: str) -> Selection:
    """By seed the root mean square of a sampler's relative errors over potentials and nbeta."""
    squared = derived(sampling(sampler), square=lambda rows: rows["relative_error"] ** 2)
    return derived(by_seed(squared, square="mean"), rms=lambda rows: rows["square"] ** 0.5)


def cost(sampler: str) -> Factor:
    """How much more a sampler errs than MALA."""
    return Factor(rms(sampler), "rms", f"rms error of {sampler} over that of mala", over=rms("mala"))


def is_covered(rows: pd.DataFrame) -> pd.Series:
    """1 where the exact value is within two of the errors that are told, else 0."""
    return (rows["errors_in_mcse"].abs() <= 2).astype(float)


covered = by_seed(derived(where(part="potential", status=PASSED), covered=is_covered), covered="mean")


def near(sampler: SamplerName) -> Mean:
    """Its bias on the network where it is worst."""
    return worst("landscape", part="network", sampler=sampler)


def held(sampler: str) -> Factor:
    """How much longer chains stay at the crossing than in the valley."""
    name = f"{sampler}, stay at the crossing over stay in the valley"
    return Factor(sampling(sampler, "stays"), "stay_crossing", name, by="stay_valley")


def least_held(rows: pd.DataFrame) -> float:
    """Least where the crossing holds least."""
    return (rows["stay_crossing"] / rows["stay_valley"]).mean()


def out_of_share(rows: pd.DataFrame) -> float:
    """Least where the share is furthest from Gibbs'."""
    return -abs(rows["excess_crossing"].mean() - 1)


passed = where(part="network", status=PASSED)
FAR = where(part="network", status=PASSED, relative_error=lambda of: of.abs() > TOLERANCE)
WITHIN = f"within {TOLERANCE:.0%} of Aoyagi's coefficient, on the network where its bias is largest."
ours, theirs = sampling("circuitgrok", "judge"), sampling("devinterp", "judge")
CLAIMS = [
    worst("cell", part="potential")
    .is_within(BIAS, f"On potentials no sampler is biased by over {BIAS:.0%}, at any temperature.")
    .telling(*(worst("cell", part="potential", sampler=name) for name in SAMPLER_NAMES)),
    Mean(covered, "covered", "within two errors, share of those that passed", bounds=(0, 1))
    .exceeds(0.9, "The error that is told is right: of estimates on potentials that passed over 90 % are within two."),
    cost("sgld")
    .exceeds(1.5, "At equal numbers of gradients SGLD errs over 1.5 times as much as MALA on potentials.")
    .telling(*(cost(name) for name in SAMPLER_NAMES if name not in ("sgld", "mala"))),
    near("sgld").is_within(TOLERANCE, f"SGLD is {WITHIN}").telling(near("preconditioned_sgld")),
    *(near(name).is_within(TOLERANCE, f"{name.upper()} is {WITHIN}") for name in SAMPLER_NAMES[2:]),
    Share(passed, lambda rows: rows["relative_error"].abs() <= TOLERANCE, "passed estimates that are near").is_all(
        f"The status tells: on networks no estimate that passed its diagnostics is off by over {TOLERANCE:.0%}."
    ),
    Share(FAR, lambda rows: rows["spread"] + SE * rows["spread_se"] < 1, "far estimates with a low spread").is_all(
        f"Where the status does not tell, `spread` does: it is {SE:g} of its errors below 1 in all that passed and are "
        f"off by over {TOLERANCE:.0%}."
    ),
    Factor(picked_apart(where(part="stays"), "sampler", least_held), "stay_crossing",
           "stay at the crossing over stay in the valley, least sampler", by="stay_valley")
    .exceeds(1, "A crossing holds every sampler: longer than a straight valley does, in boxes of half of the mass.")
    .telling(*map(held, SAMPLER_NAMES)),
    Factor(picked_apart(where(part="stays"), "sampler", out_of_share), "excess_crossing",
           "share at the crossing over Gibbs', worst sampler")
    .is_within(1.1, "Yet every sampler is there as often as Gibbs' law says, to 10 %."),
    Factor(theirs, "llc", "their estimate over ours", over=ours)
    .is_within(1 + TOLERANCE, f"SGLD of ours and of devinterp 1.3.2 at the same settings agree to {TOLERANCE:.0%}.")
    .telling(Factor(theirs, "seconds", "their time over ours", over=ours)),
]  # fmt: skip


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Error against gradients and biases on potentials, the networks' estimates, and stays."""
    figure, ((left, biases), (right, places)) = figures.sheet(2, 2, (12, 8))
    course, networks = where(part="course")(table), where(part="network")(table).sort_values("n_weights")
    names = networks["landscape"].unique().tolist()
    for i, (sampler, colour) in enumerate(COLOURS.items()):
        errors = where(sampler=sampler)(course).groupby("gradients")["rms_error"].describe()
        left.plot(errors["50%"], color=colour, marker="o", ms=3.5, label=sampler)
        left.fill_between(errors.index.to_numpy(), errors["25%"], errors["75%"], color=colour, alpha=0.1)
        cells = sampling(sampler)(table).groupby(["landscape", "nbeta"])["relative_error"].mean().reset_index()
        for nbeta, marker in zip(NBETAS, "o^s", strict=True):
            mean = where(nbeta=nbeta)(cells)["relative_error"]
            x = [i + 0.2 * NBETAS.index(nbeta) - 0.2] * len(mean)
            biases.plot(x, mean, marker, color=colour, ms=4, alpha=0.7, label=f"nβ {nbeta:g}" if i == 0 else None)
        for k, landscape in enumerate(names):
            rows = where(landscape=landscape, sampler=sampler)(networks)
            for is_passed, fill in ((True, colour), (False, "white")):
                of = rows[(rows["status"] == PASSED) == is_passed]
                right.plot([k + i / 7 - 0.29] * len(of), 1 + of["relative_error"], "o", color=colour, mfc=fill, ms=3.5)
        rows = sampling(sampler, "stays")(table)
        for k, place in enumerate(PLACES):
            places.plot([k + i / 7 - 0.29] * len(rows), rows[f"stay_{place}"], "o", color=colour, ms=3.5)
    left.set(xscale="log", yscale="log", xlabel=f"gradients of {CHAINS} chains together")
    budgets = sorted(course["gradients"].astype(int).unique().tolist())
    left.set_xticks(budgets, map(str, budgets))
    left.xaxis.minorticks_off()
    left.set_ylabel("rms relative error on potentials (median, quartiles)")
    biases.axhline(0, color="black", lw=0.8)
    biases.axhspan(-BIAS, BIAS, color=figures.GREY, alpha=0.15, lw=0)
    biases.set_xticks(range(len(SAMPLER_NAMES)), [name.replace("_", "\n") for name in SAMPLER_NAMES])
    biases.set_ylabel("bias on potentials: mean relative error over seeds")
    right.set_xticks(range(len(names)), [name.replace(" rank", "\nrank") for name in names], fontsize=7)
    right.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color=figures.GREY, alpha=0.15, lw=0)
    right.axhline(1, color="black", lw=0.8)
    right.set(ylim=(0, 1.3), ylabel="estimate / Aoyagi's coefficient, each seed")
    right.set_xlabel("open: diagnostics not passed")
    places.set_xticks(
        range(len(PLACES)), ["crossing\nx² y²", "crossing with a kink\nmin(x², y²)", "straight valley\nx²"]
    )
    places.set(yscale="log", ylabel="mean stay in the box of half of the mass, gradients")
    for ax, ticks in ((places, (20, 50, 100, 200)), (left, (0.05, 0.1, 0.2, 0.5))):
        ax.set_yticks(ticks, map(str, ticks))
        ax.yaxis.minorticks_off()
    figures.legends([left, biases])
    return figure


def notes(table: pd.DataFrame, effort: Effort) -> list[str]:
    """Settings, what each part says in numbers, the judge."""
    potentials, networks = where(part="potential")(table), where(part="network")(table)
    of = networks.groupby(["sampler", "landscape"], sort=False)
    each = of["relative_error"].agg(["mean", "std"]).join(of["status"].agg(lambda s: int((s == PASSED).sum())))
    orders = {str(net): (net.landscape().exact.multiplicity - 1) / math.log(net.nbeta) for net in effort.networks}
    shown = [f"{column}_{place}" for place in PLACES for column in ("share", "stay", "away", "return")]
    seen = where(part="stays")(table).groupby("sampler", sort=False)[shown].mean()
    boxes = ", ".join(f"{place} {law_of(place)[1]:g} ({law_of(place)[2]:.3f})" for place in PLACES)
    spreads = potentials.groupby("sampler", sort=False)["relative_error"].std()
    judged = where(part="judge")(table)
    three = "; ".join(f"{place} {{:.3f}}, {{:.0f}}, {{:.0f}}, {{:.0f}}" for place in PLACES)
    return [
        f"Potentials: localization {LOCALIZATION:g}; {CHAINS} chains of {effort.n_draws} draws from the origin for "
        f"each seed, {LEAPFROGS} gradients a draw. Step size times the largest curvature: "
        f"{listed(pd.Series(STEP_SHARES), '{} {:g}')}. Standard deviation of the relative error over cells and seeds: "
        f"{listed(spreads, '{} {:.3f}')}.",
        f"Networks: population loss, {CHAINS} chains for each seed from a most singular point. HMC's step was chosen "
        "by its acceptance on each; the others take theirs from it, and as many gradients a draw. Mean relative error, "
        "its standard deviation over seeds, and how many passed: "
        f"{listed(each, '{} on {}: {:+.3f}, {:.3f}, {}', '; ')}. The coefficient is the limit at large nbeta; what a "
        f"sampler can see is less by about (m - 1) / ln nbeta: {listed(pd.Series(orders), '{} {:.2f}')}.",
        f"Stays at nβ = {NBETAS[-1]:g} and a pull of {LOCALIZATION:g}, {WALKERS} chains for each seed from Gibbs' "
        f"law, seen every {LEAPFROGS} gradients. Half side of the box, exact share: {boxes}. Share, mean stay, mean "
        f"time away and mean return in gradients: {listed(seen, '{}: ' + three, '. ')}.",
        "Judge: devinterp 1.3.2, the first network, first half of the draws left out. Its chains run one after the "
        "other, with a data loader and autograd; ours as one stack, with the gradient by hand."
        if len(judged)
        else "devinterp is not installed (`pip install circuitgrok[judges]`), so that its claim is not judged.",
        "Networks and settings come from an earlier design with one or two estimates of each; its largest network "
        "(9800 weights) was left out for its cost, and that of 1800 was set on seed 90.",
    ]


def main() -> None:
    given, record = announced(QUESTION, __file__, "short chains, one network, two seeds", range(10), CLAIMS)
    effort, seeds = (QUICK, range(2)) if given.quick else (FULL, range(10))
    torch.set_num_threads(1)
    jobs = [partial(on_network, *of, seeds) for of in product(reversed(effort.networks), SAMPLER_NAMES)]
    jobs += [partial(on_potential, *of, effort.n_draws, seeds) for of in product(LANDSCAPES, effort.nbetas)]
    jobs += [partial(stays, name, effort.stays, seeds) for name in SAMPLER_NAMES]
    rows = [line for lines in in_processes(jobs, given.threads, "sampling", "landscapes") for line in lines]
    if find_spec("devinterp"):
        rows += with_judge(effort.judged, seeds)
    table = pd.DataFrame(rows)
    if not find_spec("devinterp"):
        table["seconds"] = math.nan
    late = frozenset(claim.text for claim in CLAIMS if is_post_hoc(claim.text, record))
    said = [in_words(record, given.script), *notes(table, effort)]
    conclude(given, QUESTION, table, Decided({"": decide(CLAIMS, table)}, late), draw(table), said)


if __name__ == "__main__":
    main()
