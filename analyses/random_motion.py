"""Can lateral motion alone make a network grok? Noise, repulsion, a larger norm and Monte Carlo in place of decay.

Runs under weight decay are stopped where they have begun to generalise, or half-way, and trained on without decay in
arms that move them by other means; most have a twin that is held at the norm it starts with, so that all its motion
is lateral. What counts is the mean test accuracy over the last fifth of an arm, against plain Adam from the same
weights. The split is free of mirrors: with a random one, half of the test pairs are known from their mirrors, and
networks that only memorise reach a test accuracy of one half.

    python analyses/random_motion.py            # ten seeds; --dry-run says how long the runs are that give the starts
    python analyses/random_motion.py --quick    # two of a tiny network, for few steps: seconds
"""

import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.geometry import angle
from circuitgrok.landscape.exploration import Equipartition, equipartition
from circuitgrok.landscape.sampling import GeometryName, SamplerName, Sampling
from circuitgrok.store.run import Run
from circuitgrok.study.claims import where
from circuitgrok.study.effects import GAIN, Gains, draw_gains, in_points, joint_intervals
from circuitgrok.study.evidence import Declared, Judged, settled
from circuitgrok.study.intervals import Decision, above, below
from circuitgrok.study.legs import first_checkpoints
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.table.accepted import ACCEPTED, explore_accepted, ground

POINTS = 0.05  # of test accuracy: a gain that counts; an interval within it on both sides is a decided null
BOUND, LARGER = 0.15, 1.5  # of repulsion, and the norm that is aimed at, in units of the norm at the start
NBETA = 1e6  # of the chains: on average they stay at the loss that they start from
SHARE = 0.05  # of the step size at which chains run away at the start: what is tried first
STIFF = (1.0, 0.3, 0.1)  # curvatures of the Gaussian on which chains are checked, of the largest at the start
SPLIT = {"split": "mirror_free", "frac_train": 0.8}  # as many answers known as with 0.55 of all pairs at random


class Effort(NamedTuple):
    """How much is done from the starts, and what these are chosen by."""

    steps: int  # of an arm
    draws: int  # of a chain
    gradients: int  # of a draw: leapfrogs, or steps of SGLD
    checked: int  # draws of a chain on the Gaussian
    fitted: float  # train accuracy of a start
    levels: dict[str, float]  # test accuracy of each start


FULL = Effort(700, 30, 12, 1000, 0.99, {"half-way": 0.5, "begun": 0.05})
QUICK = Effort(10, 8, 2, 10, 0.0, {"half-way": 0.0, "begun": 0.0})
NOISES = {
    "walk noise": {"walk_noise": 2e-3},
    "gradient noise": {"gradient_noise": 1e-4},
    "weight noise": {"weight_noise": 0.03},
    "label noise": {"label_noise": 0.1},
}
LATERAL = {"plain": {}, "repulsion": {"repulsion": 1e-3}, **NOISES}
PULLS = {"decay": {"weight_decay": 2.0}, "larger norm": {"target_norm": 1e-3}, "anti-decay": {"anti_decay": 1e-7}}
MOVES_WEIGHTS = ("walk noise", "gradient noise", "weight noise")
HELD = {
    f"{arm}, held": leaves | {"fixed_norm": True} | ({"noise_tangential": True} if arm in MOVES_WEIGHTS else {})
    for arm, leaves in LATERAL.items()
}
RAW = LATERAL | PULLS
ARMS: dict[str, dict[str, Any]] = RAW | HELD
EARLY = ("plain", "decay", "repulsion", "walk noise", "weight noise", "plain, held")  # from the earlier start
STARTS = {"half-way": tuple(ARMS), "begun": EARLY}
EXPLORERS = ("SGLD", "SGLD, prior", "SGLD, sphere", "HMC", "HMC, prior", "HMC, sphere")
COLOURS = {"plain": figures.BLUE, "repulsion": figures.RED, "decay": figures.GREEN}
COLOURS |= dict.fromkeys(["walk noise", "gradient noise", *EXPLORERS[:3]], figures.SKY)
COLOURS |= dict.fromkeys(["weight noise", "label noise", *EXPLORERS[3:]], figures.PURPLE)
COLOURS |= dict.fromkeys(["larger norm", "anti-decay"], figures.ORANGE)
COLOURS |= {f"{arm}, held": COLOURS[arm] for arm in LATERAL}
STYLES = dict.fromkeys(["gradient noise", "label noise", "anti-decay", "SGLD, prior", "HMC, prior"], "--")
STYLES |= dict.fromkeys(["gradient noise, held", "label noise, held"], "--")
STYLES |= dict.fromkeys(["SGLD, sphere", "HMC, sphere"], ":")


