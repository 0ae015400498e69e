"""How accurate is each sampler's learning coefficient, at what cost, where the answer is known?

Three parts. On six potentials the exact answer at the chain's own temperature and localization comes from
quadrature (`localized_llc`), and every sampler gets the same number of gradients. On five deep linear networks of up
to 9800 weights Aoyagi's coefficient is the limit at large nbeta. And on one of them devinterp 1.3.2, if it is
installed, runs its SGLD with the same settings, in turn with ours.

    python analyses/estimators.py            # minutes
    python analyses/estimators.py --quick    # seconds: short chains, one network
"""

import math
import time
from functools import partial
from importlib.util import find_spec
from itertools import product
from statistics import NormalDist
from typing import Any, NamedTuple, get_args

import pandas as pd
import torch
from torch import Tensor

from circuitgrok import figures
from circuitgrok.exact.deep_linear import DeepLinear
from circuitgrok.exact.potentials import POTENTIALS, localized_llc
from circuitgrok.landscape.curvature import StackLoss
from circuitgrok.landscape.llc import estimate_llc
from circuitgrok.landscape.potential_loss import differentiated, stiffness
from circuitgrok.landscape.sampling import SamplerName, Sampling
from circuitgrok.samplers.target import LossGrad
from circuitgrok.study.asked import asked
from circuitgrok.study.claims import Selection, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import Declared, Judged, decide
from circuitgrok.study.intervals import Decision, Interval, above, mean_interval
from circuitgrok.study.judges import devinterp_losses, our_losses
from circuitgrok.study.processes import in_processes
from circuitgrok.study.question import conclude
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed
from circuitgrok.study.verdicts import Decided

QUESTION = "How accurate is each sampler's learning coefficient, at what cost, where the answer is known?"
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
COLOURS = dict(zip(SAMPLERS, [figures.BLUE, figures.SKY, figures.GREEN, figures.ORANGE, figures.RED], strict=True))
# Step size times the largest curvature of U; a quadratic's energy is 2 % too large then by sgld and by sghmc.
SHARES = {"sgld": 0.08, "preconditioned_sgld": 0.08, "sghmc": 0.14, "mala": 1.0, "hmc": 1.0}
LANDSCAPES = ["x^2", "x^4", "x^2 + y^2", "x^2 y^2", "min(x^2, y^2)", "x^2 y^4"]
NBETAS, LOCALIZATION, LEAPFROGS = [10.0, 100.0, 1000.0], 10.0, 5
CHAINS, TOGETHER = 32, 4  # chains on a potential, and in one estimate of the error curve
TIMES = 2  # that a sampler is asked on a network
COURSE = (20, 50, 100, 200, 400)  # draws at which that curve is looked at
TOLERANCE = 0.1
PASSED = "diagnostics_passed"
JUDGES = {"circuitgrok": our_losses, "devinterp": devinterp_losses}
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


NETWORKS = [  # HMC accepts 0.6 to 0.8 of its proposals
    Network((5, 3, 5), 0, 1e4, 1.0, 3e-5, 50, 300),
    Network((10, 10, 10), 1, 1e4, 1.0, 5e-6, 60, 200),
    Network((10, 10, 10, 10), 3, 1e5, 5.0, 7e-7, 100, 200),
    Network((8, 8, 8, 8, 8), 2, 2e5, 5.0, 4e-7, 120, 250),
    Network((70, 70, 70), 5, 3e3, 10.0, 4e-6, 150, 110),
]
FULL = (COURSE[-1], NBETAS, NETWORKS)
QUICK = (30, NBETAS[1:2], [NETWORKS[0]._replace(n_draws=30, n_leapfrog=10)])


