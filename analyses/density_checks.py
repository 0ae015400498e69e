"""Do four ways to measure a volume of weights agree, where it is known and where it is not?

The volume is the share of a sphere on which a score is low. Where it is known exactly (a cap, a quadratic form,
orthogonal inputs of a perceptron) each estimate is held against it. Where it is not, the score is the training loss of
a quadratic network on additions modulo 5, mean cross-entropy below `LOW`, and the estimates are held against each
other: subset simulation, which cuts off levels; Wang and Landau's walk, which visits all losses alike; replica
exchange, whose samples at the temperature next to the level are weighted back,

    V = Z(b) E_b[exp(b L), L low];

and the local volume around a solution, of which only a bound is claimed. They share the moves of no two.

    python analyses/density_checks.py            # minutes
    python analyses/density_checks.py --quick    # seconds: two seeds, short chains
"""

import math
from typing import Any, NamedTuple

import pandas as pd
import torch

from circuitgrok import figures
from circuitgrok.exact.volumes import ln_cap, ln_quadratic, ln_two_inputs, teacher_entropy
from circuitgrok.geometry import uniform
from circuitgrok.landscape.density import Effort, cooled, n_weights, summed_loss, summed_value
from circuitgrok.landscape.local_volume import local_volume_of
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.samplers.evidence import ln_evidence
from circuitgrok.samplers.exchange import exchange
from circuitgrok.samplers.subset import Score, subsets
from circuitgrok.samplers.wang_landau import wang_landau
from circuitgrok.study.asked import asked
from circuitgrok.study.claims import Mean, where
from circuitgrok.study.evidence import decide
from circuitgrok.study.question import conclude
from circuitgrok.study.rows import listed
from circuitgrok.study.verdicts import Decided
from circuitgrok.tasks.modular import modular_addition

QUESTION = "Do four ways to measure a volume of weights agree, where it is known and where it is not?"
P, NEURONS, RADIUS, LOW, COLDEST = 5, 6, 10.0, 0.5, 4.0  # mean cross-entropy in nats; inverse temperature of the sums
DIM, INPUTS = 20, torch.tensor([[1.0, 0.0], [math.cos(2.0), math.sin(2.0)]]).double()
WAYS = {"subset": figures.BLUE, "walk": figures.ORANGE, "exchange": figures.GREEN, "local": figures.GREY}
AGREE, BINS = 0.5, 28  # nats; of ln of the loss


class Known(NamedTuple):
    """A score whose low share is known, and edges for a histogram of it."""

    score: Score
    threshold: float
    exact: float
    edges: torch.Tensor


