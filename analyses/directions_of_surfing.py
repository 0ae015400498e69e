"""Does any motion along the valley of low loss find networks that generalise, or that to smaller norms alone?

Networks that have memorised without decay (train accuracy 1, unseen mirrors wrong) are moved along the level set of
their training loss at unit speed, all the same length: to smaller and larger norms, in random directions, to smaller
l1 and nuclear norms, to a smaller trace of the Hessian, to smaller logits, and by nothing but the corrections that keep
them at their level. Of every mirror pair both are on one side of the split, so that all test pairs are unseen mirrors.

    python analyses/directions_of_surfing.py            # ten seeds
    python analyses/directions_of_surfing.py --quick    # two of a tiny network, for few steps: seconds
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.geometry import angle
from circuitgrok.interventions.penalties import L1, Nuclear
from circuitgrok.landscape import directions
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.level_flow import Direction, Surfed, begun, levelled, surfed
from circuitgrok.measures.circuits.unseen import restricted_loss_unseen
from circuitgrok.measures.spectra.fourier import logit_spectrum
from circuitgrok.samplers.geometry import FLAT, Sphere
from circuitgrok.store.files import write_atomically
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.effects import GAIN, Gains, draw_gains, in_points, joint_intervals
from circuitgrok.study.legs import first_checkpoints
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Study, evenly
from circuitgrok.training.progress import ticks
from circuitgrok.tree import Params

POINTS, MANY = 0.05, 0.20  # of unseen mirrors: a gain that counts, and a large one
LEFT = 0.25  # of |ln(L / level)|, in the mean of a stretch: with more a way has left its level, and counts up to there
KEY = 5  # key frequencies of a network: those with most energy in its logits
SLOW, TIMES = 10.0, 2  # of the way, at the start, where it is steepest: there steps are so many times shorter


class Effort(NamedTuple):
    """Where ways start, and how long they are."""

    level: float  # of the training loss
    fitted: float  # train accuracy of a start
    way: float  # along the level set, in units of weights
    stretch: float  # of the way from one line of a course to the next


FULL, QUICK = Effort(1e-2, 1.0, 64.0, 2.0), Effort(2.3, 0.0, 2.0, 0.5)


Draws = list[torch.Generator]


class Arm(NamedTuple):
    """A way: where it leads, in which steps, whether at the norm of its start, at which level."""

    direction: Callable[[ChainLoss, Draws], Direction]  # of the loss of one chain
    step: float = 0.03
    held: bool = False
    times: float = 1.0  # the level of the others


def least(loss: ChainLoss, draws: Draws) -> Direction:
    """To a smaller norm."""
    return lambda position: -position


def down(rule: Callable[[Params], Tensor]) -> Callable[[ChainLoss, Draws], Direction]:
    """To a smaller penalty."""
    return lambda loss, draws: directions.descending(
        rule, {piece.name: piece.of(loss.networks)[0] for piece in loss.pieces}
    )


def ahead(loss: ChainLoss, draws: Draws) -> Direction:
    """Straight on."""
    return directions.straight(loss.start, draws)


LEAST = "least norm"
ARMS: dict[str, Arm] = {
    LEAST: Arm(least),
    "least l1": Arm(down(L1.rule)),
    "least nuclear norm": Arm(down(Nuclear.rule)),
    "least trace": Arm(directions.flattening),
    "least logits": Arm(lambda loss, draws: directions.quieting(loss)),
    "corrections": Arm(lambda loss, draws: directions.recoiling(loss, draws, 0.03)),
    "largest norm": Arm(lambda loss, draws: lambda position: position, step=0.025),
    "straight": Arm(ahead, step=0.025),
    "Brownian": Arm(lambda loss, draws: directions.wandering(draws), step=0.05),
    "Brownian, long steps": Arm(lambda loss, draws: directions.wandering(draws), step=0.25),
    "straight, held": Arm(ahead, held=True),
    "least nuclear norm, held": Arm(down(Nuclear.rule), held=True),
    f"{LEAST}, half the step": Arm(least, step=0.015),
    f"{LEAST}, thrice the level": Arm(least, times=3.0),
    f"{LEAST}, a tenth of it": Arm(least, step=0.015, times=0.1),
}
UNGUIDED = ("largest norm", "straight", "Brownian", "Brownian, long steps")
PENALTIES = ("least l1", "least nuclear norm")
HELD = tuple(name for name, arm in ARMS.items() if arm.held)
SHADES = (figures.BLUE, figures.GREEN, figures.SKY, figures.PURPLE, figures.ORANGE, figures.GREY)
COLOURS = dict(zip(ARMS, SHADES, strict=False)) | dict.fromkeys(UNGUIDED, figures.RED) | {"decay": "black"}
COLOURS |= {name: COLOURS[name.rsplit(", ", 1)[0]] for name in ARMS if ", " in name}
STYLES = {"straight": "--", "Brownian": ":", "Brownian, long steps": "-."} | dict.fromkeys(
    [*HELD, f"{LEAST}, half the step"], "--"
)


def answers(loss: ChainLoss, position: Tensor) -> Tensor:
    """Logits of all pairs for each network of a stack."""
    with torch.no_grad():
        return loss.model.logits(loss.networks_at(position), loss.task.inputs).double()


def ways(run: Run, step: int, names: Sequence[str], effort: Effort) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """A line for each arm from one memoriser, and their courses; the arms have one step and are held alike."""
    weights, model, task, seed = run.at(step), run.config.model, run.task, run.config.init.seed
    unseen, arms = task.where("test_mirror_unseen"), [ARMS[name] for name in names]

    def losses(n: int) -> ChainLoss:
        copies = {name: value.expand(n, *value.shape).clone() for name, value in weights.items()}
        return ChainLoss(model, task, task.is_train, copies, chosen_pieces(model))

    loss, one = losses(len(arms)), losses(1)
    draws = [torch.Generator().manual_seed(1000 * seed + [*ARMS].index(name)) for name in names]
    direction = directions.abreast([arm.direction(one, [own]) for arm, own in zip(arms, draws, strict=True)])
    level = torch.tensor([effort.level * arm.times for arm in arms], dtype=torch.float64)
    chains = begun(levelled(loss, loss.start, level))
    at, first = chains.position, answers(loss, chains.position)

    def line(now: Surfed) -> dict[str, Tensor]:
        right = (answers(loss, now.position).argmax(-1) == task.labels).double()
        turned = torch.stack([angle(one, other).rad2deg() for one, other in zip(now.position, at, strict=True)])
        found = {"unseen": right[:, unseen].mean(1), "train_acc": right[:, task.is_train].mean(1), "degrees": turned}
        found |= {"norm": now.position.double().norm(dim=-1), "way": now.way, "corrected": now.corrected}
        return found | {"off": now.off, "off_most": now.off_most}

    lines, geometry = [line(chains)], Sphere() if arms[0].held else FLAT
    for stretch in range(round(effort.way / effort.stretch)):
        size = arms[0].step / (TIMES if stretch * effort.stretch < SLOW else 1)
        n = round(effort.stretch / size)
        chains = surfed(loss, chains, direction, level=level, step=effort.stretch / n, n_steps=n, geometry=geometry)
        lines.append(line(chains))
    course = pd.DataFrame({name: torch.stack([of[name] for of in lines], 1).flatten().tolist() for name in lines[0]})
    course = course.assign(arm=[name for name in names for _ in lines], seed=seed)
    end, found = answers(loss, chains.position), []
    for i, (name, whole) in enumerate(course.groupby("arm", sort=False)):
        begin, is_kept = whole.iloc[0], (whole["off"] <= LEFT).cummin()
        rows, last = whole[is_kept].iloc[1:], whole[is_kept].iloc[-1]
        said = {
            "arm": name,
            "seed": seed,
            "from_step": step,
            "start_norm": begin["norm"],
            "stayed": bool(is_kept.all()),
        }
        said |= {"start_unseen": begin["unseen"], "outcome": rows["unseen"].iloc[-max(1, len(rows) // 5) :].mean()}
        said |= {"best": rows["unseen"].max(), "end": last["unseen"], "least_train_acc": rows["train_acc"].min()}
        said |= {"final_norm": last["norm"], "off": rows["off"].mean(), "off_most": rows["off_most"].max()}
        found.append(said | {name: last[name] for name in ("degrees", "way", "corrected")})
        if is_kept.all():
            key = 1 + logit_spectrum(end[i, :, : task.p]).topk(KEY).indices.sort().values
            for column, logits in (("circuit_start", first[i]), ("circuit", end[i])):
                kept = restricted_loss_unseen(logits[:, : task.p], task.labels, key, unseen)
                found[-1][column] = kept.item()
    return found, course


def surf_all(there: Mapping[int, tuple[Run, int]], given: Any, effort: Effort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lines and courses of all arms and seeds; those of a seed are kept beside its run."""
    stacks: dict[tuple[float, bool], list[str]] = {}
    for name, arm in ARMS.items():
        stacks.setdefault((arm.step, arm.held), []).append(name)
    lines, courses = [], []
    with ticks("surfing from", "memorisers") as tick:
        for done, (seed, (run, step)) in enumerate(there.items(), 1):
            file = given.out / "runs" / f"ways-s{seed}.json"
            if not file.exists():
                made = [ways(run, step, names, effort) for names in stacks.values()]
                whole = [[line for of, _ in made for line in of], pd.concat([c for _, c in made]).to_dict("records")]
                write_atomically(file, json.dumps(whole).encode())
            of, course = json.loads(file.read_bytes())
            lines, courses = [*lines, *of], [*courses, *course]
            tick(done, len(there))
    table = pd.DataFrame(lines)
    ends = pd.DataFrame(courses).groupby(["arm", "seed"])["unseen"].apply(lambda of: of.iloc[-(len(of) // 5) :].mean())
    table["to_the_end"] = [ends[key] for key in zip(table["arm"], table["seed"], strict=True)]
    table["per_radian"] = (table["outcome"] - table["start_unseen"]) / table["degrees"].map(math.radians)
    return table, pd.DataFrame(courses)


def trained(run: Run) -> dict[str, float]:
    """What is told of a memoriser that was trained on with decay."""
    unseen = run.history["test_mirror_unseen_acc"]
    fifth = unseen[unseen.index >= 0.8 * unseen.index[-1]]
    return {"start_unseen": unseen.iloc[0], "outcome": fifth.mean(), "best": unseen.max()}


def arm(name: str) -> Selection:
    """The rows of one arm."""
    return where(arm=name)


def beyond(others: Sequence[str], one: str = LEAST) -> Selection:
    """By seed, what one arm has above the best of others: the largest of each seed, which favours them."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        wide = table.pivot(index="seed", columns="arm", values="outcome")
        there = [name for name in others if name in wide]
        return pd.DataFrame({"more": wide[one] - wide[there].max(axis=1)}).dropna().reset_index()

    return rows


ALL = Gains(where(), "outcome", "start", "points of unseen mirrors")
MORE, OVER = f"gains more than {100 * POINTS:g} points", f"gains over {100 * MANY:g} points"
half, thrice, tenth = (
    Mean(arm(f"{LEAST}, {what}"), "outcome", f"{what} less as it is, of unseen mirrors", arm(LEAST), bounds=GAIN)
    for what in ("half the step", "thrice the level", "a tenth of it")
)
CLAIMS = [
    ALL.any_exceeds(["decay"], MANY, f"Positive control: training on with decay {OVER}."),
    ALL.any_exceeds([LEAST], MANY, f"At constant loss the way to the least norm generalises: it {OVER}."),
    Mean(beyond(UNGUIDED), "more", "least norm less the best unguided way, of unseen mirrors", bounds=GAIN)
    .exceeds(MANY, f"It beats ways that no penalty guides, {', '.join(UNGUIDED)}, by over {100 * MANY:g} points."),
    Mean(beyond(PENALTIES), "more", "least norm less the better of l1 and nuclear norm, of unseen mirrors", bounds=GAIN)
    .exceeds(POINTS, f"It beats ways to the least l1 and nuclear norm by more than {100 * POINTS:g} points."),
    ALL.any_exceeds(UNGUIDED, POINTS, f"Motion as such generalises: a way that no penalty guides {MORE}."),
    ALL.any_exceeds(PENALTIES, POINTS, f"Another penalty on the weights will do: l1 or nuclear norm {MORE}."),
    ALL.any_exceeds(["least trace"], POINTS, f"The way to the least trace of the Hessian {MORE}."),
    ALL.any_exceeds(["least logits"], POINTS, f"The way to the smallest logits {MORE}."),
    ALL.any_exceeds(["corrections"], POINTS, f"Corrections alone, of kicks that are taken back: {MORE}."),
    ALL.any_exceeds(HELD, POINTS, f"At constant norm some way, {', '.join(HELD)}, {MORE}."),
    Mean(arm(LEAST), "best", "best less last, of unseen mirrors", by="end", bounds=GAIN)
    .falls_below(POINTS, f"What least norm gains stays: it ends less than {100 * POINTS:g} points below its best."),
    half.is_within(MANY / 2, f"Half the step gains the same, to {50 * MANY:g} points.").telling(thrice, tenth),
]  # fmt: skip
HALF = f"{LEAST}, half the step"  # its ways stay at their level where those of longer steps leave it
POST_HOC = [
    ALL.any_exceeds([HALF], MANY, f"At half the step the way to the least norm {OVER}."),
    Mean(beyond(UNGUIDED, HALF), "more", "half the step less the best unguided way, of unseen mirrors", bounds=GAIN)
    .exceeds(MANY, f"At half the step it beats ways that no penalty guides by over {100 * MANY:g} points."),
    Mean(beyond(PENALTIES, HALF), "more", "half the step less the better of l1 and nuclear norm, of unseen mirrors",
         bounds=GAIN)
    .exceeds(POINTS, f"At half the step it beats l1 and nuclear norm by more than {100 * POINTS:g} points."),
]  # fmt: skip
QUESTION = "Does any motion along the valley of low loss generalise, or only that to smaller norms?"
SPLIT = {"split": "mirror_free", "frac_train": 0.9}
STUDY = Study(
    QUESTION,
    cg.TrainConfig.preset("quickstart").with_(
        p=23, d_model=32, d_head=8, d_mlp=128, weight_decay=0.0, steps=700, **SPLIT, **evenly(20)
    ),
    arms={"memoriser": {}},
    claims=CLAIMS,
)
TINY = STUDY.with_(seeds=[0, 1], steps=120, p=11, d_model=16, d_head=4, d_mlp=32, checkpoint_every=10, frac_train=0.8)
DECAY = 2000  # steps of the positive control


def draw(table: pd.DataFrame, courses: pd.DataFrame) -> "figures.Figure":
    """Unseen mirrors, norm and loss along the ways; gains; what remains of the level; turned."""
    figure, axes = figures.sheet(2, 3, (13.5, 8.2))
    (free, turning, norms), (levels, gains, circuits) = axes
    shown = [name for name in ARMS if name == HALF or name not in HELD and not name.startswith(f"{LEAST},")]
    for name in shown:
        rows = courses[courses["arm"] == name]
        for ax, column in ((free, "unseen"), (norms, "norm"), (levels, "off")):
            curves = [of.set_index(of["way"].round(2))[column] for _, of in rows.groupby("seed")]
            if ax is levels:
                middle = pd.concat(curves, axis=1).median(axis=1).iloc[1:]
                ax.plot(middle, color=COLOURS[name], ls=STYLES.get(name, "-"), lw=1.2)
            else:
                figures.draw_band(ax, curves, COLOURS[name], STYLES.get(name, "-"), name)
    for name in (*shown, *HELD):
        rows = courses[courses["arm"] == name]
        for i, (_, of) in enumerate(rows.groupby("seed")):
            label = name if name in HELD and not i else None
            turning.plot(of["degrees"], of["unseen"], STYLES.get(name, "-"), color=COLOURS[name], lw=0.7, label=label)
    free.set(xlabel="way along the level set", ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03))
    turning.set(xlabel="angle from the memoriser (degrees)", ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03))
    norms.set(xlabel="way along the level set", ylabel="norm of the weights")
    levels.set(xlabel="way along the level set", ylabel="mean |ln(loss / level)| of a stretch", yscale="log")
    levels.axhline(LEFT, color=figures.GREY, lw=0.8)
    draw_gains(gains, ALL.found(table), {"decay": COLOURS["decay"], **COLOURS}, POINTS)
    gains.set_xlabel("gain over the memoriser, points (95 %)")
    for name in ARMS:
        rows = where(arm=name)(table)
        circuits.plot(rows["final_norm"], rows["circuit"], "^" if name in HELD else "o", color=COLOURS[name], ms=4)
    circuits.axhline(table["circuit_start"].mean(), color=figures.GREY, lw=0.8)
    circuits.set(xlabel="norm at the end (triangles: held)", ylabel="restricted loss of unseen mirrors, nats")
    if table["circuit"].notna().any():
        circuits.set_yscale("log")
    figures.legends([free, turning])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, TINY, "two seeds of a tiny network for few steps")
    effort = QUICK if given.quick else FULL
    torch.set_num_threads(given.threads)
    sources = study.train(given)
    there = first_checkpoints(
        sources.values(), lambda at: (at["train_acc"] >= effort.fitted) & (at["train_loss"] <= effort.level)
    )
    if not there:
        sys.exit(f"no run comes to a training loss of {effort.level:g} within the budget; the runs are in {given.out}")
    places = {seed: {"start": f"{run.path}@{step}"} for seed, (run, step) in there.items()}
    goes_on = study.with_(
        arms={"decay": lambda cell: places[cell.init.seed]}, seeds=list(there), weight_decay=2.0,
        steps=40 if given.quick else DECAY, checkpoint_every=DECAY,
    )  # fmt: skip
    decayed = goes_on.train(given)
    table, courses = surf_all(there, given, effort)
    begin = where(arm=LEAST)(table)[["seed", "start_unseen"]]
    lines = pd.DataFrame([{"arm": "decay", "seed": run.config.init.seed, **trained(run)} for run in decayed.values()])
    zero = begin.assign(arm="start", outcome=begin["start_unseen"])
    table = pd.concat([zero, lines, table], ignore_index=True)
    ends = table[table["arm"].isin(ARMS)].groupby("arm", sort=False)
    means = ends[["outcome", "to_the_end", "best", "final_norm", "degrees", "corrected", "circuit"]].mean()
    levels = ends[["off", "off_most", "least_train_acc"]].max().assign(least=ends["least_train_acc"].min())
    turned = table[table["degrees"] > 5]
    per = {str(name): rows["per_radian"].tolist() for name, rows in turned.groupby("arm", sort=False)}
    left = table[table["stayed"] == False].groupby("arm")["way"].agg(["size", "mean"])  # noqa: E712
    notes = [
        f"Starts: the first checkpoint with train accuracy {effort.fitted:g} and training loss {effort.level:g}, "
        "brought to that level along the gradient. Steps: "
        + ", ".join(f"seed {seed}: {step}" for seed, (_, step) in there.items())
        + ".",
        f"Ways: {effort.way:g} along the level set; "
        + ", ".join(f"{name} in steps of {of.step:g}" for name, of in ARMS.items())
        + f"; the first {SLOW:g} in steps {TIMES} times shorter. Way, steps, level, split and network "
        "were chosen on seeds 90 and 91, so that least norm generalises and stays at its level.",
        f"Left their level, more than {LEFT:g} off in ln L in the mean of a stretch, and counted up to there: "
        f"{listed(left, '{}, {} seeds, at {:.0f} in the mean', '; ')}. This rule was made, and steps of straight "
        "and largest norm were halved, after the ways of seed 0, which were made anew, and before those of others: at "
        "0.05 both had left. "
        "Mean and largest |ln(L / level)| on what counts, largest over seeds, and least train accuracy on the way: "
        f"{listed(levels[['off', 'off_most', 'least']], '{} {:.3f}, {:.3f}, {:.3f}', '; ')}.",
        "Means over seeds of last fifth, the same of all of the way whatever its level, best, norm at the end, degrees "
        "turned, length of corrections, restricted loss of unseen mirrors: "
        f"{listed(means, '{} {:.2f}, {:.2f}, {:.2f}, {:.1f}, {:.0f}°, {:.1f}, {:.2f}', '; ')}; at the start "
        f"{begin['start_unseen'].mean():.2f}, norm {where(arm=LEAST)(table)['start_norm'].mean():.1f}, restricted loss "
        f"{where(arm=LEAST)(table)['circuit_start'].mean():.2f}.",
        "Points of unseen mirrors for each radian turned, of arms that turn by more than 5°: "
        f"{in_points(joint_intervals(per))}.",
    ]
    courses["way"] = courses["way"].round(2)
    curves = courses.groupby(["arm", "way"], sort=False)[["unseen", "norm", "degrees", "off"]].mean().reset_index()
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / "curves.csv", curves.to_csv(index=False, float_format="%.4g").encode())
    study.write(given, table, draw(table, courses), notes, runs=study.table(sources), made=POST_HOC)


if __name__ == "__main__":
    main()
