"""Can lateral motion alone make a network grok? Noise, repulsion, a larger norm and Monte Carlo in place of decay.

Runs under weight decay are stopped where they have begun to generalise, or half-way, and trained on without decay in
arms that move them by other means; most have a twin that is held at the norm it starts with, so that all its motion
is lateral. What counts is the mean test accuracy over the last fifth of an arm, against plain Adam from the same
weights. The split is free of mirrors: with a random one, half of the test pairs are known from their mirrors, and
networks that only memorise reach a test accuracy of one half.

    python analyses/random_motion.py            # five seeds: minutes
    python analyses/random_motion.py --quick    # two of a tiny network, for few steps: seconds
"""

import math
import sys
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.geometry import angle
from circuitgrok.landscape.exploration import Equipartition, equipartition
from circuitgrok.landscape.sampling import GeometryName, SamplerName, Sampling
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.claims import Declared, where
from circuitgrok.study.gains import Gains, draw_gains, in_points, joint_intervals
from circuitgrok.study.study import Study
from circuitgrok.study.verdicts import Claim, Decision, above, below
from circuitgrok.table.accepted import ACCEPTED, explore_accepted, ground
from circuitgrok.training.progress import LiveProgress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 0.05  # of test accuracy: a gain that counts; an interval within it on both sides is a decided null
BOUND, LARGER = 0.15, 1.5  # of repulsion, and the norm that is aimed at, in units of the norm at the start
NBETA = 1e6  # of the chains: on average they stay at the loss that they start from
SHARE = 0.05  # of the step size at which chains run away at the start: what is tried first
STIFF = (1.0, 0.3, 0.1)  # curvatures of the Gaussian on which chains are checked, of the largest at the start
SPLIT = {"split": "mirror_free", "frac_train": 0.8}  # as many answers known as with 0.55 of all pairs at random
SCHEDULE = {"steps": 1600, "checkpoint_every": 20, "checkpoints_per_decade": 0, "checkpoint_on_move": 100.0}
STUDY = Study(  # of the runs that give the starts
    "Can lateral motion alone make a network grok: noise, repulsion, a larger norm, or Monte Carlo, no decay?",
    cg.TrainConfig.preset("quickstart").with_(**SPLIT, **SCHEDULE),
    arms={"start": {}},
    seeds=range(5),
    seeded=("seed", "data_seed", "noise_seed"),
)
TINY = STUDY.with_(seeds=[0, 1], steps=20, checkpoint_every=10, p=11, d_model=16, d_head=4, d_mlp=32)


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


class Arm(NamedTuple):
    """What an arm changes against plain Adam, and how it is drawn."""

    leaves: dict[str, float | bool]
    colour: str
    style: str = "-"


class Explorer(NamedTuple):
    """A chain: its sampler, where it may move, whether a prior holds it, and how it is drawn."""

    sampler: SamplerName
    geometry: GeometryName
    prior: bool
    colour: str
    style: str


class Seen(NamedTuple):
    """A run or the chains of an explorer, as rows and curves want it."""

    start: str
    arm: str
    seed: int
    curve: pd.Series  # test accuracy by step, or by gradient evaluation
    facts: dict[str, object]


NOISES = {
    "walk noise": Arm({"walk_noise": 2e-3, "noise_tangential": False}, figures.SKY),
    "gradient noise": Arm({"gradient_noise": 1e-4, "noise_tangential": False}, figures.SKY, "--"),
    "weight noise": Arm({"weight_noise": 0.03, "noise_tangential": False}, figures.PURPLE),
    "label noise": Arm({"label_noise": 0.1}, figures.PURPLE, "--"),
}
LATERAL = {"plain": Arm({}, figures.BLUE), "repulsion": Arm({"repulsion": 1e-3}, figures.RED), **NOISES}
RAW = LATERAL | {
    "decay": Arm({"weight_decay": 2.0}, figures.GREEN),
    "larger norm": Arm({"target_norm": 1e-3}, figures.ORANGE),
    "anti-decay": Arm({"anti_decay": 1e-7}, figures.ORANGE, "--"),
}
TWINS = {f"{name}, held": name for name in LATERAL}
HELD = {
    twin: LATERAL[raw]._replace(
        leaves={k: v if k != "noise_tangential" else True for k, v in LATERAL[raw].leaves.items()}
        | {"fixed_norm": True}
    )
    for twin, raw in TWINS.items()
}
EXPLORERS = {
    "SGLD": Explorer("sgld", "free", False, figures.SKY, "-"),
    "SGLD, prior": Explorer("sgld", "free", True, figures.SKY, "--"),
    "SGLD, sphere": Explorer("sgld", "sphere", False, figures.SKY, ":"),
    "HMC": Explorer("hmc", "free", False, figures.PURPLE, "-"),
    "HMC, prior": Explorer("hmc", "free", True, figures.PURPLE, "--"),
    "HMC, sphere": Explorer("hmc", "sphere", False, figures.PURPLE, ":"),
}
ARMS = RAW | HELD
EARLY = ("plain", "decay", "repulsion", "walk noise", "weight noise", "plain, held")  # from the earlier start
STARTS = {"half-way": tuple(ARMS), "begun": EARLY}