def answering(level: float, fitted: float, at: pd.DataFrame) -> pd.Series:
    """Whether a checkpoint has such accuracies on test and train."""
    return (at["train_acc"] >= fitted) & (at["test_acc"] >= level)


def leaves(there: dict[int, tuple[Run, int]], arm: str, cell: cg.TrainConfig) -> dict[str, Any]:
    """What an arm differs in: repulsion leaves the checkpoint that it starts from, whose norm is the unit of length."""
    (run, step), own = there[cell.init.seed], ARMS[arm]
    r = run.history["norm"][step]
    lengths = {"repel_bound": BOUND * r} if "repulsion" in own else {}
    lengths |= {"target_radius": LARGER * r} if "target_norm" in own else {}
    return {"start": f"{run.path}@{step}", "weight_decay": 0.0, **lengths, **own}


def scored(accuracies: pd.Series) -> dict[str, float]:
    """Of a course: `outcome` is the mean test accuracy over the last fifth, `best` that of the best fifth."""
    fifth = max(1, int((accuracies.index >= 0.8 * accuracies.index[-1]).sum()))
    best = accuracies.rolling(fifth).mean().max()
    return {"start_acc": accuracies.iloc[0], "outcome": accuracies.iloc[-fifth:].mean(), "best": best}


def trained(run: Run) -> dict[str, float]:
    """What is told of an arm that was trained; a diverged one ends with the last line of its history."""
    first, last = ({k: v for k, v in run.at(s).items() if run.config.model.is_trainable(k)} for s in (0, run.steps[-1]))
    turned = math.degrees(angle(last, first).item())
    return {"start_norm": run.history["norm"].iloc[0], "degrees": turned, **scored(run.history["test_acc"])}


def settings(curvature: float, arm: str, effort: Effort, seed: int) -> Sampling:
    """How to sample where that is the largest curvature."""
    sampler: SamplerName = "hmc" if arm.startswith("HMC") else "sgld"
    geometry: GeometryName = "sphere" if "sphere" in arm else "free"
    leapfrogs, thin = (effort.gradients, 1) if sampler == "hmc" else (1, effort.gradients)
    how = Sampling(
        sampler=sampler, step_size=1.0, localization=0.0, nbeta=NBETA, geometry=geometry,
        n_chains=2, n_draws=effort.draws, n_leapfrog=leapfrogs, n_thin=thin, seed=seed,
    )  # fmt: skip
    return how.model_copy(update={"step_size": SHARE * how.stability_bound(curvature, NBETA)})


def explored(run: Run, step: int, arm: str, effort: Effort) -> tuple[dict[str, Any], pd.Series]:
    """Two chains as one line and one course: means over them. One that diverged counts as where it was last."""
    there, seed = ground(run, step), run.config.init.seed
    prior = 4 * there.n_weights / there.square if "prior" in arm else 0.0  # alone, it would have half the start's norm
    table, how = explore_accepted(run, step, settings(there.curvature, arm, effort, seed), prior=prior)
    table, kept = table.assign(gradients=table["draw"] * effort.gradients), ["train_acc", "test_acc", "norm", "angle"]
    state = "diverged" if table["test_acc"].isna().any() else "finished"
    table[kept] = table.groupby("chain")[kept].ffill()
    mean = table.groupby("gradients")[kept].mean()
    first, last = mean.iloc[0], mean.iloc[-1]
    line = {"start": "half-way", "arm": arm, "seed": seed, "state": state, "start_norm": first["norm"]}
    line |= {"final_norm": last["norm"], "degrees": math.degrees(last["angle"]), **last[["train_acc", "test_acc"]]}
    line |= {"step_size": how.step_size, "acceptance": table["acceptance"].mean(), **scored(mean["test_acc"])}
    return line | {"abs_delta_H": table["delta_H"].abs().median()}, mean["test_acc"]