def teacher(dim: int, load: float) -> Known:
    """The least margin of perceptrons on the answers of one of them; exact for large dimensions only."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(int(load * dim), dim, generator=draws, dtype=torch.float64)
    signed = (x * (x @ torch.randn(dim, generator=draws, dtype=torch.float64)).sign()[:, None]).T.contiguous()
    edges = torch.linspace(0, 2.5, 26).double()
    return Known(lambda w: -(w @ signed).amin(1), 0.0, dim * teacher_entropy(load), edges)


KNOWN = {
    "a cap": Known(lambda w: -w[:, 0], -math.cos(0.6), ln_cap(DIM, 0.6), -torch.linspace(0.6, 1.6, 21).double().cos()),
    "six coordinates": Known(
        lambda w: w[:, :6].square().sum(1), 0.01, ln_quadratic(DIM, 6, 0.01), torch.logspace(-2, -0.3, 16).double()
    ),
    "orthogonal inputs": Known(
        lambda w: (w[:, :12] < 0).double().sum(1), 0.0, -12 * math.log(2), torch.arange(12).double() + 0.5
    ),
    "two inputs": Known(
        lambda w: ((w[:, :2] @ INPUTS.T) < 0).double().sum(1),
        0.0,
        ln_two_inputs(2.0),
        torch.tensor([0.5, 1.5]).double(),
    ),
}
known, learnt = (where(part=part) for part in ("known", "network"))
CLAIMS = [
    *(
        Mean(where(part="known", way=way), "off", f"{way} less exact, mean over scores (nats)")
        .is_within(0.25, f"Where it is known, {said} is right to a quarter of a nat.")
        for way, said in (("subset", "subset simulation"), ("walk", "Wang and Landau's walk"))
    ),
    Mean(learnt, "subset", "subset less walk (nats)", by="walk")
    .is_within(AGREE, "Of a network, subset simulation and the walk agree to half a nat."),
    Mean(learnt, "exchange", "exchange less subset (nats)", by="subset")
    .is_within(AGREE, "And so do replica exchange and subset simulation."),
    Mean(learnt, "local", "local volume less subset (nats)", by="subset")
    .falls_below(0, "The local volume of a solution is less than the volume of all."),
]  # fmt: skip


class Lengths(NamedTuple):
    """How long each way goes on."""

    particles: int = 600
    moves: int = 20
    learning: int = 12_000
    rounds: int = 16_000
    exchanges: int = 1000
    rays: int = 2000


def of_known(name: str, seed: int, how: Lengths) -> list[dict[str, Any]]:
    """What subset simulation and the walk say of a share that is known, less what it is."""
    score, threshold, exact, edges = KNOWN[name]
    like = torch.zeros(how.particles, DIM, dtype=torch.float64)
    found = {"subset": subsets(score, 1.0, like, threshold, [seed], n_moves=how.moves).mean}
    start = uniform(64, DIM, torch.Generator().manual_seed(seed))
    walk = wang_landau(lambda w: score(w)[:, None], [edges], start, seed, n_learn=how.learning, n_rounds=how.rounds)
    found["walk"] = walk.ln_share[0].item()
    return [
        {"part": "known", "name": name, "seed": seed, "way": way, "off": finite(ln - exact)}
        for way, ln in found.items()
    ]


def of_network(seed: int, how: Lengths) -> dict[str, Any]:
    """ln of the volume at a low training loss in four ways; the seed draws the split, and all else."""
    model, task = QuadraticMLP(p=P, n_neurons=NEURONS), modular_addition(P, 0.6, seed, "mirror_free")
    pairs = model, task, task.is_train
    n, dim, value = int(task.is_train.sum()), n_weights(model), summed_value(model, task, task.is_train)
    like, draws = torch.zeros(how.particles, dim, dtype=torch.float64), torch.Generator().manual_seed(seed)
    levels = subsets(value, RADIUS, like, LOW * n, [seed], n_moves=how.moves)
    start = RADIUS * uniform(64, dim, draws)
    edges = torch.linspace(math.log(LOW * n), value(start).log().median().item(), BINS).double()
    walk = wang_landau(
        lambda w: value(w).log()[:, None], [edges], start, seed,
        n_learn=how.learning, n_rounds=how.rounds,
    )  # fmt: skip
    effort = Effort(n_ladders=2, n_rounds=how.exchanges, n_burnin=how.exchanges // 3, n_leapfrog=6)
    rungs = cooled(*pairs, RADIUS, COLDEST, effort, 1000 * seed)
    chains = [torch.Generator().manual_seed(10**6 * (seed + 1) + i) for i in range(2 * len(rungs.betas))]
    found = exchange(
        summed_loss(*pairs), rungs.positions[:, :2].transpose(0, 1).contiguous(), rungs.betas, chains,
        n_rounds=effort.n_rounds, n_burnin=effort.n_burnin, n_leapfrog=6, step_sizes=rungs.step_sizes,
    )  # fmt: skip
    local = local_volume_of(value, levels.positions[0, 0], LOW * n, seed, n_rays=how.rays)
    ways = {"subset": levels.mean, "walk": finite(walk.ln_share[0].item())}
    ways["exchange"] = finite(weighted_back(found.losses, rungs.betas, n))
    return {"part": "network", "name": f"p = {P}", "seed": seed, **ways, "local": local.ln_volume, "worth": local.worth}


def finite(ln: float) -> float:
    """The number, nan where nothing was reached."""
    return ln if math.isfinite(ln) else math.nan


def weighted_back(losses: torch.Tensor, betas: torch.Tensor, n: int) -> float:
    """ln of Z(b) E_b[exp(b L), L low] at the rung whose median loss is next to the level; the mean over ladders."""
    k = int((losses.flatten(0, 1).median(0).values - LOW * n).abs().argmin())
    at, b = losses[..., k], betas[k]
    terms = torch.where(at <= LOW * n, b * at, -torch.inf)
    return (ln_evidence(losses, betas)[:, k] + torch.logsumexp(terms, 0) - math.log(len(at))).mean().item()


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Estimates less what is known, by score; of the network all four, by seed."""
    figure, (left, right) = figures.sheet(1, 2, (9, 3.6))
    rows = known(table)
    names = list(dict.fromkeys(rows["name"]))
    for shift, way in ((-0.12, "subset"), (0.12, "walk")):
        of = where(way=way)(rows)
        left.plot([names.index(name) + shift for name in of["name"]], of["off"], "o", ms=3, color=WAYS[way], label=way)
    left.axhline(0, color="black", lw=0.8)
    left.set_xticks(range(len(names)), names, rotation=12)
    left.set_ylabel("estimate less exact ln V (nats; a dot a seed)")
    of = learnt(table)
    for shift, (way, colour) in zip((-0.2, 0, 0.2, 0), WAYS.items(), strict=True):
        right.plot(
            of["seed"] + shift, of[way], "o", ms=4, color=colour, label=way if way != "local" else "local (a bound)"
        )
    right.set(xlabel="seed (of the split and of all draws)", ylabel=f"ln V, mean training loss below {LOW:g} nats")
    figures.legends([left, right])
    return figure


