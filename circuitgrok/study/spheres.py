"""Density against selection: how much of a sphere generalises, beside the share of an optimizer's starts that do.

A cell is a split of the pairs and a radius. Runs from many starts are trained in each with their norm held; the share
of them that comes to answer the pairs that were held out is the optimizer's luck. Of some cells the density is told as
well (`cg.density`): R_gen and R_mem by chains that start at random, and R_gen by chains that start at the network of
the cell which answers most of these pairs.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok import figures
from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.landscape.density import Effort
from circuitgrok.store.run import Run, load
from circuitgrok.study.asked import Asked
from circuitgrok.study.kept import keep_rows, kept_rows
from circuitgrok.study.processes import in_processes
from circuitgrok.study.registered import Announced
from circuitgrok.study.rows import listed, slug
from circuitgrok.study.study import Study
from circuitgrok.table.density import density

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PLAIN = 1.0  # the inverse temperature at which a network answers by its own softmax


class Counting(NamedTuple):
    """How the density of a cell is told.

    Attributes:
        effort: Length and fineness of each ladder.
        coldest: Inverse temperature of the last rung, 1 or more.
        n_wrong: Draws of wrong labels of each cell.
    """

    effort: Effort
    coldest: float
    n_wrong: int


def many_starts(
    question: str,
    base: TrainConfig,
    radii: Sequence[float],
    n_starts: int,
    splits: Sequence[int],
    claims: Sequence[Announced],
) -> Study:
    """The study whose seeds are splits of the pairs and whose arms are starts, at every radius."""
    arms = {f"start {i}": partial(from_start, i) for i in range(n_starts)}
    return Study(question, base, arms, {"norm_radius": radii}, seeds=splits, seeded=("data_seed",), claims=claims)


def from_start(i: int, cell: TrainConfig) -> dict[str, Any]:
    """Leaves of the i-th of the starts of a cell's split: no two splits have one in common, of a thousand each."""
    return {"seed": 1000 * cell.leaves()["data_seed"] + i}


def beside_luck(
    given: Asked,
    trained: "pd.DataFrame",
    runs: Mapping[str, Run],
    hit: float,
    how: Counting,
    counted: Collection[tuple[float, int]],
    part: str = "",
) -> "pd.DataFrame":
    """A row for each radius and split: the share of starts that generalise, and of some cells the density.

    Rows of cells that are counted are kept beside the verdict (`rows.jsonl`), as long as nothing that they hang on has
    changed; ladders of cells that are not finished are kept beside the runs.

    Args:
        given: Where, and in how many processes.
        trained: A row for each run, in the order of `runs`, with `norm_radius`, `seed` (of the split), `test_acc`.
        runs: That were trained.
        hit: Accuracy on the pairs that were held out, at the end, of a start that generalises.
        how: The density is told.
        counted: Radii and splits of which it is.
        part: Of a question of several studies the one that these runs are of: it has a file of rows of its own.

    Returns:
        Columns `radius`, `seed`, `hits`; if any cell is counted, nan where one is not: `chance`, `R_gen` with
        `R_gen_low` and `R_gen_high`, `R_mem`, `excess` (their difference), `above_chance`, `disagreement` (R_gen of
        planted less of hot starts) in nats at β = 1; `R_gen_cold`, `R_mem_cold`, `excess_cold`, `R_planted_cold`,
        `above_chance_cold` at the coldest rung; `status`; accuracies of the coldest rung: of what fits the training
        pairs on these and on the others (`acc_train`, `acc_unseen`), of what fits all on the others (`acc_all`);
        `traded`, the least rate of trades.
    """
    import pandas as pd

    of_cell = ["seed", "norm_radius"]  # split by split: what is interrupted has some of them whole
    named = trained.assign(name=list(runs), is_hit=trained["test_acc"] >= hit)
    hits = named.groupby(of_cell)["is_hit"].mean().rename_axis(["seed", "radius"]).rename("hits").reset_index()
    hits = hits.sort_values(["radius", "seed"], ignore_index=True)
    if not counted:
        return hits
    jobs, digests, ladders = {}, {}, given.out / "runs" / "ladders" / part
    file = given.out / (slug(f"rows {part}").replace("-", "_") + ".jsonl")
    for (seed, radius), of in named.groupby(of_cell):
        if (radius, seed) not in counted:
            continue
        name = f"{radius:g}-{seed}"
        best = runs[of.sort_values("test_acc", kind="stable")["name"].iloc[-1]]
        digests[name] = sha256(canonical_json([best.config.hash, list(how.effort), how.coldest, how.n_wrong]).encode())
        jobs[name] = partial(cell_row, best.config, f"{best.path}@{best.steps[-1]}", how, str(ladders / name))
    kept = kept_rows(file, digests)
    missing = [name for name in jobs if name not in kept or (ladders / name).exists()]
    cells = kept | dict(
        zip(missing, in_processes([jobs[name] for name in missing], given.threads, "counting", "spheres"), strict=True)
    )
    keep_rows(file, {name: cells[name] for name in jobs}, digests)
    rows = hits.merge(pd.DataFrame([cells[name] for name in jobs]), on=["radius", "seed"], how="left")
    return rows.assign(excess_cold=rows["R_gen_cold"] - rows["R_mem_cold"])