def kept(table: pd.DataFrame) -> Judged:
    """Twins of the raw arms that gain: is what they lose less than 5 points?"""
    gains = HALF.found(table)
    gainers = HALF.gainers(table, LATERAL)
    lost = {raw: gains[f"{raw}, held"] - gains[raw] for raw in gainers if f"{raw}, held" in gains}
    if not lost:
        return settled("no raw arm gains: nothing to keep", "not shown")

    def decided(level: float) -> Decision:
        found = joint_intervals(lost, level, GAIN).values()
        decisions: set[Decision] = {above(i, -POINTS) if i else "not shown" for i in found}
        alike = decisions.pop() if len(decisions) == 1 else "not shown"
        return "counterexample" if "opposite" in decisions else alike

    return Judged(f"twin minus raw, points: {in_points(joint_intervals(lost, bounds=GAIN))}", decided)


def lasting(table: pd.DataFrame) -> Judged:
    """By how much the arms that gain end below their own best fifth."""
    arms = HALF.gainers(table, (*ARMS, *EXPLORERS))
    rows = table[(table["start"] == "half-way") & table["arm"].isin(arms)]
    losses = {"lost": (rows["best"] - rows["outcome"]).groupby(rows["seed"]).mean()}

    def decided(level: float) -> Decision:
        lost = joint_intervals(losses, level, GAIN)["lost"]
        return below(lost, POINTS) if lost else "not shown"

    known = joint_intervals(losses, bounds=GAIN)
    said = f"{in_points(known)} points, mean over {', '.join(arms)}" if arms else "no arm gains"
    return Judged(said, decided)


BELIEVED = "The chains can be believed: on a Gaussian HMC has no fault, and SGLD's energies are right to 10 %."


def believed(checks: Mapping[str, Equipartition]) -> Declared:
    """Whether chains find on a Gaussian what is known of it."""
    is_exact = not checks["hmc"].faults and (checks["sgld"].virial - 1).abs().max().item() < 0.1
    found = settled(f"HMC: {checks['hmc']}; SGLD: {checks['sgld']}", "holds" if is_exact else "opposite")
    return Declared(BELIEVED, lambda table: found)


