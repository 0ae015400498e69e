"""Can canonical sampling of the training loss make a network grok, and do networks that generalise stay under it?

Chains of Hamiltonian Monte Carlo and of Langevin dynamics start at memorisers, at generalisers and at random weights,
free or on one sphere, with and without a Gaussian prior, at temperatures down to where sampling becomes slow descent;
20,000 gradients each. Where memorisers gain and generalisers stay, generalising is what equilibrium prefers; whether
chains have met R-hat over starts says. Beside them goes descent on the same potential, without any temperature: what it
gains as well is the prior's doing. All test pairs are unseen mirrors.

    python analyses/sampling_in_the_basin.py            # ten seeds
    python analyses/sampling_in_the_basin.py --quick    # two of a tiny network, for few draws: seconds
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.chain_scores import chain_scores, stable_below
from circuitgrok.landscape.exploration import JITTER
from circuitgrok.samplers.descent import descent
from circuitgrok.samplers.diagnostics import diagnose
from circuitgrok.samplers.geometry import FLAT, Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import Sampler, Target
from circuitgrok.samplers.tuned import WANTED, tuned
from circuitgrok.store.files import write_atomically
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.effects import GAIN, Factor, any_exceeds, draw_gains
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.training.progress import ticks

POINTS, MANY, MOST = 0.05, 0.20, 0.50  # of unseen mirrors: a change that counts, a large one, one that is grokking
SHARE = 0.05  # of the bound of stability at a start: the step size that is tried first
WIDTH = 0.5  # norm that a prior alone would have, in units of the memoriser's
NOT_MET = 1.1  # R-hat
CAME = 0.9  # of unseen mirrors: a chain that has come to generalise
SETTLED = 0.1  # of ln training loss
LEAST = 1e-16  # of a training loss whose logarithm is taken
TOGETHER = 30  # chains in a stack, at most


class Effort(NamedTuple):
    """Where chains start, and how long they are."""

    level: float  # training loss of memorisers, at most
    fitted: float  # train accuracy of memorisers, at least
    generalises: float  # accuracy on unseen mirrors of generalisers, at least
    gradients: int  # of a chain
    each: int  # of a draw: leapfrogs of a trajectory, steps of SGLD


FULL, QUICK = Effort(1e-2, 1.0, 0.9, 20_000, 50), Effort(2.4, 0.0, 0.0, 64, 2)


class Cell(NamedTuple):
    """One way to sample: where chains start, at which temperature."""

    sampler: str
    place: str  # free, or sphere: of the memoriser's norm
    prior: bool
    nbeta: float
    starts: Sequence[str]

    @property
    def name(self) -> str:
        """For people."""
        held = {"free": "", "sphere": ", sphere"}[self.place]
        return f"{self.sampler}{held}{', prior' * self.prior}, nβ {self.nbeta:.0e}".replace("e+0", "e")


MEMORISER, GENERALISER, RANDOM = STARTS = ("memoriser", "generaliser", "random")
CELLS = [
    Cell("HMC", "free", True, 1e5, STARTS),
    Cell("HMC", "free", True, 1e6, STARTS[:1]),
    Cell("HMC", "free", True, 1e7, STARTS[:1]),
    Cell("descent", "free", True, 1e5, STARTS[:1]),
    Cell("descent", "free", True, 1e7, STARTS[:1]),
    Cell("SGLD", "free", True, 1e5, STARTS[:1]),
    Cell("HMC", "sphere", False, 1e6, STARTS[:1]),
    Cell("HMC", "free", False, 1e6, STARTS[1:2]),
    Cell("SGLD", "sphere", False, 1e5, STARTS[:1]),
]
CELL_NAMES = [cell.name for cell in CELLS]
WARM, MIDDLE, COLD, DOWN_WARM, DOWN_COLD, LANGEVIN, HELD, BARE, LANGEVIN_HELD = CELL_NAMES
COLOURS = dict(zip(CELL_NAMES, (
    figures.ORANGE, figures.BLUE, figures.PURPLE, figures.RED, figures.GREY, figures.SKY, figures.GREEN, figures.RED,
    figures.PURPLE), strict=True))  # fmt: skip
STYLES = {MEMORISER: "-", GENERALISER: "--", RANDOM: ":"}


def networks(runs: Mapping[str, Run], labels: Mapping[str, Any], effort: Effort) -> dict[int, dict[str, Any]]:
    """By seed the starts that there are, and a run; seeds without a memoriser are left out."""
    found: dict[int, dict[str, Any]] = {}
    for name, run in runs.items():
        arm, seed, there = labels[name]["arm"], run.config.init.seed, run.history.loc[run.steps]
        if arm == "no decay":
            ok = (there["train_acc"] >= effort.fitted) & (there["train_loss"] <= effort.level)
            found.setdefault(seed, {})["run"] = run
        else:
            ok = there["test_mirror_unseen_acc"] >= effort.generalises
        if ok.any():
            step = int(there.index[ok][0] if arm == "no decay" else there.index[ok][-1])
            found.setdefault(seed, {})[MEMORISER if arm == "no decay" else GENERALISER] = run.at(step)
            found[seed][RANDOM] = run.at(0)
    return {seed: of for seed, of in found.items() if MEMORISER in of}


class Chain(NamedTuple):
    """One chain: of which seed, how, and from where."""

    seed: int
    cell: Cell
    begin: str

    @property
    def number(self) -> int:
        """The seed of what it draws."""
        return 10_000 * self.seed + 100 * CELLS.index(self.cell) + STARTS.index(self.begin)


def sampled(there: Mapping[int, dict[str, Any]], chains: Sequence[Chain], effort: Effort) -> pd.DataFrame:
    """Courses of chains that differ in seed, start and temperature alone: a line for each draw."""
    first, tasks = chains[0].cell, [there[chain.seed]["run"].task for chain in chains]
    model, task = there[chains[0].seed]["run"].config.model, tasks[0]
    trained, unseen = (torch.stack([one.where(name) for one in tasks]) for name in ("train", "test_mirror_unseen"))
    copies = {name: torch.stack([there[c.seed][c.begin][name] for c in chains]).float() for name in model.shapes()}
    loss = ChainLoss(model, task, trained, copies, chosen_pieces(model))
    at, nbeta = loss.start, torch.tensor([chain.cell.nbeta for chain in chains], dtype=torch.float64)
    memorisers = [there[chain.seed][MEMORISER] for chain in chains]
    radius = torch.tensor([sum(of[p.name].square().sum().item() for p in loss.pieces) for of in memorisers]).sqrt()
    if first.place == "sphere":
        at = at * (radius[:, None] / at.double().norm(dim=-1, keepdim=True)).to(at)
    prior = first.prior * at.shape[1] / (WIDTH * radius.double()).square()
    target, geometry = Target(loss, torch.zeros_like(at), nbeta, prior), Sphere() if first.place == "sphere" else FLAT
    each, is_sgld = effort.each, first.sampler == "SGLD"

    def sampler(size: torch.Tensor) -> Sampler:
        if is_sgld:
            return sgld(target, step_size=size, geometry=geometry)
        if first.sampler == "descent":
            return descent(target, step_size=size, n_leapfrog=each, geometry=geometry)
        return hmc(target, step_size=size, n_leapfrog=each, jitter=JITTER, geometry=geometry)

    def smallest(sizes: torch.Tensor) -> torch.Tensor:
        """Over the starts of a seed and cell: where the loss is lowest it is flat, and chains do not stay there."""
        return torch.stack(
            [min(size for size, of in zip(sizes, chains, strict=True) if of[:2] == c[:2]) for c in chains]
        )

    lines, n_draws = [], effort.gradients // each
    with ticks(f"sampling {first.name}, {len(chains)} chains,", "draws") as tick:
        seeds = [chain.number for chain in chains]
        for draw, now, kept, size in tuned(
            sampler, at, seeds, smallest(SHARE * stable_below(target, at)), n_draws, n_thin=each if is_sgld else 1
        ):
            position = now.state["position"]
            unknown = torch.full_like(nbeta, torch.nan)
            found = chain_scores(loss, position, {"unseen": unseen, "train": trained}) | {"step_size": size}
            found |= {"norm": position.double().norm(dim=-1), "diverged": (now.stopped_at >= 0).double()}
            found["acceptance"], found["delta_H"], value = (
                (kept.acceptance[0], kept.energy_error[0], kept.loss[0]) if kept else (unknown, unknown, unknown)
            )
            found["rounding"] = nbeta * (value - found["train_loss"])  # of energies, which float32 weights have
            found["share"] = size / stable_below(target, position) if draw in (n_draws // 2, n_draws) else unknown
            rows = pd.DataFrame({name: value.tolist() for name, value in found.items()})
            rows["cell"], rows["start"] = [c.cell.name for c in chains], [c.begin for c in chains]
            lines.append(rows.assign(seed=[c.seed for c in chains], gradients=draw * each))
            tick(draw, n_draws)
    return pd.concat(lines)


def sample_all(there: Mapping[int, dict[str, Any]], given: Any, effort: Effort) -> pd.DataFrame:
    """Courses of all chains; those of a stack are kept beside the runs."""
    stacks: dict[tuple[str, str, bool], list[Cell]] = {}
    for cell in CELLS:
        stacks.setdefault(cell[:3], []).append(cell)
    courses = []
    for cells in stacks.values():
        together = TOGETHER // sum(len(cell.starts) for cell in cells)
        for at in range(0, len(there), together):
            seeds, ways = list(there)[at : at + together], [(cell, begin) for cell in cells for begin in cell.starts]
            chains = [Chain(seed, *way) for seed in seeds for way in ways if way[1] in there[seed]]
            file = given.out / "runs" / f"chains-{CELLS.index(cells[0])}-s{seeds[0]}-{seeds[-1]}.json"
            if not file.exists():
                made = sampled(there, chains, effort)
                write_atomically(file, json.dumps(made.to_dict("records")).encode())
            courses.append(pd.DataFrame(json.loads(file.read_bytes())))
    return pd.concat(courses, ignore_index=True)


def r_hats(frozen: pd.DataFrame) -> list[float]:
    """R-hat over starts of the loss of unseen mirrors, the norm and ln training loss."""
    traces = [frozen.pivot(index="start", columns="gradients", values=name) for name in ("unseen_loss", "norm")]
    traces.append(frozen.pivot(index="start", columns="gradients", values="train_loss").clip(lower=LEAST).map(math.log))
    stacked = torch.stack([torch.tensor(trace.to_numpy()) for trace in traces])
    return diagnose(stacked, n_burnin=torch.zeros(3).long()).r_hat.tolist()


def counted(courses: pd.DataFrame) -> pd.DataFrame:
    """A line for each chain; and for each cell of several starts R-hat over them, in the frozen half."""
    lines = []
    for (cell, seed), of in courses.groupby(["cell", "seed"], sort=False):
        whole = of["gradients"].max()
        frozen, met = of[of["gradients"] > whole / 2], {}
        if {MEMORISER, GENERALISER} <= {*of["start"]}:
            met = dict(zip(("r_hat_unseen", "r_hat_norm", "r_hat_loss"), r_hats(frozen), strict=True))
            met |= {"r_hat_pair": r_hats(frozen[frozen["start"] != RANDOM])[0]}
        for begin, chain in of.groupby("start", sort=False):
            since, first, last = chain["gradients"] / whole, chain.iloc[0], chain.iloc[-1]
            late, came = chain[since > 0.5], (chain["unseen_acc"] >= CAME).cummax()
            outcome = chain.loc[since >= 0.8, "unseen_acc"].mean()
            line = {"arm": f"{cell}, {begin}", "cell": cell, "start": begin, "seed": seed, "outcome": outcome}
            line |= {
                "start_unseen": first["unseen_acc"],
                "gain": outcome - first["unseen_acc"],
                "best": chain["unseen_acc"].max(),
            }
            line |= {"came": chain.loc[came, "gradients"].min(), "back": chain.loc[came, "unseen_acc"].min()}
            third, fourth = (chain.loc[part, "train_loss"].mean() for part in (since.between(0.5, 0.75), since > 0.75))
            line["settling"] = math.log(max(fourth, LEAST) / max(third, LEAST))
            line |= {"acceptance": late["acceptance"].mean(), "abs_delta_H": late["delta_H"].abs().median()}
            line |= {"share": chain["share"].max(), "rounding": late["rounding"].abs().max()}
            line |= {name: last[name] for name in ("unseen_acc", "train_acc", "train_loss", "norm", "diverged")}
            lines.append(line | {"start_norm": first["norm"]} | met)
    return pd.DataFrame(lines)


def of(cell: str, begin: str) -> Selection:
    """The chains of a cell from one kind of start."""
    return where(cell=cell, start=begin)


def change(cell: str, begin: str) -> Mean:
    """By how much accuracy on unseen mirrors changes from the start to the last fifth."""
    return Mean(of(cell, begin), "gain", f"{cell}, from {begin}: last fifth less start, of unseen mirrors", bounds=GAIN)


def met(cell: str, column: str = "r_hat_unseen", of_what: str = "starts") -> Mean:
    """R-hat over the starts of a cell, in the loss of unseen mirrors, which no chain has constant."""
    known = where(cell=cell, start=MEMORISER, **{column: lambda r_hat: r_hat.notna()})
    return Mean(known, column, f"R-hat over {of_what} of the loss of unseen mirrors, {cell}")


def beside(cell: str, begin: str, other: str, from_there: str, column: str = "outcome") -> Mean:
    """A column of chains less that of others of the same seeds."""
    name = f"{column} of {cell}, from {begin}, less {other}, from {from_there}"
    return Mean(of(cell, begin), column, name, of(other, from_there), bounds=GAIN)


def settling(cell: str, begin: str) -> Mean:
    """By how much ln of the training loss changes from the third quarter to the last."""
    return Mean(of(cell, begin), "settling", f"ln training loss, last quarter less third, {cell}, from {begin}")


def generalised(table: pd.DataFrame) -> pd.DataFrame:
    """Chains with a prior, of 1e5 and 1e6, that answered most unseen mirrors at some draw."""
    return table[table["cell"].isin([WARM, MIDDLE]) & (table["best"] >= CAME)]


STAYS = f"stay, to {100 * 2 * POINTS:g} points"
FROM_MEMORISERS = [change(cell, MEMORISER) for cell in (WARM, MIDDLE, COLD)]
OVER, MORE, TEN = f"over {100 * MANY:g} points", f"more than {100 * POINTS:g} points", f"{200 * POINTS:g} points"
CLAIMS = [
    any_exceeds(FROM_MEMORISERS, MANY, f"From memorisers HMC with a prior groks: at some temperature it gains {OVER}."),
    any_exceeds(FROM_MEMORISERS, POINTS, f"It gains {MORE}."),
    change(HELD, MEMORISER).exceeds(POINTS, f"On the sphere HMC gains {MORE}."),
    change(LANGEVIN, MEMORISER).exceeds(POINTS, f"SGLD with a prior gains {MORE}."),
    change(WARM, RANDOM).exceeds(MANY, f"From random weights HMC with a prior gains {OVER}."),
    change(WARM, GENERALISER).exceeds(-2 * POINTS, f"With a prior generalisers {STAYS}."),
    change(BARE, GENERALISER).falls_below(-2 * POINTS, f"Without a prior free generalisers lose more than {TEN}."),
    Share(of(MIDDLE, MEMORISER), lambda rows: rows["acceptance"] > 0.5, "chains that accept over half of their steps")
    .is_all("HMC with a prior moves: from every memoriser it accepts over half of its steps."),
    Mean(of(MIDDLE, MEMORISER), "best", "best less last fifth, of unseen mirrors", by="outcome", bounds=GAIN)
    .falls_below(2 * POINTS, f"What it gains stays: less than {TEN} are lost from its best."),
    # what length alone can tell
    change(MIDDLE, MEMORISER).exceeds(MOST, f"At nβ = 1e6 they come to grok in time: over {100 * MOST:g} points."),
    beside(WARM, MEMORISER, WARM, GENERALISER)
    .is_within(2 * POINTS, f"At 1e5 chains from memorisers answer in the end what those of generalisers do, to {TEN}."),
    beside(WARM, RANDOM, WARM, GENERALISER)
    .is_within(2 * POINTS, f"So do those from random weights, to {TEN}."),
    met(WARM, "r_hat_pair", "memorisers and generalisers")
    .falls_below(NOT_MET, f"The first two have met: R-hat below {NOT_MET:g}.")
    .telling(met(WARM)),
    Share(generalised, lambda rows: rows["back"] > 0.5, f"chains that keep half once they had {CAME:g}")
    .is_all("With a prior nothing comes back from generalising, from wherever it came.", "seed {seed}, {arm}"),
    settling(WARM, MEMORISER)
    .is_within(SETTLED, f"At nβ = 1e5 the training loss no longer moves: by less than {SETTLED:g} in ln.")
    .telling(settling(WARM, GENERALISER), settling(MIDDLE, MEMORISER)),
    beside(COLD, MEMORISER, DOWN_COLD, MEMORISER, "gain")
    .is_within(POINTS, f"At nβ = 1e7 HMC is slow descent: it gains what descent does, to {100 * POINTS:g} points."),
    Factor(of(COLD, MEMORISER), "norm", "norm of HMC at nβ = 1e7 over that of descent", over=of(DOWN_COLD, MEMORISER))
    .is_within(1.02, "And ends at its norm, to 2 %."),
    change(DOWN_WARM, MEMORISER)
    .exceeds(MANY, f"It takes no temperature: descent on the potential of 1e5 gains {OVER}."),
    change(LANGEVIN, MEMORISER).exceeds(MANY, f"SGLD with a prior gains {OVER}."),
    change(LANGEVIN_HELD, MEMORISER).exceeds(POINTS, f"On the sphere SGLD gains {MORE}."),
    change(HELD, MEMORISER).exceeds(MANY, f"On the sphere HMC gains {OVER}."),
]  # fmt: skip
QUESTION = "Can canonical sampling of the training loss grok, and do generalisers stay under it?"
STUDY = Study(
    QUESTION,
    cg.TrainConfig.preset("quickstart").with_(
        p=23, d_model=32, d_head=8, d_mlp=128, split="mirror_free", frac_train=0.9, weight_decay=0.0, steps=500,
        **evenly(20),
    ),
    arms={"no decay": {}},
    seeds=range(10, 20),
)  # fmt: skip
GROKS = STUDY.with_(arms={"decay": {}}, weight_decay=2.0, steps=3000, checkpoint_every=100)
BOTH = Studies(QUESTION, {"memorisers": STUDY, "generalisers": GROKS}, claims=CLAIMS)
TINY = BOTH.with_(seeds=[0, 1], steps=60, p=11, d_model=16, d_head=4, d_mlp=32, checkpoint_every=10, frac_train=0.8)


PANELS = {
    f"from {MEMORISER}, prior": ([WARM, MIDDLE, COLD, DOWN_WARM, DOWN_COLD, LANGEVIN], [MEMORISER]),
    f"from {MEMORISER}, sphere": ([HELD, LANGEVIN_HELD], [MEMORISER]),
    f"from {GENERALISER} and {RANDOM} (dotted)": (CELL_NAMES, [GENERALISER, RANDOM]),
}


def draw(table: pd.DataFrame, courses: pd.DataFrame) -> "figures.Figure":
    """Unseen mirrors along chains by start; loss and norm; changes."""
    figure, axes = figures.sheet(2, 3, (14, 9.5))
    groups: Any = courses.groupby(["cell", "start"], sort=False)
    for (cell, begin), rows in groups:
        chosen = [ax for ax, (cells, starts) in zip(axes[0], PANELS.values(), strict=True)
                  if cell in cells and begin in starts]  # fmt: skip
        drawn = [(ax, "unseen_acc") for ax in chosen]
        if cell in (WARM, MIDDLE, COLD, DOWN_WARM, DOWN_COLD):
            drawn += [(axes[1, 0], "train_loss"), (axes[1, 1], "norm")]
        style = "-." if cell in (DOWN_WARM, DOWN_COLD) else STYLES[begin]
        for ax, column in drawn:
            curves = [chain.set_index(chain["gradients"] / 1000)[column] for _, chain in rows.groupby("seed")]
            figures.draw_band(ax, curves, COLOURS[cell], style, cell)
    for ax, title in zip(axes[0], PANELS, strict=True):
        ax.set(title=title, xlabel="thousand gradients", ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03))
    axes[1, 0].set(xlabel="thousand gradients", ylabel="training loss", yscale="log")
    axes[1, 1].set(xlabel="thousand gradients", ylabel="norm (dashed: generalisers, dotted: random)")
    gains = table.pivot(index="seed", columns="arm", values="gain")
    draw_gains(axes[1, 2], gains, {f"{c.name}, {s}": COLOURS[c.name] for c in CELLS for s in c.starts}, POINTS)
    axes[1, 2].set_xlabel("change of unseen mirrors, points (95 %)")
    figures.legends([*axes[0]])
    return figure


def main() -> None:
    given, study = BOTH.asked(__file__, TINY, "two seeds of a tiny network, few draws")
    effort = QUICK if given.quick else FULL
    torch.set_num_threads(given.threads)
    runs = study.train(given)
    there = networks(runs, study.labels(), effort)
    if not there:
        sys.exit(f"no seed has a memoriser; the runs are in {given.out}")
    courses = sample_all(there, given, effort)
    table = counted(courses)
    ends = table.groupby(["cell", "start"], sort=False)
    means = ends[
        ["outcome", "unseen_acc", "train_acc", "train_loss", "norm", "acceptance", "abs_delta_H", "share"]
    ].mean()
    hats = ["r_hat_unseen", "r_hat_pair", "r_hat_norm", "r_hat_loss"]
    r_hats_of = table.dropna(subset="r_hat_norm").groupby("cell", sort=False)[hats]
    came = ends["came"].agg(["count", "median"]).query("count > 0")
    notes = [
        f"Starts: memorisers are the first checkpoint without decay with train accuracy {effort.fitted:g} and training "
        f"loss {effort.level:g}; generalisers the last one with decay that answers {effort.generalises:g} of the "
        "unseen mirrors; random weights those of step 0. Seeds without a generaliser, left out of claims about these: "
        f"{', '.join(str(seed) for seed, of in there.items() if GENERALISER not in of) or 'none'}; there are "
        f"{len(there)}.",
        f"Chains: one for each start, cell and seed; {effort.gradients} gradients, {effort.each} for a draw "
        "(leapfrogs of one trajectory, steps of SGLD or in descent from rest) where no other number is said. Step "
        f"sizes start at {SHARE:g} of the bound of stability, follow acceptance ({WANTED:g}; of SGLD and descent that "
        "which a test would have) in the first half and are frozen in the second. The prior alone would have "
        f"{WIDTH:g} of the memoriser's norm, of its seed; the sphere has all of it. Weights of chains are float32, "
        f"energies float64; by rounding these are wrong by at most {table['rounding'].max():.1g}, the median chain's "
        f"largest by {table['rounding'].median():.1g}.",
        "Seeds are others than those of the chains of 3000 gradients that the first nine claims were made for (seeds 0 "
        "to 9, at commit edc642f), so that these are asked anew. There chains of SGLD (at 1e6) shared one step size, "
        "those from random weights were sampled at 1e6, and weights were float64. Pilots, of seeds 90 to 92, 500 and "
        "1000 gradients: whether the code runs, what a gradient costs; step sizes begin with the smallest of a seed's "
        "starts since then. Left out for want of cores (a run of 15 chains for each seed was stopped in its third "
        "minute, before any chain was written; the networks that it had trained are the starts of these): generalisers "
        "and random weights at 1e6, memorisers free without a prior, generalisers on the sphere, SGLD from "
        f"generalisers, at 1e6 and free without a prior; other lengths of trajectories. {LANGEVIN} and {HELD} were "
        "sampled last, when the verdicts of the others were known; nothing was changed for it.",
        "Means over seeds of unseen mirrors in the last fifth and at the end, train accuracy, training loss, norm, "
        "acceptance and median |ΔH| of the second half, step size over the bound of stability (the larger of halfway "
        "and the end): "
        f"{listed(means, '{} from {}: {:.2f}, {:.2f}, {:.3f}, {:.1e}, {:.1f}, {:.2f}, {:.2g}, {:.2g}', '; ')}. "
        f"Diverged: {int(table['diverged'].sum())} of {len(table)}.",
        f"Chains that came to {CAME:g} of the unseen mirrors, and after how many gradients in the median: "
        f"{listed(came, '{} from {}: {}, {:.0f}', '; ')}.",
        "R-hat in the second half, of the loss of unseen mirrors over all starts and over memorisers and generalisers, "
        "of norm and ln training loss over all, medians: "
        f"{listed(r_hats_of.median(), '{} {:.2f}, {:.2f}, {:.2f}, {:.2f}', '; ')}.",
    ]
    curves = courses.groupby(["cell", "start", "gradients"], sort=False)[["unseen_acc", "norm", "train_loss"]].mean()
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / "curves.csv", curves.reset_index().to_csv(index=False, float_format="%.4g").encode())
    study.write(given, table, draw(table, courses), notes, runs=study.table(runs))


if __name__ == "__main__":
    main()