def reached(run: Run, fitted: float, level: float) -> int | None:
    """The first checkpoint after step 0 at which both accuracies are as high as that; None if there is none."""
    train, test = run.history["train_acc"], run.history["test_acc"]
    return next((step for step in run.steps[1:] if train[step] >= fitted and test[step] >= level), None)


def config(run: Run, step: int, arm: str, steps: int) -> cg.TrainConfig:
    """An arm from a run's checkpoint; repulsion leaves that checkpoint, and lengths are in units of its norm."""
    leaves, r = ARMS[arm].leaves, run.history["norm"][step]
    lengths = {"repel_bound": BOUND * r} if "repulsion" in leaves else {}
    lengths |= {"target_radius": LARGER * r} if "target_norm" in leaves else {}
    chosen = {"start": f"{run.path}@{step}", "weight_decay": 0.0, **lengths, **leaves}
    return run.config.with_(steps=steps, checkpoint_every=steps, **chosen)


def trained(run: Run, start: str, arm: str) -> Seen:
    """An arm that was trained; a diverged one ends with the last line of its history."""
    history, model = run.history, run.config.model
    first, last = ({k: v for k, v in run.at(s).items() if model.is_trainable(k)} for s in (0, run.steps[-1]))
    facts = {
        "state": run.state,
        "start_norm": history["norm"].iloc[0],
        "final_norm": history["norm"].iloc[-1],
        "train_acc": history["train_acc"].iloc[-1],
        "degrees": math.degrees(angle(last, first).item()),
    }
    return Seen(start, arm, run.config.init.seed, history["test_acc"], facts)


def settings(curvature: float, explorer: Explorer, effort: Effort, seed: int) -> Sampling:
    """How to sample where that is the largest curvature."""
    leapfrogs, thin = (effort.gradients, 1) if explorer.sampler == "hmc" else (1, effort.gradients)
    how = Sampling(
        sampler=explorer.sampler, step_size=1.0, localization=0.0, nbeta=NBETA, geometry=explorer.geometry,
        n_chains=2, n_draws=effort.draws, n_leapfrog=leapfrogs, n_thin=thin, seed=seed,
    )  # fmt: skip
    return how.model_copy(update={"step_size": SHARE * how.stability_bound(curvature, NBETA)})


def explored(run: Run, step: int, arm: str, effort: Effort) -> Seen:
    """Two chains as one line: means over them. One that diverged counts as where it was last."""
    explorer, there = EXPLORERS[arm], ground(run, step)
    how = settings(there.curvature, explorer, effort, run.config.init.seed)
    prior = (
        4 * there.n_weights / there.square if explorer.prior else 0.0
    )  # alone, it would have half the norm of the checkpoint
    table, how = explore_accepted(run, step, how, prior=prior)
    table = table.assign(gradients=table["draw"] * effort.gradients)
    has_diverged = table["test_acc"].isna().any()
    kept = ["train_acc", "test_acc", "norm", "angle"]
    table[kept] = table.groupby("chain")[kept].ffill()
    mean = table.groupby("gradients")[kept].mean()
    facts = {
        "state": "diverged" if has_diverged else "finished",
        "start_norm": mean["norm"].iloc[0],
        "final_norm": mean["norm"].iloc[-1],
        "train_acc": mean["train_acc"].iloc[-1],
        "degrees": math.degrees(mean["angle"].iloc[-1]),
        "step_size": how.step_size,
        "acceptance": table["acceptance"].mean(),
        "abs_delta_H": table["delta_H"].abs().median(),
    }
    return Seen("half-way", arm, run.config.init.seed, mean["test_acc"], facts)