HALF, BEGUN, ON_SPHERE = (
    Gains(where(start=start), "outcome", against, "points of test accuracy")
    for start, against in (("half-way", "plain"), ("begun", "plain"), ("half-way", "plain, held"))
)
MORE = "more than 5 points"
THERE = "Where generalising has only begun,"
CLAIMS = [
    HALF.any_exceeds(["decay"], POINTS, f"Positive control: weight decay gains {MORE}."),
    HALF.any_exceeds(["plain, held"], POINTS, f"Lateral motion alone: Adam with its norm held gains {MORE}."),
    HALF.any_exceeds(NOISES, POINTS, f"Noise alone gains {MORE}: some kind of it."),
    HALF.any_exceeds(["repulsion"], POINTS, f"Repulsion alone gains {MORE}."),
    HALF.any_exceeds(["larger norm", "anti-decay"], POINTS, f"Anti-regularization gains {MORE}."),
    HALF.any_exceeds(["SGLD", "HMC"], POINTS, f"SGLD or HMC without a prior gains {MORE}."),
    HALF.any_exceeds(["SGLD, prior", "HMC, prior"], POINTS, f"SGLD or HMC with a Gaussian prior gains {MORE}."),
    HALF.any_exceeds(["SGLD, sphere", "HMC, sphere"], POINTS, f"SGLD or HMC on the sphere gains {MORE}."),
    Declared(
        "Held at their norm, the arms keep what they gain: twins are less than 5 points below raw arms that gain.", kept
    ),
    ON_SPHERE.any_exceeds(
        [arm for arm in HELD if arm != "plain, held"],
        POINTS,
        f"On the sphere, repulsion or noise adds {MORE} to what Adam gains there without them.",
    ),
    Declared("What is gained lasts: arms that gain end less than 5 points below the best fifth of their way.", lasting),
    BEGUN.any_exceeds(["decay"], POINTS, f"{THERE} weight decay gains (positive control) {MORE}."),
    BEGUN.any_exceeds(["plain, held"], POINTS, f"{THERE} Adam with its norm held gains {MORE}."),
    BEGUN.any_exceeds(["walk noise", "weight noise"], POINTS, f"{THERE} noise alone gains {MORE}."),
    BEGUN.any_exceeds(["repulsion"], POINTS, f"{THERE} repulsion alone gains {MORE}."),
]
STUDY = Study(  # of the runs that give the starts
    "Can lateral motion alone make a network grok: noise, repulsion, a larger norm, or Monte Carlo, no decay?",
    cg.TrainConfig.preset("quickstart").with_(steps=1600, **SPLIT, **evenly(20)),
    arms={"start": {}},
    seeded=("seed", "data_seed", "noise_seed"),
    claims=[*CLAIMS, BELIEVED],
)
TINY = STUDY.with_(seeds=[0, 1], steps=20, checkpoint_every=10, p=11, d_model=16, d_head=4, d_mlp=32)


def draw(courses: Mapping[tuple[str, str], list[pd.Series]], table: pd.DataFrame) -> "figures.Figure":
    """Test accuracy along the arms, raw, held, explored, and from the earlier start; gains; gains against turning."""
    figure, axes = figures.sheet(3, 2, (figures.PAGE, 9.4), height_ratios=(1, 1, 1.5))
    gains, turned = axes[2]
    for ax, start, arms, title in (
        (axes[0, 0], "half-way", RAW, "from half-way, the norm free"),
        (axes[0, 1], "half-way", ["decay", *HELD], "from half-way, the norm held"),
        (axes[1, 0], "half-way", EXPLORERS, "from half-way, chains"),
        (axes[1, 1], "begun", EARLY, "from where generalising has begun"),
    ):
        for arm in arms:
            if curves := courses[start, arm]:
                figures.draw_band(
                    ax, curves, COLOURS[arm], STYLES.get(arm, "-"), arm if arms is EARLY else arm.removesuffix(", held")
                )
        ax.set(title=title, ylabel="test accuracy (seeds)", ylim=(0, 1.03))
        ax.set_xlabel("gradient evaluations" if arms is EXPLORERS else "step without decay")
        ax.legend(fontsize=7, frameon=False, ncols=3)
    half, colours = HALF.found(table), {arm: colour for arm, colour in COLOURS.items() if arm != "plain"}
    draw_gains(gains, half, colours, POINTS)
    gains.set_xlabel("gain over plain Adam, points (95 %)")
    for arm, rows in where(start="half-way")(table).set_index("seed").groupby("arm"):
        marker = "s" if arm in EXPLORERS else "^" if arm in HELD else "o"
        if arm in colours:
            gained = 100 * half[arm].reindex(rows.index)
            turned.plot(rows["degrees"], gained, marker, color=colours[str(arm)], ms=4, alpha=0.7)
    turned.axhspan(-100 * POINTS, 100 * POINTS, color=figures.GREY, alpha=0.15, lw=0)
    turned.set(title="● free, ▲ norm held, ■ chains", xlabel="angle from the start (degrees)")
    turned.set_ylabel("gain over plain Adam, points")
    return figures.paper(figure, figures.PAGE)


