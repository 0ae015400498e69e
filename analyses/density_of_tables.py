"""Which tables are dense on a sphere of weights: a group's, other Latin squares, tables without order?

In `density_by_radius` the truth about unseen pairs is rarer by mass than answers at random. A reading was that in a
table of additions every answer stands once in each row and column. Here whole tables of 11 by 11 pairs are fitted, and
ln Z tells how much of the sphere does: additions; Latin squares drawn at random; tables with eleven of every answer and
without order. And where all but some twenty pairs have the answers of addition, these have them too, or others that
make a Latin square as well (a trade), or those of the trade in another order. Then R_gen and R_mem differ by ln Z
alone, for the pairs trained on are the same.

    python analyses/density_of_tables.py            # ten draws of tables: half an hour
    python analyses/density_of_tables.py --quick    # two of order 5, short ladders: seconds
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from circuitgrok import figures
from circuitgrok.landscape.density import Effort, cooled, evidence
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.evidence import decide
from circuitgrok.study.processes import in_processes
from circuitgrok.study.question import conclude
from circuitgrok.study.registered import announced, in_words, is_post_hoc
from circuitgrok.study.rows import listed
from circuitgrok.study.verdicts import Decided
from circuitgrok.tasks.latin import latin_square, latin_walk
from circuitgrok.tasks.modular import modular_addition

QUESTION = "Which tables are dense on a sphere of weights: a group's, other Latin squares, tables without order?"
Table = Int[Tensor, "p p"]


class Setting(NamedTuple):
    """What is sampled, and how long."""

    p: int = 11
    n_neurons: int = 100
    radius: float = 20.0
    coldest: float = 4.0
    effort: Effort = Effort(n_ladders=2, n_rounds=50, n_burnin=30)
    least: int = 16  # cells of a trade
    most: int = 32


FULL, QUICK = Setting(), Setting(5, 6, 3.0, 1.0, Effort(2, 6, 4, 2, 8), 6, 20)
ADDITION, LATIN, BALANCED, TRADE, SHUFFLED = "addition", "Latin", "balanced", "trade", "trade, shuffled"
KINDS: tuple[str, ...] = (ADDITION, LATIN, BALANCED, TRADE, SHUFFLED)
COLOURS: dict[str, str] = dict(
    zip(KINDS, (figures.BLUE, figures.SKY, figures.GREY, figures.GREEN, figures.RED), strict=True)
)
TEMPERATURES = {"plain": 1.0, "cold": FULL.coldest}


def of(kind: str) -> Selection:
    """Rows of a kind of table, one for each draw."""
    return where(kind=kind)


def less(kind: str, other: str, when: str = "plain") -> Mean:
    """By how much ln Z of a kind exceeds that of another, at β = 1 or at the coldest rung."""
    return Mean(of(kind), when, f"ln Z, {kind} less {other}, β = {TEMPERATURES[when]:g} (nats)", less=of(other))


CLAIMS = [
    less(ADDITION, BALANCED)
    .falls_below(-5, "Order costs mass: additions are rarer than tables without order, by over 5 nats (β = 1)."),
    less(LATIN, BALANCED).falls_below(-5, "So is any Latin square, by over 5 nats (β = 1)."),
    less(ADDITION, LATIN).is_within(5, "By mass additions are like other Latin squares, to 5 nats (β = 1)."),
    less(ADDITION, LATIN, "cold")
    .exceeds(5, f"Colder, a circuit pays: additions are denser than these, by over 5 nats (β = {FULL.coldest:g})."),
    less(ADDITION, TRADE).is_within(
        5, "Where all other pairs are those of addition, another completion to a Latin square is as dense as the "
        "truth, to 5 nats (β = 1).",
    ),
    less(TRADE, SHUFFLED)
    .falls_below(0, "And rarer than the same answers on the same pairs in another order (β = 1)."),
    less(ADDITION, SHUFFLED).falls_below(0, "As the truth is (β = 1)."),
]  # fmt: skip


def addition(p: int) -> Table:
    """a + b mod p."""
    return torch.arange(p)[:, None].add(torch.arange(p)) % p


def trade(setting: Setting, draws: torch.Generator) -> Table:
    """A Latin square that differs from addition in a number of cells between bounds, the first on a walk from it."""
    truth = addition(setting.p)
    while True:
        for found in latin_walk(truth, draws):
            differing = int((found != truth).sum())
            if setting.least <= differing <= setting.most:
                return found
            if differing > setting.most:
                break


def tables(seed: int, setting: Setting) -> dict[str, Table]:
    """A table of each kind, drawn by the seed."""
    draws = torch.Generator().manual_seed(seed)
    truth = addition(setting.p)
    traded = trade(setting, draws)
    balanced = truth.flatten()[torch.randperm(truth.numel(), generator=draws)].view_as(truth)
    shuffled, differ = traded.clone(), traded != truth
    answers = traded[differ]
    shuffled[differ] = answers[torch.randperm(len(answers), generator=draws)]
    return dict(zip(KINDS, (truth, latin_square(truth, draws), balanced, traded, shuffled), strict=True))


def counted(seed: int, kind: str, setting: Setting) -> dict[str, Any]:
    """ln Z of a table at both temperatures."""
    labels = tables(seed, setting)[kind]
    task = replace(modular_addition(setting.p, 0.5), labels=labels.flatten())
    pairs = QuadraticMLP(p=setting.p, n_neurons=setting.n_neurons), task, torch.ones_like(task.is_train)
    own = 100 * seed + KINDS.index(kind)
    rungs = cooled(*pairs, setting.radius, setting.coldest, setting.effort, 100 * own)
    found = evidence(*pairs, rungs, setting.effort, own)
    plain, cold = found.at(1.0), found.at(setting.coldest)
    return {
        "kind": kind, "seed": seed, "plain": plain.mean().item(), "cold": cold.mean().item(),
        "ladders_differ": (cold.max() - cold.min()).item(), "accuracy": found.accuracy.mean().item(),
        "differing": int((labels != addition(setting.p)).sum()), "rungs": len(found.betas),
        "traded": found.traded.nan_to_num(1.0).min().item(),
    }  # fmt: skip


def draw(table: pd.DataFrame) -> "figures.Figure":
    """ln Z of every table less that of addition with the same draw, by kind, at both temperatures."""
    figure, axes = figures.sheet(1, 2, (8.4, 3.6))
    for ax, (when, beta) in zip(axes, TEMPERATURES.items(), strict=True):
        wide = table.pivot(index="seed", columns="kind", values=when)
        kinds = [kind for kind in KINDS if kind in wide and kind != ADDITION]
        for place, kind in enumerate(kinds):
            off = wide[kind] - wide[ADDITION]
            sideways = torch.linspace(-0.15, 0.15, len(off)).tolist()
            ax.plot([place + x for x in sideways], off, "o", ms=4, color=COLOURS[kind])
            ax.plot([place - 0.25, place + 0.25], [off.mean()] * 2, color=COLOURS[kind], lw=1.5)
        ax.axhline(0, color="black", lw=0.8)
        ax.set_xticks(range(len(kinds)), [kind.replace(", ", ",\n") for kind in kinds])
        ax.set_ylabel(f"ln Z less that of addition (nats), β = {beta:g}")
    return figure


def main() -> None:
    given, record = announced(QUESTION, __file__, "two draws of order 5, short ladders", range(10), CLAIMS)
    setting, seeds = (QUICK, range(2)) if given.quick else (FULL, range(10))
    jobs: list[Callable[[], dict[str, Any]]] = [
        partial(counted, seed, kind, setting) for seed in seeds for kind in KINDS
    ]
    table = pd.DataFrame(in_processes(jobs, given.threads, "counting", "tables"))
    late = frozenset(claim.text for claim in CLAIMS if is_post_hoc(claim.text, record))
    by_kind = table.groupby("kind", sort=False)
    means = by_kind[["plain", "cold", "accuracy", "differing"]].mean()
    apart = table["ladders_differ"].pow(2).mean() ** 0.5
    each = sorted(where(kind=TRADE)(table)["differing"])
    said = [
        in_words(record, given.script),
        f"n counts draws of tables. p = {setting.p}, quadratic network, {setting.n_neurons} neurons, r = "
        f"{setting.radius:g}; all {setting.p**2} pairs. Means of ln Z at β = 1 and {setting.coldest:g}, accuracy of "
        "the coldest rung, cells that differ from addition: "
        f"{listed(means, '{}: {:.1f}, {:.1f}, {:.2f}, {:.0f}', '; ')}.",
        f"{setting.effort.n_ladders} ladders for each table, {setting.effort.n_rounds} rounds after "
        f"{setting.effort.n_burnin}, hot starts; two ladders of a table differ by {apart:.2g} nats at the coldest rung "
        f"(root mean square), additions, which are the same table with every draw, by a standard deviation of "
        f"{of(ADDITION)(table)['cold'].std():.2g}; least rate of trades {table['traded'].min():.2f}.",
        f"Latin squares after {setting.p}³ steps of Jacobson and Matthews' walk from addition; trades are the first "
        f"squares on such a walk that differ from it in {setting.least} to {setting.most} cells: {each}. Nothing was "
        "looked at before but the running time.",
    ]
    conclude(given, QUESTION, table, Decided({"": decide(CLAIMS, table)}, late), draw(table), said)


if __name__ == "__main__":
    main()