def row(seen: Seen) -> dict[str, object]:
    """A line of the table: `outcome` is the mean test accuracy over the last fifth, `best` that of the best fifth."""
    curve = seen.curve
    fifth = max(1, int((curve.index >= 0.8 * curve.index[-1]).sum()))
    return {
        "start": seen.start,
        "arm": seen.arm,
        "seed": seen.seed,
        **seen.facts,
        "start_acc": curve.iloc[0],
        "test_acc": curve.iloc[-1],
        "outcome": curve.iloc[-fifth:].mean(),
        "best": curve.rolling(fifth).mean().max(),
    }


def kept(table: pd.DataFrame) -> tuple[str, Decision]:
    """Twins of the raw arms that gain: is what they lose less than 5 points?"""
    gains = HALF.found(table)
    gainers = HALF.gainers(table, LATERAL)
    known = joint_intervals({raw: gains[f"{raw}, held"] - gains[raw] for raw in gainers if f"{raw}, held" in gains})
    decisions: set[Decision] = {above(i, -POINTS) if i else "undecided" for i in known.values()}
    said = f"twin minus raw, points: {in_points(known)}" if known else "no raw arm gains: nothing to keep"
    return said, decisions.pop() if len(decisions) == 1 else "undecided"


def lasting(table: pd.DataFrame) -> tuple[str, Decision]:
    """By how much the arms that gain end below their own best fifth."""
    arms = HALF.gainers(table, (*ARMS, *EXPLORERS))
    rows = table[(table["start"] == "half-way") & table["arm"].isin(arms)]
    known = joint_intervals({"lost": (rows["best"] - rows["outcome"]).groupby(rows["seed"]).mean()})
    lost = known["lost"]
    if lost is None:
        return "no arm gains", "undecided"
    return f"{in_points(known)} points, mean over {', '.join(arms)}", below(lost, POINTS)


def believed(checks: dict[str, Equipartition]) -> Claim:
    """Whether chains find on a Gaussian what is known of it."""
    hmc, sgld = checks["hmc"], checks["sgld"]
    virials = {
        name: ", ".join(
            f"{mean:.3f} ± {error:.3f}" for mean, error in zip(found.virial, found.virial_mcse, strict=True)
        )
        for name, found in checks.items()
    }
    return Claim(
        "The chains can be believed: on a Gaussian HMC has no fault, and SGLD's energies are right to 10 %.",
        f"HMC kinetic energy {hmc.kinetic:.3f} ± {hmc.kinetic_mcse:.3f} (exact 0.5), w dU/dw {virials['hmc']} (exact "
        f"1), acceptance {hmc.acceptance:.2f}, faults: {'; '.join(hmc.faults) or 'none'}; SGLD w dU/dw "
        f"{virials['sgld']}",
        "holds" if not hmc.faults and (sgld.virial - 1).abs().max().item() < 0.1 else "fails",
    )


OUTCOME = {"column": "outcome", "name": "points of test accuracy"}
HALF = Gains(where(start="half-way"), against="plain", **OUTCOME)
BEGUN = Gains(where(start="begun"), against="plain", **OUTCOME)
ON_SPHERE = Gains(where(start="half-way"), against="plain, held", **OUTCOME)
MORE = "more than 5 points"
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
    *(
        BEGUN.any_exceeds(arms, POINTS, f"Where generalising has only begun, {what} {MORE}.")
        for what, arms in {
            "weight decay gains (positive control)": ["decay"],
            "Adam with its norm held gains": ["plain, held"],
            "noise alone gains": ["walk noise", "weight noise"],
            "repulsion alone gains": ["repulsion"],
        }.items()
    ),
]