def notes(table: pd.DataFrame, there: dict[str, dict[int, tuple[Run, int]]], effort: Effort) -> list[str]:
    """Starts, rules, arms, chains, where the arms end, divergence."""
    began = [f"{start}, seed {seed}: {step}" for start, of in there.items() for seed, (_, step) in of.items()]
    ends = where(start="half-way")(table).groupby("arm")[["outcome", "final_norm", "degrees", "train_acc"]].mean()
    sizes = [f"{name} {size:g}" for name, leaves in RAW.items() for size in leaves.values()]
    return [
        f"Starts: the first checkpoint with train accuracy {effort.fitted:g} and test accuracy "
        f"{effort.levels['half-way']:g} (half-way) or {effort.levels['begun']:g} (begun); a seed without one has no "
        f"arms. Steps: {', '.join(began)}. From there {effort.steps} steps with a fresh optimizer and its warm-up.",
        "With a random split (f = 0.6) a test accuracy of 0.5 is no half-way: it is reached while memorising, by pairs "
        "whose mirror was trained on; of the others, at most 3 % were right then. Hence the split without mirrors.",
        "Outcome: mean test accuracy over the last fifth; gains are paired by seed; a claim about several arms has "
        "intervals that hold together (Bonferroni). A null is decided within ±5 points. A diverged run counts as where "
        f"it was last. Diverged: {(table['state'] == 'diverged').sum()} of {len(table)}.",
        f"Arms: {', '.join(sizes)}; repulsion bounded at {BOUND:g} r, the larger norm (r − R)² to R = {LARGER:g} r. "
        "Sizes were chosen on seeds 2 and 3 in 150 steps, so that training accuracy stayed above 0.99 and the weights "
        "moved. Held: the norm of the start is held by rescaling, and noise on weights or gradients is tangential. "
        "Twins do not turn as far as raw arms: see the degrees.",
        f"Chains: 2 per seed, {effort.draws} draws of {effort.gradients} gradients; nβ {NBETA:g}, far colder than a "
        f"posterior of as many pairs; step sizes {SHARE:g} of the stability bound at the start, halved until "
        f"{ACCEPTED:g} of the steps are accepted (of SGLD's: what Metropolis would accept).",
        f"From half-way, means: {listed(ends, '{} {:.3f} (norm {:.1f}, {:.0f}°, train accuracy {:.3f})', '; ')}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, TINY, "two seeds of a tiny network for few steps")
    effort = QUICK if given.quick else FULL
    sources = study.train(given)
    there = {
        start: first_checkpoints(sources.values(), partial(answering, level, effort.fitted))
        for start, level in effort.levels.items()
    }
    if not there["half-way"]:
        sys.exit(f"no seed is half-way within the budget: nothing to start from; the runs are in {given.out}")
    parts = {
        start: study.with_(
            arms={arm: partial(leaves, there[start], arm) for arm in arms}, seeds=list(there[start]),
            steps=effort.steps, checkpoint_every=effort.steps,
        )
        for start, arms in STARTS.items()
    }  # fmt: skip
    moved = Studies(study.question, parts, "start")
    runs, courses = moved.train(given), defaultdict(list)
    for name, line in moved.labels().items():
        courses[line["start"], line["arm"]].append(runs[name].history["test_acc"])
    torch.set_num_threads(given.threads)
    chains = []
    for arm, (run, step) in product(EXPLORERS, there["half-way"].values()):
        line, accuracies = explored(run, step, arm, effort)
        chains.append(line)
        courses["half-way", arm].append(accuracies)
    table = pd.concat([moved.table(runs, trained), pd.DataFrame(chains)], ignore_index=True)
    seed, (run, step) = next(iter(there["half-way"].items()))
    curvature = ground(run, step).curvature
    many = {"n_chains": 4, "n_draws": effort.checked}
    hows = [settings(curvature, arm, effort, seed).model_copy(update=many) for arm in ("SGLD", "HMC")]
    precisions = torch.tensor([share * NBETA * curvature for share in STIFF])
    checks = {how.sampler: equipartition(precisions, how) for how in hows}
    said, of = notes(table, there, effort), study.table(sources)
    study.write(given, table, draw(courses, table), said, runs=of, made=[believed(checks)])


if __name__ == "__main__":
    main()
