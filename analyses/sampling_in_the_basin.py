"""Can canonical sampling of the training loss make a network grok, and do networks that generalise stay under it?

Chains of Hamiltonian Monte Carlo and of Langevin dynamics start at memorisers, at generalisers and at random weights,
free or on one sphere, with and without a Gaussian prior, at temperatures down to where sampling becomes slow descent.
Where memorisers gain and generalisers stay, generalising is what equilibrium prefers; where both stay as they are,
chains have not met, and R-hat over starts says so. All test pairs are unseen mirrors.

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
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.curvature import random_starts, sharpness
from circuitgrok.landscape.exploration import JITTER
from circuitgrok.samplers.diagnostics import diagnose
from circuitgrok.samplers.geometry import FLAT, Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import Target
from circuitgrok.store.files import write_atomically
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.effects import GAIN, draw_gains
from circuitgrok.study.evidence import Declared, Judged
from circuitgrok.study.intervals import Decision
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.training.progress import ticks

POINTS, MANY = 0.05, 0.20  # of unseen mirrors: a change that counts, and a large one
SHARE = 0.05  # of the bound of stability at a start: the step size that is tried first
WANTED, GAIN_OF_STEPS = 0.8, 0.6  # acceptance; ln of a step size for each unit of it that is missing, in the first half
WIDTH = 0.5  # norm that a prior alone would have, in units of the memoriser's
NOT_MET = 1.1  # R-hat


class Effort(NamedTuple):
    """Where chains start, and how long they are."""

    level: float  # training loss of memorisers, at most
    fitted: float  # train accuracy of memorisers, at least
    generalises: float  # accuracy on unseen mirrors of generalisers, at least
    draws: int  # of a chain
    gradients: int  # of a draw


FULL, QUICK = Effort(1e-2, 1.0, 0.9, 60, 50), Effort(2.4, 0.0, 0.0, 8, 2)


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
    Cell("HMC", "free", True, 1e5, STARTS[:2]),
    Cell("HMC", "free", True, 1e6, STARTS),
    Cell("HMC", "free", True, 1e7, STARTS[:1]),
    Cell("HMC", "free", False, 1e6, STARTS[:2]),
    Cell("HMC", "sphere", False, 1e6, STARTS[:2]),
    Cell("SGLD", "free", True, 1e6, STARTS[:1]),
]
WARM, MIDDLE, COLD, BARE, HELD, LANGEVIN = (cell.name for cell in CELLS)
COLOURS = dict(zip((cell.name for cell in CELLS),
                   (figures.ORANGE, figures.BLUE, figures.PURPLE, figures.RED, figures.GREEN, figures.SKY),
                   strict=True))  # fmt: skip
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


def sampled(of: Mapping[str, Any], seed: int, cells: Sequence[Cell], effort: Effort) -> pd.DataFrame:
    """Courses of chains of one seed that differ in start and temperature alone: a line for each draw."""
    run, chains = of["run"], [(cell, begin) for cell in cells for begin in cell.starts if begin in of]
    model, task, first = run.config.model, run.task, cells[0]
    copies = {name: torch.stack([of[begin][name] for _, begin in chains]) for name in of[RANDOM]}
    loss = ChainLoss(model, task, task.is_train, copies, chosen_pieces(model))
    at, unseen = loss.start, task.where("test_mirror_unseen")
    radius = math.sqrt(sum(of[MEMORISER][p.name].double().square().sum().item() for p in loss.pieces))
    if first.place == "sphere":
        at = at * (radius / at.double().norm(dim=-1, keepdim=True)).to(at)
    prior = at.shape[1] / (WIDTH * radius) ** 2 if first.prior else 0.0
    nbeta = torch.tensor([cell.nbeta for cell, _ in chains], dtype=torch.float64)
    target = Target(loss, torch.zeros_like(at), nbeta, prior)
    geometry = Sphere() if first.place == "sphere" else FLAT
    curvature = sharpness(loss, at, random_starts(1, at.shape[1])).clamp(min=1e-6)
    size = SHARE * 4 / (nbeta * curvature + prior)
    is_hmc = first.sampler == "HMC"

    def sampler():
        if is_hmc:
            return hmc(target, step_size=size, n_leapfrog=effort.gradients, jitter=JITTER, geometry=geometry)
        return sgld(target, step_size=size.min().item(), geometry=geometry)

    seeds = [1000 * seed + 100 * CELLS.index(cell) + STARTS.index(begin) for cell, begin in chains]
    now, lines = start(sampler(), at, seeds), []
    for draw in range(effort.draws + 1):
        told = {"acceptance": torch.full_like(nbeta, torch.nan), "delta_H": torch.full_like(nbeta, torch.nan)}
        if draw:
            now, kept = sample(sampler(), now, 1, n_thin=1 if is_hmc else effort.gradients)
            told = {"acceptance": kept.acceptance[0], "delta_H": kept.energy_error[0]}
        if draw and draw <= effort.draws / 2 and is_hmc:  # frozen from then on
            size = size * (GAIN_OF_STEPS * (told["acceptance"].nan_to_num(0.0) - WANTED)).exp()
        where_now = now.state["position"]
        with torch.no_grad():
            logits = model.logits(loss.networks_at(where_now), task.inputs)
        right = (logits.argmax(-1) == task.labels).double()
        found = {"unseen": right[:, unseen].mean(1), "train_acc": right[:, task.is_train].mean(1), "step_size": size}
        found["unseen_loss"] = cross_entropy(logits, task.labels.expand(len(at), -1))[:, unseen].mean(1)
        found |= {"norm": where_now.double().norm(dim=-1), "train_loss": loss(where_now).value, **told}
        found["diverged"] = (now.stopped_at >= 0).double()
        rows = pd.DataFrame({name: value.tolist() for name, value in found.items()})
        lines.append(rows.assign(cell=[c.name for c, _ in chains], start=[s for _, s in chains], draw=draw))
    return pd.concat(lines).assign(seed=seed)


def sample_all(there: Mapping[int, dict[str, Any]], given: Any, effort: Effort) -> pd.DataFrame:
    """Courses of all chains; those of a seed are kept beside its runs."""
    stacks: dict[tuple[str, str, bool], list[Cell]] = {}
    for cell in CELLS:
        stacks.setdefault(cell[:3], []).append(cell)
    courses = []
    with ticks("sampling from", "seeds") as tick:
        for done, (seed, of) in enumerate(there.items(), 1):
            file = given.out / "runs" / f"chains-s{seed}.json"
            if not file.exists():
                made = pd.concat([sampled(of, seed, cells, effort) for cells in stacks.values()])
                write_atomically(file, json.dumps(made.to_dict("records")).encode())
            courses.append(pd.DataFrame(json.loads(file.read_bytes())))
            tick(done, len(there))
    return pd.concat(courses, ignore_index=True)


def counted(courses: pd.DataFrame) -> pd.DataFrame:
    """A line for each chain; and for each cell of several starts R-hat over them, in the frozen half."""
    lines = []
    half, fifth = courses["draw"].max() / 2, 0.8 * courses["draw"].max()
    for (cell, seed), of in courses.groupby(["cell", "seed"], sort=False):
        frozen = of[of["draw"] > half]
        met = {}
        if {MEMORISER, GENERALISER} <= {*of["start"]}:
            traces = [frozen.pivot(index="start", columns="draw", values=name) for name in ("unseen_loss", "norm")]
            traces.append(frozen.pivot(index="start", columns="draw", values="train_loss").map(math.log))
            r_hat = diagnose(
                torch.stack([torch.tensor(trace.to_numpy()) for trace in traces]), n_burnin=torch.zeros(3).long()
            ).r_hat
            met = dict(zip(("r_hat_unseen", "r_hat_norm", "r_hat_loss"), r_hat.tolist(), strict=True))
        for begin, chain in of.groupby("start", sort=False):
            first, late, last = chain.iloc[0], chain[chain["draw"] > half], chain.iloc[-1]
            outcome = chain.loc[chain["draw"] >= fifth, "unseen"].mean()
            line = {"arm": f"{cell}, {begin}", "cell": cell, "start": begin, "seed": seed, "outcome": outcome}
            line |= {"start_unseen": first["unseen"], "gain": outcome - first["unseen"], "best": chain["unseen"].max()}
            line |= {"acceptance": late["acceptance"].mean(), "abs_delta_H": late["delta_H"].abs().median()}
            line |= {name: last[name] for name in ("unseen", "train_acc", "train_loss", "norm", "diverged")}
            lines.append(line | {"start_norm": first["norm"]} | met)
    return pd.DataFrame(lines)


def of(cell: str, begin: str) -> Selection:
    """The chains of a cell from one kind of start."""
    return where(cell=cell, start=begin)


def change(cell: str, begin: str) -> Mean:
    """By how much accuracy on unseen mirrors changes from the start to the last fifth."""
    return Mean(of(cell, begin), "gain", f"{cell}, from {begin}: last fifth less start, of unseen mirrors", bounds=GAIN)


def any_exceeds(changes: Sequence[Mean], bound: float, text: str) -> Declared:
    """The claim that one of some changes is above a bound, at a level shared among them; else that none is."""
    claims = [one.exceeds(bound, text) for one in changes]

    def judge(table: pd.DataFrame) -> Judged:
        judged = [claim.judge(table) for claim in claims]

        def decided(level: float) -> Decision:
            words = {one.at(1 - (1 - level) / len(judged)) for one in judged}
            return "holds" if "holds" in words else "opposite" if words == {"opposite"} else "not shown"

        return Judged("; ".join(one.words for one in judged), decided)

    return Declared(text, judge, f"largest of {len(changes)} > {bound:g}")


def met(cell: str) -> Mean:
    """R-hat over the starts of a cell, in the loss of unseen mirrors, which no chain has constant."""
    known = where(cell=cell, start=MEMORISER, r_hat_unseen=lambda r_hat: r_hat.notna())
    return Mean(known, "r_hat_unseen", f"R-hat over starts of the loss of unseen mirrors, {cell}")


STAYS = f"stay, to {100 * 2 * POINTS:g} points"
FROM_MEMORISERS = [change(cell, MEMORISER) for cell in (WARM, MIDDLE, COLD)]
UNPULLED = [change(BARE, MEMORISER), change(HELD, MEMORISER)]
OVER, MORE, TEN = f"over {100 * MANY:g} points", f"more than {100 * POINTS:g} points", f"{200 * POINTS:g} points"
CLAIMS = [
    any_exceeds(FROM_MEMORISERS, MANY, f"From memorisers HMC with a prior groks: at some temperature it gains {OVER}."),
    any_exceeds(FROM_MEMORISERS, POINTS, f"It gains {MORE}."),
    any_exceeds(UNPULLED, POINTS, f"Without a prior HMC, free or on the sphere, gains {MORE}."),
    change(LANGEVIN, MEMORISER).exceeds(POINTS, f"SGLD with a prior gains {MORE}."),
    change(MIDDLE, RANDOM).exceeds(MANY, f"From random weights HMC with a prior gains {OVER}."),
    change(MIDDLE, GENERALISER).exceeds(-2 * POINTS, f"With a prior generalisers {STAYS}."),
    change(WARM, GENERALISER).exceeds(-2 * POINTS, f"At a tenth of that nβ they {STAYS}."),
    change(BARE, GENERALISER).falls_below(-2 * POINTS, f"Without a prior free generalisers lose more than {TEN}."),
    change(HELD, GENERALISER).exceeds(-2 * POINTS, f"On the sphere generalisers {STAYS}."),
    met(MIDDLE)
    .exceeds(NOT_MET, f"Chains from memorisers, generalisers and random weights do not meet: R-hat over {NOT_MET:g}.")
    .telling(met(WARM)),
    Share(of(MIDDLE, MEMORISER), lambda rows: rows["acceptance"] > 0.5, "chains that accept over half of their steps")
    .is_all("HMC with a prior moves: from every memoriser it accepts over half of its steps."),
    Mean(of(MIDDLE, MEMORISER), "best", "best less last fifth, of unseen mirrors", by="outcome", bounds=GAIN)
    .falls_below(2 * POINTS, f"What it gains stays: less than {TEN} are lost from its best."),
]  # fmt: skip
QUESTION = "Can canonical sampling of the training loss grok, and do generalisers stay under it?"
STUDY = Study(
    QUESTION,
    cg.TrainConfig.preset("quickstart").with_(
        p=23, d_model=32, d_head=8, d_mlp=128, split="mirror_free", frac_train=0.9, weight_decay=0.0, steps=500,
        **evenly(20),
    ),
    arms={"no decay": {}},
)  # fmt: skip
GROKS = STUDY.with_(arms={"decay": {}}, weight_decay=2.0, steps=3000, checkpoint_every=100)
BOTH = Studies(QUESTION, {"memorisers": STUDY, "generalisers": GROKS}, claims=CLAIMS)
TINY = BOTH.with_(seeds=[0, 1], steps=60, p=11, d_model=16, d_head=4, d_mlp=32, checkpoint_every=10, frac_train=0.8)


def draw(table: pd.DataFrame, courses: pd.DataFrame, gradients: int) -> "figures.Figure":
    """Unseen mirrors along chains by start; loss and norm; changes."""
    figure, axes = figures.sheet(2, 3, (13.5, 7.6))
    panels = dict(zip(STARTS, (axes[0, 0], axes[0, 1], axes[0, 2]), strict=True))
    groups: Any = courses.groupby(["cell", "start"], sort=False)
    for (cell, begin), rows in groups:
        for ax, column in ((panels[begin], "unseen"), (axes[1, 0], "train_loss"), (axes[1, 1], "norm")):
            curves = [chain.set_index(chain["draw"] * gradients)[column] for _, chain in rows.groupby("seed")]
            figures.draw_band(ax, curves, COLOURS[cell], STYLES[begin], cell)
    for begin, ax in panels.items():
        ax.set(title=f"from {begin}", xlabel="gradients", ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03))
    axes[1, 0].set(xlabel="gradients", ylabel="training loss", yscale="log")
    axes[1, 1].set(xlabel="gradients", ylabel="norm (dashed: generalisers)")
    gains = table.pivot(index="seed", columns="arm", values="gain")
    draw_gains(axes[1, 2], gains, {f"{c.name}, {s}": COLOURS[c.name] for c in CELLS for s in c.starts}, POINTS)
    axes[1, 2].set_xlabel("change of unseen mirrors, points (95 %)")
    figures.legends([panels[MEMORISER]])
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
    means = ends[["outcome", "unseen", "train_acc", "train_loss", "norm", "acceptance", "abs_delta_H"]].mean()
    r_hats = table.dropna(subset="r_hat_norm").groupby("cell", sort=False)[["r_hat_unseen", "r_hat_norm", "r_hat_loss"]]
    said = listed(means, "{} from {}: {:.2f}, {:.2f}, {:.3f}, {:.1e}, {:.1f}, {:.2f}, {:.2g}", "; ")
    notes = [
        f"Starts: memorisers are the first checkpoint without decay with train accuracy {effort.fitted:g} and training "
        f"loss {effort.level:g}; generalisers the last one with decay that answers {effort.generalises:g} of the "
        "unseen mirrors; random weights those of step 0. Seeds without a generaliser, left out of claims about these: "
        f"{', '.join(str(seed) for seed, of in there.items() if GENERALISER not in of) or 'none'}; there are "
        f"{len(there)}.",
        f"Chains: one for each start, cell and seed; {effort.draws} draws of {effort.gradients} gradients (leapfrogs "
        "of one trajectory, steps of SGLD), thinned from 20,000 gradients for want of cores. Step sizes start at "
        f"{SHARE:g} of the bound of stability; those of HMC follow acceptance ({WANTED:g}) in the first half and are "
        f"frozen in the second. The prior alone would have {WIDTH:g} of the memoriser's norm; the sphere has all of "
        "it. Nothing was chosen by what chains of other seeds do.",
        "Means over seeds of unseen mirrors in the last fifth and at the end, train accuracy, training loss, norm, "
        f"acceptance and median |ΔH| of the second half: {said}. Diverged: {int(table['diverged'].sum())} of "
        f"{len(table)}.",
        "R-hat over starts in the second half, of the loss of unseen mirrors, norm, ln training loss, medians: "
        f"{listed(r_hats.median(), '{} {:.2f}, {:.2f}, {:.2f}', '; ')}.",
    ]
    curves = courses.groupby(["cell", "start", "draw"], sort=False)[["unseen", "norm", "train_loss"]].mean()
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / "curves.csv", curves.reset_index().to_csv(index=False, float_format="%.4g").encode())
    study.write(given, table, draw(table, courses, effort.gradients), notes, runs=study.table(runs))


if __name__ == "__main__":
    main()