def draw(found: list[Seen], table: pd.DataFrame) -> "figures.Figure":
    """Test accuracy along the arms, raw, held, explored, and from the earlier start; gains; gains against turning."""
    figure, axes = figures.sheet(2, 3, (14, 8.4))
    panels = [
        (axes[0, 0], "half-way", RAW, "from half-way, the norm free"),
        (axes[0, 1], "half-way", {"decay": RAW["decay"], **HELD}, "from half-way, the norm held"),
        (axes[0, 2], "half-way", EXPLORERS, "from half-way, chains"),
        (axes[1, 0], "begun", {arm: ARMS[arm] for arm in EARLY}, "from where generalising has begun"),
    ]
    for ax, start, arms, title in panels:
        for arm, how in arms.items():
            style = ":" if start == "begun" and arm in HELD else how.style
            curves = [seen.curve for seen in found if (seen.start, seen.arm) == (start, arm)]
            _curves(ax, curves, how.colour, style, arm)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("gradient evaluations" if arms is EXPLORERS else "step without decay")
        ax.set_ylabel("test accuracy (mean and range over seeds)")
        ax.set_ylim(0, 1.4)  # room for the legend
        ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        ax.legend(fontsize=7, frameon=False, ncols=2, loc="upper left")
    half = HALF.found(table)
    colours = {arm: how.colour for arm, how in {**RAW, **HELD, **EXPLORERS}.items() if arm != "plain"}
    draw_gains(axes[1, 1], half, colours, POINTS)
    axes[1, 1].set_xlabel("gain over plain Adam, points (95 % interval; grey: a null)")
    for arm, rows in table[table["start"] == "half-way"].set_index("seed").groupby("arm"):
        marker = "s" if arm in EXPLORERS else "^" if arm in HELD else "o"
        if arm in colours:
            gained = 100 * half[arm].reindex(rows.index)
            axes[1, 2].plot(rows["degrees"], gained, marker, color=colours[str(arm)], ms=4, alpha=0.7)
    axes[1, 2].axhspan(-100 * POINTS, 100 * POINTS, color=figures.GREY, alpha=0.15, lw=0)
    axes[1, 2].set_xlabel("angle from the start (degrees); ● free, ▲ norm held, ■ chains")
    axes[1, 2].set_ylabel("gain over plain Adam, points")
    return figure


def _curves(ax: "Axes", curves: list[pd.Series], colour: str, style: str, label: str) -> None:
    """Mean over seeds as a line, their range as a band."""
    if curves:
        every = pd.concat(curves, axis=1).ffill()
        ax.plot(every.index, every.mean(axis=1), color=colour, ls=style, label=label)
        low, high = every.min(axis=1).to_numpy(), every.max(axis=1).to_numpy()
        ax.fill_between(every.index.to_numpy(), low, high, color=colour, alpha=0.07, lw=0)


