"""Which odd regularizers, noises and kicks help a network on without weight decay, from where, and does it last?

From checkpoints of a run with decay, at four levels of accuracy on unseen mirrors, decay is off: arms push outwards,
away, or about by noise, each against plain Adam from the same weights with the same momentum; noises of five forms are
compared at equal arcs. And the equilibrium is kicked: generalisers and memorisers, at their own norm and at the
other's, are turned by an angle towards noise and trained on: who comes back to what?

    python analyses/odd_regularizers.py            # ten seeds: ten minutes of one core
    python analyses/odd_regularizers.py --quick    # two, for few steps: seconds
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.foreign.edited import write_edited
from circuitgrok.geometry import angle, turned
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, where
from circuitgrok.study.effects import GAIN, Gains, draw_gains
from circuitgrok.study.legs import first_checkpoints
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, differences
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.study.walked import arcs, at_arc, sustained

QUESTION = "Which odd regularizers, noises and kicks help a network on without weight decay, from where, and lastingly?"
POINTS, FAR = 0.05, 0.3  # a gain that counts; radians at which forms of noise are compared
BOUND, LARGER = 0.15, 1.5  # of repulsion, and the norm that is aimed at, in units of the norm at the start
LEVELS = {"0.05": 0.05, "0.3": 0.3, "0.5": 0.5, "0.8": 0.8}  # unseen mirrors at the start
BASE = cg.TrainConfig.preset("quickstart").with_(
    p=23, d_model=32, d_head=8, d_mlp=128, split="mirror_free", frac_train=0.85, lr=2e-3, weight_decay=3.0,
    steps=1500, **evenly(10),
)  # fmt: skip


class Effort(NamedTuple):
    """How much is done from the starts, and what these are chosen by."""

    steps: int  # of an arm
    fitted: float  # train accuracy of a start
    levels: Mapping[str, float]  # unseen mirrors of each


FULL = Effort(400, 0.99, LEVELS)
QUICK = Effort(8, 0.0, dict.fromkeys(LEVELS, 0.0))
ODD = {  # each with a smaller and a larger coefficient
    "repulsion": ("repulsion", (1e-6, 1e-4, 1e-2)),
    "anti-decay": ("anti_decay", (1e-9, 1e-7, 1e-5)),
    "larger norm": ("target_norm", (1e-7, 1e-5, 1e-3)),
    "weight noise": ("weight_noise", (0.005, 0.01, 0.03)),
}
EVERY = {"plain": {}} | {arm: {name: sizes[1]} for arm, (name, sizes) in ODD.items()}
SIZES = {
    f"{arm} {said}": {name: sizes[i]} for arm, (name, sizes) in ODD.items() for i, said in ((0, "less"), (2, "more"))
}
NOISES = {
    "gradient noise": {"gradient_noise": 3e-4},
    "batch noise": {"batch_size": 32, "batch_noise": "sized", "batch_noise_times": 2.0},
    "label noise": {"label_noise": 3e-3},
    "walk noise": {"walk_noise": 3e-4},
}
HELD = {f"{arm}, held": leaves | {"fixed_norm": True} for arm, leaves in ({"plain": {}} | NOISES).items()}
HELD |= {"weight noise, held": EVERY["weight noise"] | {"fixed_norm": True}}
FORMS = [*NOISES, "weight noise"]
HALF, NO_MOMENTUM, LESS_MOMENTUM, KICK = "0.5", "0.5, β₁ 0", "0.5, β₁ 0.5", "kick"
FROM = dict.fromkeys([*LEVELS, NO_MOMENTUM, LESS_MOMENTUM], EVERY)
FROM |= {HALF: EVERY | {"decay": {"weight_decay": 3.0}} | SIZES | NOISES | HELD}
MOMENTA = {NO_MOMENTUM: 0.0, LESS_MOMENTUM: 0.5}
KICKS = {  # degrees, by whose weights and at whose norm
    ("generaliser", "generaliser"): (30, 45, 60, 75, 90),
    ("generaliser", "memoriser"): (0, 30, 45, 60, 75),
    ("memoriser", "memoriser"): (30, 60, 90),
    ("memoriser", "generaliser"): (0, 45, 90),
}
SOURCES = {"generaliser": {}, "memoriser": {"weight_decay": 0.0, "steps": 400}}
COLOURS = {"plain": figures.BLUE, "repulsion": figures.RED, "anti-decay": figures.ORANGE, "larger norm": figures.PURPLE}
COLOURS |= {"weight noise": figures.GREEN, "decay": figures.GREY}
SHADES = dict(zip(FORMS, (figures.SKY, figures.RED, figures.PURPLE, figures.ORANGE, figures.GREEN), strict=True))


def kicked(of: str, norm: str, degrees: int) -> str:
    """The name of an arm."""
    return f"{of} at the {norm}'s norm, {degrees}°"


def answering(level: float, fitted: float, at: pd.DataFrame) -> pd.Series:
    """Whether a checkpoint fits, and answers so many unseen mirrors."""
    return (at["train_acc"] >= fitted) & (at["test_mirror_unseen_acc"] >= level)


def leaves(there: Mapping[int, tuple[Run, int]], own: Mapping[str, Any], beta1: float, cell: cg.TrainConfig) -> Any:
    """What an arm differs in; the norm at its start is the unit of length."""
    run, step = there[cell.init.seed]
    r = run.history["norm"][step]
    lengths = {"repel_bound": BOUND * r} if "repulsion" in own else {}
    lengths |= {"target_radius": LARGER * r} if "target_norm" in own else {}
    return {"start": f"{run.path}@{step}", "weight_decay": 0.0, "beta1": beta1, **lengths, **own}


def written(sources: Mapping[str, Mapping[int, Run]], folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """By arm and seed, where a kicked network lies and what it is to be multiplied by."""
    norms = {of: {seed: run.history["norm"].iloc[-1] for seed, run in runs.items()} for of, runs in sources.items()}
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for (of, norm), angles in KICKS.items():
        for degrees, seed in product(angles, sources[of]):
            run = sources[of][seed]
            ahead, last = torch.Generator().manual_seed(1000 + seed), run.steps[-1]
            there = turned(run.at(last), math.radians(degrees), ahead, run.config.model.is_trainable)
            network = {name: value.float() for name, value in there.items()}
            start = write_edited(run, last, network, folder / f"{of}-{degrees}-s{seed}", f"turned by {degrees}°")
            own = {"start": start, "alpha": norms[norm][seed] / norms[of][seed], "weight_decay": 0.0}
            found[kicked(of, norm, degrees)][seed] = own
    return found


def scored(run: Run) -> dict[str, Any]:
    """What is sustained, what was best, how far it turned; a diverged run counts as where it was last."""
    unseen, path = run.history["test_mirror_unseen_acc"], arcs(run)
    return {
        "start_acc": unseen.iloc[0],
        "outcome": sustained(unseen),
        "best": unseen.rolling(max(1, len(unseen) // 5)).mean().max(),
        "arc": path.iloc[-1],
        "at_arc": at_arc(unseen.rolling(5, min_periods=1).mean(), path, FAR),
    }


def came_back(sources: Mapping[str, Mapping[int, Run]], of: str, run: Run) -> dict[str, Any]:
    """Of a kicked run, what it regains of its source: unseen mirrors, the same answers to them, its direction."""
    source = sources[of][run.config.init.seed]
    unseen, asked = source.history["test_mirror_unseen_acc"].iloc[-1], run.task.inputs[~run.task.is_train]
    ends = [each.at(each.steps[-1]) for each in (source, run)]
    says = [run.config.model.logits(end, asked).argmax(-1) for end in ends]
    return {
        "source_unseen": unseen,
        "regained": sustained(run.history["test_mirror_unseen_acc"]) / max(unseen, 1 / len(asked)),
        "agree": (says[0] == says[1]).double().mean().item(),
        "from_source": math.degrees(angle(*ends).item()),
    }


def rows(moved: Studies, runs: Mapping[str, Run], sources: Mapping[str, Mapping[int, Run]]) -> pd.DataFrame:
    """One for each arm."""
    table, labels = moved.table(runs, scored), moved.labels()
    back = [
        came_back(sources, labels[name]["arm"].split()[0], run) if labels[name]["start"] == KICK else {}
        for name, run in runs.items()
    ]
    return pd.concat([table, pd.DataFrame(back, index=table.index)], axis=1)


def gains(start: str, column: str = "outcome", against: str = "plain") -> Gains:
    """Of the arms from a start."""
    return Gains(where(start=start), column, against, f"points of unseen mirrors from {start}, {column}")


def gain(arm: str, start: str, other: str) -> Mean:
    """By how much more an arm gains from one start than from another."""
    of = differences(where(), "outcome", arm=(arm, "plain"), start=(start, other))
    return Mean(of, "difference", f"gain of {arm} from {start} less that from {other}", bounds=(-2, 2))


def kick(of: str, norm: str, degrees: int, column: str, name: str, less: str = "", bounds: Any = None) -> Mean:
    """Of kicked networks."""
    against = where(start=KICK, arm=less) if less else None
    return Mean(where(start=KICK, arm=kicked(of, norm, degrees)), column, name, against, bounds=bounds)


AT_HALF, AT_ARC = gains(HALF), gains(HALF, "at_arc", "gradient noise")
ON_SPHERE = gains(HALF, "outcome", "plain, held")
OWN = [kicked("memoriser", "memoriser", degrees) for degrees in KICKS["memoriser", "memoriser"]]
MORE = "more than 5 points"


def sizes(*arms: str) -> list[str]:
    """Arms with all their coefficients."""
    return [f"{arm}{said}" for arm in arms for said in (" less", "", " more")]


CLAIMS = [
    AT_HALF.any_exceeds(["decay"], POINTS, f"Positive control: from half-way weight decay gains {MORE}."),
    AT_HALF.any_exceeds(sizes("weight noise"), POINTS, f"Noise on the weights gains {MORE} at some size of three."),
    AT_HALF.any_exceeds(sizes("repulsion"), POINTS, f"Repulsion gains {MORE} at some coefficient of three."),
    gains(HALF, "best").any_exceeds(
        sizes("anti-decay", "larger norm"), POINTS,
        f"Pushing outwards gains {MORE} for a while: in its best fifth, by anti-decay or a larger norm, at some size.",
    ),
    gain("weight noise", HALF, "0.05").exceeds(
        POINTS, f"It is best near half-way: weight noise gains {MORE} there beyond what it gains at the beginning."
    ).telling(gain("weight noise", HALF, "0.8"), gain("weight noise", "0.3", "0.05")),
    gain("weight noise", NO_MOMENTUM, HALF).exceeds(
        POINTS, f"It is best with little momentum: with none (β₁ = 0) weight noise gains {MORE} beyond 0.9."
    ).telling(*(gain(arm, NO_MOMENTUM, HALF) for arm in ("repulsion", "anti-decay", "larger norm"))),
    AT_ARC.any_exceeds(
        ["batch noise", "label noise", "weight noise"], POINTS, f"The form of noise counts: after {FAR:g} radians "
        f"noise of batches, labels or weights is {MORE} ahead of isotropic noise on the gradient.",
    ),
    ON_SPHERE.any_exceeds(
        [f"{arm}, held" for arm in FORMS], POINTS, f"On the sphere some noise adds {MORE} to what Adam gains there."
    ),
    kick("generaliser", "generaliser", 60, "regained", "share of its unseen mirrors that is regained").exceeds(
        0.5, "Generalisers are an equilibrium: kicked by 60° they regain over half of what they answered."
    ).telling(
        *(kick("generaliser", "generaliser", x, "regained", f"by {x}°") for x in (45, 75, 90)),
        kick("generaliser", "generaliser", 60, "from_source", "degrees from where they were, at the end"),
    ),
    kick("generaliser", "memoriser", 60, "regained", "share regained, at the memoriser's norm less at its own",
         kicked("generaliser", "generaliser", 60))
    .falls_below(-0.25, "It is fragile at a large norm: at the memoriser's they regain over a quarter less."),
    Mean(by_seed(where(start=KICK, arm=lambda arm: arm.isin(OWN)), outcome="max"), "outcome",
         "accuracy on unseen mirrors, best of three kicks", bounds=(0, 1))
    .falls_below(0.1, "No kick frees memorisers: kicked by 30°, 60° or 90° they stay below 10 % of unseen mirrors."),
    kick("memoriser", "memoriser", 60, "agree", "same answers to unseen pairs, memoriser less generaliser",
         kicked("generaliser", "generaliser", 60), GAIN)
    .falls_below(-0.25, "Memorisers come back to memorising, not to what they were: kicked by 60° they give over 25 "
                 "points fewer of their own answers to unseen pairs than generalisers of theirs."),
]  # fmt: skip
STUDY = Study(QUESTION, BASE, SOURCES, seeded=("seed", "data_seed", "noise_seed"), claims=CLAIMS)  # of the starts
TINY = STUDY.with_(seeds=[0, 1], p=13, steps=20, arms=SOURCES | {"memoriser": {"weight_decay": 0.0}})


def kicks_of(table: pd.DataFrame, of: str, norm: str) -> pd.DataFrame:
    """The rows of a network kicked at a norm, by angle in the column `kick`."""
    names = {kicked(of, norm, degrees): degrees for degrees in KICKS[of, norm]}
    return where(start=KICK, arm=lambda arm: arm.isin(names))(table).assign(kick=lambda rows: rows["arm"].map(names))


def shares(table: pd.DataFrame) -> Iterator[str]:
    """The share of kicked networks that come back, by angle, and the angle at which half of them do not."""
    for of, norm in KICKS:
        rows = kicks_of(table, of, norm)
        stays = rows["outcome"] < 0.1 if of == "memoriser" else rows["regained"] >= 0.5
        back = stays.groupby(rows["kick"]).mean()
        at = list(zip(back.index.tolist(), back.tolist(), strict=True))
        half = [a + (b - a) * (high - 0.5) / (high - low) for (a, high), (b, low) in pairwise(at) if high >= 0.5 > low]
        said = ", ".join(f"{degrees}° {share:.1f}" for degrees, share in at)
        yield f"{of} at the {norm}'s norm {said}" + (f" (half at {half[0]:.0f}°)" if half else "")


def draw(table: pd.DataFrame, courses: Mapping[tuple[str, str], list[pd.Series]]) -> "figures.Figure":
    """Courses from half-way; gains by start and by momentum; gains of sizes and forms; per arc; kicks."""
    figure, axes = figures.sheet(3, 2, (figures.PAGE, 10.0), height_ratios=(1, 1.5, 1))
    (along, by_start), (every, per_arc), (back, agree) = axes
    for arm, colour in COLOURS.items():
        figures.draw_band(along, courses[HALF, arm], colour, "-", arm)
        for names, at in (([*LEVELS], 0), ([NO_MOMENTUM, LESS_MOMENTUM, HALF], 5)):
            means = [100 * gains(start).found(table).get(arm, pd.Series(dtype=float)).mean() for start in names]
            by_start.plot(range(at, at + len(names)), means, "-o", ms=4, color=colour, label=None if at else arm)
    along.set(title="from half-way, without decay", xlabel="step", ylabel="accuracy on unseen mirrors (seeds)")
    by_start.set_xticks([0, 1, 2, 3, 5, 6, 7], [*LEVELS, "β₁ 0", "0.5", "0.9"], fontsize=7)
    by_start.set(title="by start, and by momentum", ylabel="gain over plain Adam, points")
    by_start.axhspan(-100 * POINTS, 100 * POINTS, color=figures.GREY, alpha=0.15, lw=0)
    half, tones = AT_HALF.found(table), {**COLOURS, **SHADES}
    colours = {arm: tones[re.sub(", held| less| more", "", arm)] for arm in map(str, half)}
    draw_gains(every, half, {arm: colour for arm, colour in colours.items() if arm != "plain"}, POINTS)
    every.set(title="all arms from half-way", xlabel="gain over plain Adam, points (95 %)")
    for arm, of in where(start=HALF)(table).set_index("seed").groupby("arm"):
        marker = "^" if str(arm).endswith(", held") else "o"
        per_arc.plot(of["arc"], 100 * half[arm].reindex(of.index), marker, color=colours[str(arm)], ms=3.5, alpha=0.6)
    per_arc.set(title="● free, ▲ norm held", xlabel="radians turned step by step", ylabel="gain, points", xscale="log")
    styles = dict(zip(KICKS, (figures.BLUE, figures.SKY, figures.RED, figures.ORANGE), strict=True))
    for (of, norm), colour in styles.items():
        for ax, column in ((back, "outcome"), (agree, "agree")):
            turns = kicks_of(table, of, norm)
            figures.draw_seeds(ax, turns, "kick", column, colour, "-", f"{of}, {norm}'s norm")
            ax.set(xlabel="kick (degrees)", ylim=(-0.03, 1.03))
    back.set(title="kicked, trained on", ylabel="accuracy on unseen mirrors, end (seeds)")
    agree.set(title="back to what they were?", ylabel="same answers to unseen pairs as before")
    figures.legends([along, by_start, back, agree])
    return figures.paper(figure, figures.PAGE)


def notes(table: pd.DataFrame, effort: Effort) -> list[str]:
    """Starts, rules, sizes, where arms end, what is gained per radian, kicks."""
    moved = table[table["start"] != KICK].copy()
    plain = moved[moved["arm"] == "plain"].set_index(["start", "seed"])["outcome"]
    moved["gain"] = moved["outcome"] - plain.reindex(moved.set_index(["start", "seed"]).index).to_numpy()
    moved["transient"] = moved["best"] - moved["outcome"]
    moved["per_radian"] = moved["gain"] / moved["arc"]
    columns = ["gain", "transient", "per_radian", "arc", "final_norm", "train_acc"]
    ends = moved.groupby(["start", "arm"], sort=False)[columns].mean()
    told = ["start_acc", "outcome", "train_acc", "final_norm", "from_source", "agree"]
    kicks = where(start=KICK)(table).groupby("arm", sort=False)[told].mean()
    begin = moved.groupby(["start", "arm"], sort=False)["start_acc"].agg(["size", "mean"]).xs("plain", level="arm")
    coefficients = "; ".join(f"{arm} {', '.join(f'{x:g}' for x in sizes)}" for arm, (_, sizes) in ODD.items())
    return [
        f"Starts: the first checkpoint with train accuracy {effort.fitted:g} that answers so many unseen mirrors (all "
        f"test pairs: the split has none known); seeds that have one, and means: {listed(begin, '{}: {}, {:.2f}')}. "
        f"From there {effort.steps} steps with a fresh optimizer and its warm-up. A diverged run counts as where it "
        f"was last. Diverged: {(table['state'] == 'diverged').sum()} of {len(table)}.",
        f"Coefficients, the middle one where nothing is said: {coefficients}; repulsion bounded at {BOUND:g} r, the "
        f"larger norm (r − R)² to R = {LARGER:g} r. Noises: {'; '.join(f'{k} {v}' for k, v in NOISES.items())}. "
        "Sizes are from pilots of seeds 90 and 91.",
        "Gain over plain Adam from the same start with the same momentum (mean of the last fifth), best fifth less "
        "last fifth, gain per radian, arc, norm and training accuracy at the end, means: "
        f"{listed(ends, '{}, {}: {:.2f}, {:.2f}, {:.2f}, {:.2f}, {:.1f}, {:.2f}', '; ')}.",
        "Kicked, trained on without decay; share of generalisers that regain half of what they answered, of memorisers "
        f"that stay below 0.1, by angle: {'; '.join(shares(table))}. At 90° nothing is left of either.",
        "Unseen mirrors after the kick and at the end, training accuracy, norm, degrees from the source, same answers "
        "to unseen pairs, means: "
        f"{listed(kicks, '{}: {:.2f}, {:.2f}, {:.2f}, {:.1f}, {:.0f}°, {:.2f}', '; ')}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, TINY, "two seeds, few steps")
    effort = QUICK if given.quick else FULL
    sources = study.train(given)
    by_source = study.grouped(sources)
    there = {
        start: first_checkpoints(by_source["generaliser"], partial(answering, level, effort.fitted))
        for start, level in effort.levels.items()
    }
    there |= {name: there[HALF] for name in MOMENTA}
    parts = {
        start: study.with_(
            arms={arm: partial(leaves, there[start], own, MOMENTA.get(start, 0.9)) for arm, own in arms.items()},
            seeds=list(there[start]), steps=effort.steps, **evenly(max(1, effort.steps // 10)),
        )
        for start, arms in FROM.items()
        if there[start]
    }  # fmt: skip
    of_seed = {name: {run.config.init.seed: run for run in of} for name, of in by_source.items()}
    kicks = written(of_seed, given.out / "runs" / "starts")
    arms = {arm: lambda cell, of=of: of[cell.init.seed] for arm, of in kicks.items()}
    parts[KICK] = study.with_(arms=arms, steps=effort.steps, **evenly(max(1, effort.steps // 4)))
    moved = Studies(study.question, parts, "start")
    runs = moved.train(given)
    table, courses = rows(moved, runs, of_seed), defaultdict(list)
    for name, line in moved.labels().items():
        courses[line["start"], line["arm"]].append(runs[name].history["test_mirror_unseen_acc"])
    study.write(given, table, draw(table, courses), notes(table, effort), runs=study.table(sources))


if __name__ == "__main__":
    main()