def cell_row(config: TrainConfig, planted: str, how: Counting, keep: str) -> dict[str, Any]:
    """The density of a cell as a line of the table; ladders are kept in a folder as they are finished."""
    leaves = config.leaves()
    folder, step = planted.rsplit("@", 1)
    Path(keep).mkdir(parents=True, exist_ok=True)
    found = density(
        config.model, config.task.draw(), leaves["norm_radius"], beta=how.coldest, n_wrong=how.n_wrong,
        temperature=config.temperature, planted=load(folder).at(int(step)), effort=how.effort,
        seed=leaves["data_seed"], keep=keep,
    )  # fmt: skip
    hot, there = (found.generalising(start, PLAIN) for start in ("hot", "planted"))
    rows = found.table.groupby(["data", "start"])[["acc_train", "acc_held", "traded"]].mean()
    return {
        "radius": leaves["norm_radius"],
        "seed": leaves["data_seed"],
        "chance": found.chance,
        "R_gen": hot.value,
        "R_gen_low": hot.low,
        "R_gen_high": hot.high,
        "R_mem": found.memorising(PLAIN).value,
        "excess": found.excess(PLAIN).value,
        "above_chance": hot.value - found.chance,
        "disagreement": there.value - hot.value,
        "R_gen_cold": found.R_gen.value,
        "R_mem_cold": found.R_mem.value,
        "R_planted_cold": found.generalising("planted").value,
        "above_chance_cold": found.R_gen.value - found.chance,
        "status": found.status,
        "acc_train": rows.loc[("train", "hot"), "acc_train"],
        "acc_unseen": rows.loc[("train", "hot"), "acc_held"],
        "acc_all": rows.loc[("all", "hot"), "acc_held"],
        "traded": rows["traded"].min(),
    }


def said_of(rows: "pd.DataFrame", n_starts: int, hit: float, how: Counting) -> list[str]:
    """Notes of a verdict: what counts as a hit, means by radius, how long ladders were and how well they traded."""
    by_radius = rows.groupby("radius")
    means = by_radius[["hits", "R_gen", "R_mem", "R_gen_cold", "R_mem_cold", "R_planted_cold"]].mean()
    right = by_radius[["acc_train", "acc_unseen", "acc_all", "traded"]].mean().dropna()
    statuses, cold = rows.groupby("status").size(), f"{how.coldest:g}"
    words = "r = {:g}: {:.2f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}"
    return [
        f"n counts splits. {n_starts} starts for each split and radius; one has come to generalise with a test "
        f"accuracy of {hit:g} at the end. Chance is {rows['chance'].max():.1f} nats, of answers that are certain; who "
        f"gives every answer alike has {cold} times as much at β = {cold}, so that there wrong labels are what the "
        f"truth is to be held against. Shares of starts: {listed(means[['hits']], 'r = {:g}: {:.2f}', '; ')}.",
        f"Means over splits of the share of starts, R_gen and R_mem at β = {PLAIN:g}, the same at β = {cold}, and "
        f"R_gen there from planted starts: {listed(means.dropna(), words, '; ')}.",
        f"{how.effort.n_ladders} ladders for each data set, {how.effort.n_rounds} rounds after {how.effort.n_burnin}, "
        f"{how.n_wrong} draws of wrong labels for each sphere. Accuracies of the coldest rung where the training pairs "
        "are fitted, on these and on the others (at random 0.09), on the others where all are fitted, and the least "
        f"rate of trades: {listed(right, 'r = {:g}: {:.2f}, {:.3f}, {:.2f}, {:.2f}', '; ')}. Hot and planted starts by "
        f"the intervals of each sphere: {listed(statuses, '{}: {:g}')}. Planted: the network of the split and radius "
        "that answers most test pairs, which is not always all of them.",
    ]


def draw_beside_luck(table: "pd.DataFrame", coldest: float) -> "Figure":
    """R_gen and R_mem against the radius at two temperatures, and below them the optimizer's success."""
    figure, axes = figures.sheet(2, 2, (7.2, 5.2), sharex=True, height_ratios=[2, 1])
    densities = table.dropna(subset="R_gen")
    for ax, end, said in zip(axes[0], ("", "_cold"), (f"β = {PLAIN:g}", f"β = {coldest:g}"), strict=True):
        figures.draw_seeds(ax, densities, "radius", f"R_gen{end}", figures.BLUE, "-", "truth, $R_{gen}$")
        figures.draw_seeds(ax, densities, "radius", f"R_mem{end}", figures.RED, "--", "wrong labels, $R_{mem}$")
        ax.axhline(densities["chance"].iloc[0], color=figures.GREY, ls=":", label="chance")
        ax.set_ylabel(f"ln share of what fits\nthe training pairs (nats), {said}")
    for ax in axes[1]:
        figures.draw_seeds(ax, table, "radius", "hits", figures.GREEN, "-", "optimizer")
        ax.set(ylim=(-0.03, 1.03), ylabel="share of starts\nthat generalise")
        figures.values_axis(ax, sorted(table["radius"].unique()), "held norm r")
    figures.legends([axes[0, 0]])
    return figure