def notes(table: pd.DataFrame, at: dict[tuple[str, Run], int | None], effort: Effort) -> list[str]:
    """Task and rules, starts, arms, chains, where the arms end, divergence."""
    means = table[table["start"] == "half-way"].groupby("arm").mean(numeric_only=True)
    begins = [
        f"{start}, seed {run.config.init.seed}: "
        + (
            "none"
            if step is None
            else f"step {step}, test accuracy {run.history['test_acc'][step]:.2f}, norm {run.history['norm'][step]:.1f}"
        )
        for (start, run), step in at.items()
    ]
    chains = [
        f"{arm}: acceptance {rows['acceptance'].mean():.2f}, median |ΔH| {rows['abs_delta_H'].max():.2g} at most, step "
        f"sizes {rows['step_size'].min():.2g} to {rows['step_size'].max():.2g}"
        for arm, rows in table[table["arm"].isin(EXPLORERS)].groupby("arm", sort=False)
    ]
    ends = [
        f"{arm} {now['outcome']:.3f} (norm {now['start_norm']:.1f} to {now['final_norm']:.1f}, {now['degrees']:.0f}°, "
        f"train accuracy {now['train_acc']:.3f})"
        for arm, now in means.iterrows()
    ]
    sizes = [f"{name} {next(iter(arm.leaves.values())):g}" for name, arm in NOISES.items()]
    n_train = next(run for _, run in at).task.n_train
    return [
        "Both orders of a pair are on one side of the split. The starts are checkpoints of these runs: the first with "
        f"train accuracy {effort.fitted:g} at which test accuracy is {effort.levels['half-way']:g} (half-way) or "
        f"{effort.levels['begun']:g} (begun); a seed without one has no arms. {'; '.join(begins)}. From there "
        f"{effort.steps} steps with a fresh optimizer and its warm-up; {len(table)} runs and chains.",
        "With a random split (f = 0.6) a test accuracy of 0.5 is no half-way: it is reached while memorising, by pairs "
        "whose mirror was trained on; of the others, at most 3 % were right then. Hence the split without mirrors.",
        "Outcome: mean test accuracy over the last fifth; gains are paired by seed; a claim about several arms has "
        "intervals that hold together (Bonferroni). A null is decided within ±5 points. A diverged run counts as where "
        "it was last.",
        f"Arms: repulsion {LATERAL['repulsion'].leaves['repulsion']:g}, bound {BOUND:g} r; larger norm (r − R)² times "
        f"{RAW['larger norm'].leaves['target_norm']:g}, R = {LARGER:g} r; anti-decay "
        f"{RAW['anti-decay'].leaves['anti_decay']:g}; {'; '.join(sizes)}. Sizes were chosen on seeds 2 and 3 in 150 "
        "steps, so that training accuracy stayed above 0.99 and the weights moved. Held: the norm of the start is held "
        "by rescaling, and noise on weights or gradients is tangential. Pulls along the radius mean nothing at a held "
        "norm: the twin of larger norm and of anti-decay is plain, held. Twins do not turn as far as raw arms: see the "
        "degrees.",
        f"Chains: 2 per seed, {effort.draws} draws of {effort.gradients} gradients, in all "
        f"{effort.draws * effort.gradients} against the {effort.steps} of the arms; nβ {NBETA:g}, far colder than the "
        f"posterior at n = {n_train}; step sizes {SHARE:g} of the stability bound at the start, and halved "
        f"until {ACCEPTED:g} of the steps are accepted (of SGLD's: what Metropolis would accept); the prior alone "
        f"would have half the norm of the start. {'; '.join(chains)}.",
        f"Mean outcomes from half-way: {'; '.join(ends)}.",
        f"Diverged: {int((table['state'] == 'diverged').sum())} of {len(table)}.",
    ]


def main() -> None:
    given = verdicts.asked(STUDY.question, __file__, "two seeds of a tiny network for few steps")
    study, effort = (TINY, QUICK) if given.quick else (STUDY, FULL)
    sources = study.train(given)
    at = {(s, run): reached(run, effort.fitted, effort.levels[s]) for s in STARTS for run in sources.values()}
    there = [(start, run, step) for (start, run), step in at.items() if step is not None]
    jobs = {
        f"{start}-{arm.replace(', ', '-').replace(' ', '-')}-s{run.config.init.seed}": (start, arm, run, step)
        for start, run, step in there
        for arm in STARTS[start]
    }
    configs = [config(run, step, arm, effort.steps) for _, arm, run, step in jobs.values()]
    out = given.out / "runs"
    runs = cg.train(configs, out, names=list(jobs), progress=LiveProgress(), threads=given.threads)
    found = [trained(run, start, arm) for run, (start, arm, _, _) in zip(runs, jobs.values(), strict=True)]
    torch.set_num_threads(given.threads)
    half = [(run, step) for start, run, step in there if start == "half-way"]
    if not half:
        sys.exit(f"no seed is half-way within the budget: nothing to start from; the runs are in {out}")
    found += [explored(run, step, arm, effort) for arm in EXPLORERS for run, step in half]
    table = pd.DataFrame([row(seen) for seen in found])
    curvature = ground(*half[0]).curvature
    precisions = torch.tensor([share * NBETA * curvature for share in STIFF])
    checks = {}
    for arm in ("SGLD", "HMC"):
        how = settings(curvature, EXPLORERS[arm], effort, half[0][0].config.init.seed)
        how = how.model_copy(update={"n_chains": 4, "n_draws": effort.checked})
        checks[how.sampler] = equipartition(precisions, how)
    told = notes(table, at, effort)
    study.write_long(given, study.table(sources), table, [*CLAIMS, believed(checks)], draw(found, table), told)


if __name__ == "__main__":
    main()