def settings(sampler: SamplerName, stiffest: float, n_draws: int, n_gradients: int, **given: Any) -> Sampling:
    """Steps in proportion to 1 / the stiffest curvature of U, and as many gradients in a draw for each sampler."""
    step, root = SHARES[sampler] / stiffest, math.sqrt(stiffest)
    given |= {"n_leapfrog" if sampler == "hmc" else "n_thin": n_gradients}
    if sampler == "preconditioned_sgld":  # the stiffest direction takes `step`, and none more than twice that
        given |= {"stability": root, "n_burnin": n_draws // 5}
        step *= 2 * root
    return Sampling(sampler=sampler, step_size=step, n_draws=n_draws, **given)


def timed(loss: StackLoss, point: Tensor, how: Sampling, exact: float, **labels: object) -> tuple[Row, Tensor]:
    """An estimate as a line of the table (gradients: of all chains), and the chains' nbeta L, where L(w*) is 0."""
    begin = time.perf_counter()
    found = estimate_llc(loss, point[None], 1000, how)
    seconds = time.perf_counter() - begin
    line: Row = {**labels, "exact": exact, "seconds": seconds, "ess": found.ess_bulk.item()}
    line |= {
        name: getattr(found, name).item() for name in ("llc", "mcse", "r_hat", "spread", "spread_se", "acceptance")
    }
    line |= {"sampler": how.sampler, "nbeta": how.nbeta, "localization": how.localization, "step": how.step_size}
    line |= {"status": found.status[0], "faults": "; ".join(found.faults[0])}
    line["gradients"] = how.n_chains * how.n_draws * how.n_thin * (how.n_leapfrog if how.sampler == "hmc" else 1)
    return line, line["nbeta"] * found.traces[0]


def on_potential(name: str, nbeta: float, n_draws: int) -> list[Row]:
    """Every sampler on a potential (part `potential`), and its error against the budget (part `course`)."""
    potential, rows = POTENTIALS[name], []
    exact = localized_llc(potential, nbeta, localization=LOCALIZATION)
    stiffest = stiffness(potential, nbeta, LOCALIZATION)
    seed = LANDSCAPES.index(name) * len(NBETAS) + NBETAS.index(nbeta)  # of its own, lest all err to the same side
    given = {"localization": LOCALIZATION, "nbeta": nbeta, "n_chains": CHAINS, "seed": seed}
    named = {"part": "potential", "landscape": name, "seed": seed}
    for sampler in SAMPLERS:
        how = settings(sampler, stiffest, n_draws, LEAPFROGS, **given)
        origin = torch.zeros(potential.dim, dtype=torch.float64)
        line, traces = timed(differentiated(potential), origin, how, exact, **named)
        rows.append(line)
        for draws in (n for n in COURSE if n <= n_draws):
            errors = traces[:, draws // 5 : draws].unflatten(0, (-1, TOGETHER)).mean((1, 2)) / exact - 1
            labels = {"part": "course", "landscape": name, "nbeta": nbeta, "sampler": sampler}
            cost = TOGETHER * draws * LEAPFROGS
            rows.append({**labels, "rms_error": errors.square().mean().sqrt().item(), "gradients": cost})
    return rows


def on_network(network: Network, sampler: SamplerName, again: int) -> list[Row]:
    """A sampler on a network (part `network`), with a seed of its own for every network and time that it is asked."""
    landscape = network.landscape()
    seed = len(NETWORKS) * again + [str(of) for of in NETWORKS].index(str(network))
    given = {"localization": network.localization, "nbeta": network.nbeta, "friction": 0.02, "seed": seed}
    how = settings(sampler, SHARES["hmc"] / network.step_size, network.n_draws, network.n_leapfrog, **given)
    labels = {"part": "network", "landscape": str(network), "n_weights": len(landscape.point), "seed": seed}
    loss, exact = lambda w: LossGrad(*landscape.loss(w)), float(landscape.exact.llc)
    return [timed(loss, landscape.point, how, exact, **labels)[0]]


def with_judge(n_draws: int, rounds: int) -> list[Row]:
    """SGLD on the first network by us and by devinterp in turn (part `judge`), a line for each chain."""
    landscape, nbeta, rows = NETWORKS[0].landscape(), 1000.0, []
    how = Sampling(sampler="sgld", step_size=1e-4, localization=10.0, nbeta=nbeta, n_draws=n_draws, n_chains=TOGETHER)
    for run in JUDGES.values():
        run(landscape, how.model_copy(update={"n_draws": 100}), rounds)  # imports, and what is set up once
    for seed, (judge, run) in product(range(rounds), JUDGES.items()):
        begin = time.perf_counter()
        losses = run(landscape, how, seed)
        labels = {"part": "judge", "landscape": str(NETWORKS[0]), "sampler": judge, "seed": seed}
        labels |= {"nbeta": nbeta, "localization": how.localization, "step": how.step_size}
        labels |= {"seconds": time.perf_counter() - begin, "gradients": len(losses) * n_draws}
        rows += [labels | {"llc": llc} for llc in (nbeta * losses[:, n_draws // 2 :].double().mean(1)).tolist()]
    return rows


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """The estimates over the exact coefficients, and two standard errors."""
    return rows.assign(ratio=rows["llc"] / rows["exact"], error=2 * rows["mcse"] / rows["exact"])


def tells(part: str, column: str, bound: float, said: str) -> Declared:
    """The claim that a status of diagnostics_passed may be believed."""

    def is_told(rows: pd.DataFrame) -> pd.Series:
        return (rows["status"] != PASSED) | (rows[column].abs() <= bound)

    told = Share(where(part=part), is_told, "not passed, or right")
    text = f"On {part}s the status tells: no estimate that passed its diagnostics is off by more than {said}."
    return told.is_all(text, naming="{sampler} on {landscape} at {nbeta:g}")


def least(table: pd.DataFrame) -> Judged:
    """The sampler of the smallest error at the whole budget, against every other one."""
    course = where(part="course")(table)
    last = course[course["gradients"] == course["gradients"].max()]
    errors = last.pivot(index=["landscape", "nbeta"], columns="sampler", values="rms_error").map(math.log)
    best = str(errors.mean().idxmin())
    others = [(errors[other] - errors[best]).tolist() for other in SAMPLERS if other != best]
    closest = min(map(mean_interval, others), key=lambda ratio: ratio.estimate)
    said = f"{best}; error of the next best over its own, geometric mean and 95 % interval over potentials and nbeta, "

    def decided(level: float) -> Decision:
        return "holds" if all(above(mean_interval(of, level), 0.0) == "holds" for of in others) else "not shown"

    return Judged(f"{said}{Interval(*map(math.exp, closest))}", decided)


def is_near(sampler: str) -> Declared:
    """The claim that the ratio lies within the tolerance on every network, by the normal interval of each estimate."""

    def judge(table: pd.DataFrame) -> Judged:
        rows = ratios(where(part="network", sampler=sampler)(table))
        passed, off = rows["status"] == PASSED, (rows["ratio"] - 1).abs()
        told = rows.set_index("landscape")[["ratio", "error", "status"]]

        def decided(level: float) -> Decision:
            each, joint = (NormalDist().inv_cdf(1 - (1 - level) / 2 / k) / 2 * rows["error"] for k in (1, len(rows)))
            if not passed.all() or (off - joint > TOLERANCE).any():
                return "counterexample"
            return "holds" if (off + each < TOLERANCE).all() else "not shown"

        return Judged(f"estimate over coefficient, ± 2 MCSE: {listed(told, '{} {:.3f} ± {:.3f} ({})')}", decided)

    text = f"On every deep linear network {sampler} is within {TOLERANCE:.0%} of Aoyagi's coefficient, and passes its"
    return Declared(f"{text} diagnostics.", judge, f"largest |estimate / coefficient − 1| < {TOLERANCE:g}")


def rounds(judge: str) -> Selection:
    """A judge's rounds, each with the mean over its chains."""
    return by_seed(where(part="judge", sampler=judge), llc="mean", seconds="first")


NEAR = Share(where(part="potential"), lambda rows: rows["errors_in_mcse"].abs() <= 3, "estimates within 3 MCSE")
CLAIMS = [
    NEAR.is_all("On potentials every sampler is within 3 MCSE of the exact value.", "{sampler} on {landscape}"),
    tells("potential", "errors_in_mcse", 3, "3 MCSE"),
    Declared("On potentials, at equal numbers of gradients, one sampler errs less than each other sampler.", least),
    *map(is_near, SAMPLERS),
    tells("network", "relative_error", TOLERANCE, f"{TOLERANCE:.0%}"),
]
JUDGED = [  # where devinterp is installed
    Factor(rounds("devinterp"), "llc", "their estimate over ours", over=rounds("circuitgrok")).is_within(
        1 + TOLERANCE, f"SGLD of ours and of devinterp 1.3.2 at the same settings agree to {TOLERANCE:.0%}."
    ),
    Factor(rounds("devinterp"), "seconds", "their time over ours", over=rounds("circuitgrok")).exceeds(
        1, f"Ours draws faster than devinterp 1.3.2, {TOGETHER} chains at a time."
    ),
]


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Error against gradients on potentials, and the networks' estimates over the exact coefficient."""
    figure, (left, right) = figures.sheet(1, 2, (11, 4))
    course, networks = where(part="course")(table), ratios(where(part="network")(table)).sort_values("n_weights")
    names = networks["landscape"].unique().tolist()
    for i, (sampler, colour) in enumerate(COLOURS.items()):
        errors = where(sampler=sampler)(course).groupby("gradients")["rms_error"].describe()
        left.plot(errors["50%"], color=colour, marker="o", ms=3.5, label=sampler)
        left.fill_between(errors.index.to_numpy(), errors["25%"], errors["75%"], color=colour, alpha=0.1)
        for row in where(sampler=sampler)(networks).itertuples():
            fill, k = colour if row.status == PASSED else "white", names.index(row.landscape)
            right.errorbar(k + i / 8 - 0.25, row.ratio, row.error, fmt="o", color=colour, mfc=fill, ms=5)
    left.set(xscale="log", yscale="log", xlabel=f"gradients of {TOGETHER} chains together")
    budgets = sorted(course["gradients"].astype(int).unique().tolist())
    left.set_xticks(budgets, map(str, budgets))
    left.xaxis.minorticks_off()
    left.set_ylabel("relative error on potentials (rms; median, quartiles)")
    left.legend(fontsize=7, frameon=False, loc="lower left")
    right.set_xticks(range(len(names)), [name.replace(" rank", "\nrank") for name in names], fontsize=7)
    right.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color=figures.GREY, alpha=0.15, lw=0)
    right.axhline(1, color="black", lw=0.8)
    right.set(ylim=(0, 1.3), ylabel="estimate / Aoyagi's coefficient (± 2 MCSE)")
    right.set_xlabel("open: diagnostics not passed")
    return figure


def main() -> None:
    given = asked(QUESTION, __file__, "short chains and one network")
    judge = find_spec("devinterp") is not None
    n_draws, nbetas, networks = QUICK if given.quick else FULL
    torch.set_num_threads(1)
    jobs = [partial(on_network, *of) for of in product(reversed(networks), SAMPLERS, range(TIMES))]
    jobs += [partial(on_potential, name, nbeta, n_draws) for name in LANDSCAPES for nbeta in nbetas]
    rows = [line for lines in in_processes(jobs, given.threads, "sampling", "landscapes") for line in lines]
    if judge:
        rows += with_judge(*((150, 2) if given.quick else (2000, 20)))
    table = pd.DataFrame(rows)
    table["relative_error"] = table["llc"] / table["exact"] - 1
    table["errors_in_mcse"] = (table["llc"] - table["exact"]) / table["mcse"]
    table["gradients_per_effective_draw"] = table["gradients"] / table["ess"]
    costs = where(part="potential")(table).groupby("sampler", sort=False)["gradients_per_effective_draw"].median()
    orders = {str(net): (net.landscape().exact.multiplicity - 1) / math.log(net.nbeta) for net in networks}
    notes = [
        f"Potentials: localization {LOCALIZATION:g}; {CHAINS} chains of {n_draws} draws from the origin, {LEAPFROGS} "
        f"gradients a draw. Step size times the largest curvature: {listed(pd.Series(SHARES), '{} {:g}')}. By chance "
        "0.3 % of good estimates are further off than 3 MCSE, and more where the MCSE is itself uncertain. Median "
        f"gradients for an effective draw: {listed(costs, '{} {:.3g}')}.",
        f"Networks: population loss, {TOGETHER} chains from a most singular point, {TIMES} times. HMC's step was "
        "chosen by its acceptance on each; the others take theirs from it, and as many gradients a draw. Their "
        "coefficient is the limit at large nbeta; what a sampler can see is less by about (m - 1) / ln nbeta: "
        f"{listed(pd.Series(orders), '{} {:.2f}')}. `spread` is 1 where chains have arrived: those that have all gone "
        "the same small way from the point agree with each other.",
        "Judge: devinterp 1.3.2, the first network, first half of the draws left out. Its chains run one after the "
        "other, with a data loader and autograd; ours as one stack, with the gradient by hand."
        if judge
        else "devinterp is not installed (`pip install circuitgrok[judges]`), and its arm is left out.",
    ]
    decided = Decided({"": decide([*CLAIMS, *(JUDGED if judge else [])], table)})
    conclude(given, QUESTION, table, decided, draw(table), notes)


if __name__ == "__main__":
    main()