def main() -> None:
    given = asked(QUESTION, __file__, "two seeds and short chains")
    torch.set_num_threads(given.threads)
    seeds = range(2) if given.quick else range(10)
    how = Lengths(60, 5, 200, 200, 30, 50) if given.quick else Lengths()
    rows = [row for seed in seeds for name in KNOWN for row in of_known(name, seed, how)]
    over_scores = pd.DataFrame(rows).groupby(["part", "seed", "way"], as_index=False)["off"].mean()
    table = pd.DataFrame([*rows, *(of_network(seed, how) for seed in seeds)])
    decided = decide(CLAIMS, pd.concat([over_scores, learnt(table)]))
    spread = learnt(table)[[*WAYS, "worth"]].agg(["mean", "std"])
    dim = 200
    one = teacher(dim, 1.0)
    like = torch.zeros(how.particles // 4, dim, dtype=torch.float64)
    per_weight = [
        subsets(one.score, 1.0, like, one.threshold, [seed], n_moves=how.moves).mean / dim
        for seed in (() if given.quick else range(2))
    ]
    of_teacher = ", ".join(f"{x:.3f}" for x in per_weight) or "not asked"
    size = n_weights(QuadraticMLP(p=P, n_neurons=NEURONS))
    notes = [
        f"Network: a quadratic one, p = {P}, {NEURONS} neurons, {size} weights on a sphere of {RADIUS:g}; 60 % of the "
        "pairs, mirrors on one side. Means and spreads over seeds, of volumes in nats: "
        f"{listed(spread.T, '{} {:.4g} ± {:.2g}', '; ')}.",
        f"Perceptrons of {dim} weights on as many answers of a teacher: ln V per weight {one.exact / dim:.3f} for many "
        f"weights (Gardner and Derrida 1989); by subset simulation {of_teacher}.",
        "A walk's bin that nobody reached has no share: then the walk is not known, and no claim about it is decided.",
    ]
    conclude(given, QUESTION, table, Decided({"": decided}), draw(table), notes)


if __name__ == "__main__":
    main()
