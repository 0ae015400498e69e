"""Does the radial direction of weight space carry memorisation, and do the angular ones carry generalisation?

Three tests of the polar picture theta = r u. Transplants: the direction of one checkpoint at the radius of
another; which of the two decides accuracy, which the loss? Motion: once a run has memorised, let only its norm
move (a ray), or only its direction (a sphere). Path: how much of the way that a run goes in each phase is radial?
The control is a homogeneous network, whose accuracy cannot depend on its radius.

    python analyses/radial_or_angular.py            # six seeds: minutes
    python analyses/radial_or_angular.py --quick    # two, for few steps: seconds
"""

import math
from functools import partial

import pandas as pd
import torch
from torch import Tensor

import circuitgrok as cg
from circuitgrok import figures, tree
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.polar.path import polar_path
from circuitgrok.polar.profiles import Measure, circuit_scores, radial_profile
from circuitgrok.polar.transplants import by_part, by_tensor, globally, swap_matrix, variance_shares
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, Interval, above, below, mean_interval, share_interval
from circuitgrok.table.checkpoints import key_frequencies
from circuitgrok.tasks.modular import Task
from circuitgrok.training.progress import LiveProgress

FRAC_TRAIN = 0.6  # of quickstart's pairs, with which five of six seeds grok within the budget
SEEDS = [0, 1, 2, 3, 4, 5]
QUESTION = "Does the radial direction carry memorisation and do the angular ones carry generalisation?"
ARMS = {
    "free": ({}, figures.BLUE),
    "angular only": ({"fixed_norm": True}, figures.RED),
    "angular only, after": ({"fixed_norm": True, "norm_from_step": 250}, figures.ORANGE),
    "radial only, after": ({"fixed_direction": True, "direction_from_step": 250}, figures.PURPLE),
}
FACTORS = torch.logspace(-1, 1, 21, base=4.0)  # of the norm, along a ray
SCORES = ("accuracy[train]", "accuracy[test]", "loss[train]", "loss[test]")


def configs(seeds: list[int], steps: int, switch: int) -> dict[str, cg.TrainConfig]:
    """All arms for each seed, which sets the initial weights and the split; later arms switch after memorising."""
    base = cg.TrainConfig.preset("quickstart").with_(frac_train=FRAC_TRAIN, steps=steps, checkpoint_every=50)
    grid = {}
    for arm, (leaves, _) in ARMS.items():
        later = {name: switch if name.endswith("from_step") else value for name, value in leaves.items()}
        kept = {} if arm == "free" else {"checkpoint_every": steps, "checkpoints_per_decade": 0}
        for seed in seeds:
            own = base.with_(seed=seed, data_seed=seed, checkpoint_on_move=100.0, **later, **kept)
            grid[f"{arm.replace(', ', '-').replace(' ', '-')}-s{seed}"] = own
    return grid


def row(arm: str, run: Run) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    history = run.history
    times = {f"{name}_by": math.nan if event.by is None else event.by for name, event in events(history).items()}
    last = history.iloc[-1]
    return {
        "arm": arm,
        "seed": run.config.init.seed,
        "state": run.state,
        "r0": run.manifest["start"]["norm"],
        "final_norm": last["norm"],
        "train_acc": last["train_acc"],
        "test_acc": last["test_acc"],
        "best_test_acc": history["test_acc"].max(),
        **times,
    }


def scores_of(run: Run) -> Measure:
    """What networks score on a run's task; key frequencies are those of its last checkpoint."""
    model, task = run.config.transformer, run.task
    keys = key_frequencies("wl_energy", run.at(run.steps[-1]), model, task)
    return lambda networks: circuit_scores(networks, model, task, keys)


def swapped(run: Run, n: int) -> tuple[list[int], dict[str, dict[str, Tensor]]]:
    """Swap matrices over `n` checkpoints of a run, evenly spread over its list, for three grains."""
    steps = [run.steps[round(i * (len(run.steps) - 1) / (n - 1))] for i in range(n)]
    stack, measure = run.stack(steps), scores_of(run)
    grains = {"global": globally, "tensor": by_tensor, "head and neuron, balanced": by_part(run.config.transformer)}
    return steps, {name: swap_matrix(stack, stack, grain, measure) for name, grain in grains.items()}


def lengths(run: Run, until: dict[str, int]) -> dict[str, float]:
    """Radial length and arc length in each phase, and the angle between the memorised and the last direction."""
    path = polar_path(run.stack(), torch.tensor(run.steps))["global"]
    at = {phase: max(i for i, step in enumerate(run.steps) if step <= last) for phase, last in until.items()}
    measured, before = {}, 0
    for phase, i in at.items():
        for name in ("radial_distance", "arc_length"):
            along = getattr(path, name)
            measured[f"{name}, {phase}"] = (along[i] - along[before]).item()
        before = i
    return measured | {"angle": math.degrees(path.angle_end[at["memorising"]].item())}


# --- the control: a bias-free homogeneous network ----------------------------------------------------


def homogeneous_logits(params: tree.Params, inputs: Tensor) -> Tensor:
    """relu(U_a + V_b) W, of degree two: c theta gives c^2 times the logits."""
    hidden = params["U"][:, inputs[:, 0]] + params["V"][:, inputs[:, 1]]
    return hidden.relu() @ params["W"]


def homogeneous_checkpoints(tasks: list[Task], steps: int, keep: int) -> tree.Params:
    """Checkpoints `[seed ckpt ...]` of homogeneous networks under AdamW, on the splits of the free runs."""
    p, width, inputs, labels = tasks[0].p, 256, tasks[0].inputs, tasks[0].labels
    generator = torch.Generator().manual_seed(0)
    shapes = {"U": (p, width), "V": (p, width), "W": (width, p)}
    params = {
        name: torch.randn(len(tasks), *shape, generator=generator).div_(math.sqrt(shape[0])).requires_grad_()
        for name, shape in shapes.items()
    }
    optimizer = torch.optim.AdamW(list(params.values()), 1e-3, (0.9, 0.98), weight_decay=2.0)
    is_train = torch.stack([task.is_train for task in tasks])
    kept = []
    for step in range(steps + 1):
        if step % (steps // (keep - 1)) == 0:
            kept.append({name: value.detach().clone() for name, value in params.items()})
        losses = (cross_entropy(homogeneous_logits(params, inputs), labels) * is_train).sum(1) / is_train.sum(1)
        gradients = torch.autograd.grad(losses.sum(), list(params.values()))
        for value, gradient in zip(params.values(), gradients, strict=True):
            value.grad = gradient
        optimizer.step()
    return {name: torch.stack([at[name] for at in kept], dim=1) for name in params}


def homogeneous_scores(networks: tree.Params, task: Task) -> dict[str, Tensor]:
    """Accuracy and loss on both sides of a task's split, in float64."""
    logits = homogeneous_logits({name: value.double() for name, value in networks.items()}, task.inputs)
    scores = {"accuracy": (logits.argmax(-1) == task.labels).double(), "loss": cross_entropy(logits, task.labels)}
    return {f"{k}[{s}]": x[:, task.where(s)].mean(-1) for k, x in scores.items() for s in ("train", "test")}


def control(tasks: list[Task], steps: int, n: int) -> dict[str, Tensor]:
    """Swap matrices of the homogeneous networks, `[seed radius direction]`."""
    stacks = tree.unstack(homogeneous_checkpoints(tasks, steps, n))
    return tree.stack(
        swap_matrix(stack, stack, globally, partial(homogeneous_scores, task=task))
        for stack, task in zip(stacks, tasks, strict=True)
    )


# --- what follows ------------------------------------------------------------------------------------


def claims(table: pd.DataFrame, swaps: dict[str, dict[str, Tensor]], profile: dict[str, Tensor],
           paths: pd.DataFrame, homogeneous: dict[str, Tensor], steps: int) -> list[Claim]:  # fmt: skip
    """Transplants, motion, paths, control."""
    whole = swaps["global"]
    by_accuracy = variance_shares(whole["accuracy[test]"])
    by_loss = variance_shares(whole["loss[train]"].log())
    memorised_best = profile["accuracy[test]"][:, 0].amax(-1)
    grokked_there = profile["at memorised radius"]
    made = [
        Claim(
            "Test accuracy is a matter of direction: more than 90 % of its variance over transplants.",
            f"direction {_share(by_accuracy.direction)}, radius {_share(by_accuracy.radius)}, interaction "
            f"{_share(by_accuracy.interaction)}",
            above(_interval(by_accuracy.direction), 0.9),
        ),
        Claim(
            "Training loss is a matter of radius: more than half of the variance of its logarithm.",
            f"radius {_share(by_loss.radius)}, direction {_share(by_loss.direction)}, interaction "
            f"{_share(by_loss.interaction)}",
            above(_interval(by_loss.radius), 0.5),
        ),
        Claim(
            "The grokked direction still generalises at the memorised radius (test accuracy above 0.95).",
            f"test accuracy there {mean_interval(grokked_there.tolist())}",
            above(mean_interval(grokked_there.tolist()), 0.95),
        ),
        Claim(
            "The memorised direction generalises at no radius from a quarter to four times its own: its test accuracy "
            "stays below 0.95.",
            f"best test accuracy on its ray {mean_interval(memorised_best.tolist())}",
            below(mean_interval(memorised_best.tolist()), 0.95),
        ),
    ]
    for arm, expected in (("radial only, after", below), ("angular only, after", above), ("angular only", above)):
        rows = table[table["arm"] == arm]
        solved = int((rows["test_acc"] >= 0.95).sum())
        share = share_interval(solved, len(rows))
        does = "do not generalise" if expected is below else "generalise"
        when = "once it has memorised" if arm.endswith("after") else "from the start"
        motion = arm.split()[0]
        made.append(
            Claim(
                f"Runs whose motion is {motion} only {when} {does} within {steps} steps.",
                f"share that generalised {share} ({solved} of {len(rows)}); best test accuracy "
                f"{rows['best_test_acc'].median():.3g} (median)",
                expected(share, 0.5),
            )
        )
    radial = paths["radial_distance, memorising"] / paths["arc_length, memorising"]
    later = paths["radial_distance, generalising"] / paths["arc_length, generalising"]
    ratio = mean_interval((radial / later).map(math.log).tolist())
    turned = mean_interval(paths["angle"].tolist())
    exact = variance_shares(homogeneous["accuracy[test]"])
    made += [
        Claim(
            "The way to memorising is more radial than the way to generalising.",
            f"radial length over arc length {radial.mean():.3g} while memorising, {later.mean():.3g} while "
            f"generalising; ratio, {verdicts.factor(ratio)}",
            above(ratio, 0.0),
        ),
        Claim(
            "Memorising is mostly radial: its radial length exceeds its arc length.",
            f"radial over arc length while memorising, {verdicts.factor(mean_interval(radial.map(math.log).tolist()))}",
            above(mean_interval(radial.map(math.log).tolist()), 0.0),
        ),
        Claim(
            "The memorised and the last direction are more than 60° apart.",
            f"angle {turned} degrees",
            above(turned, 60.0),
        ),
        Claim(
            "Control: of a homogeneous network direction alone decides accuracy, all of its variance.",
            f"direction {_share(exact.direction)}, radius {exact.radius.estimate:.1e}",
            "holds" if exact.direction.estimate == 1 or exact.radius.estimate < 1e-6 else "fails",
        ),
    ]
    return made


def _interval(share) -> Interval:
    return Interval(share.estimate, share.low, share.high)


def _share(share) -> str:
    return f"{share.estimate:.3f} [{share.low:.3f}, {share.high:.3f}]"


def draw(runs: dict[str, list[Run]], steps: list[int], swaps: dict[str, dict[str, Tensor]],
         profile: dict[str, Tensor]) -> "figures.Figure":  # fmt: skip
    """Transplants, rays, the phase portrait, test accuracy by arm."""
    figure, axes = figures.sheet(2, 2, (10.5, 8))
    mean = swaps["global"]["accuracy[test]"].mean(0).numpy()
    image = axes[0, 0].imshow(mean, origin="lower", vmin=0, vmax=1, cmap="cividis", aspect="auto")
    labels = [str(step) for step in steps]
    axes[0, 0].set_xticks(range(len(steps)), labels, rotation=60, fontsize=7)
    axes[0, 0].set_yticks(range(len(steps)), labels, fontsize=7)
    axes[0, 0].set_xlabel("direction of the checkpoint at step")
    axes[0, 0].set_ylabel("radius of the checkpoint at step")
    axes[0, 0].grid(False)
    figure.colorbar(image, ax=axes[0, 0], label="test accuracy (mean over seeds)")
    ends = [("memorised", figures.ORANGE), ("last", figures.BLUE)]
    for i, (name, colour) in enumerate(ends):
        for split, style in (("train", "--"), ("test", "-")):
            values = profile[f"accuracy[{split}]"][:, i]
            axes[0, 1].plot(FACTORS, values.median(0).values, color=colour, ls=style, label=f"{name}, {split}")
            low, high = values.amin(0), values.amax(0)
            axes[0, 1].fill_between(FACTORS.numpy(), low.numpy(), high.numpy(), color=colour, alpha=0.12, lw=0)
    axes[0, 1].set_xscale("log", base=2)
    axes[0, 1].set_xlabel("factor c of the norm, along the ray c θ")
    axes[0, 1].set_ylabel("accuracy (median and range over seeds)")
    axes[0, 1].legend(fontsize=7, frameon=False)
    marks = {"memorised": ("s", figures.ORANGE), "grokked": ("o", figures.GREEN)}
    for name, (marker, colour) in marks.items():
        axes[1, 0].plot([], [], marker, color=colour, ms=6, label=name)
    for run in runs["free"]:
        path = polar_path(run.stack(), torch.tensor(run.steps))["global"]
        degrees = path.angle_end.rad2deg()
        axes[1, 0].plot(degrees, path.norm, color=figures.BLUE, alpha=0.5, lw=1)
        for name, event in events(run.history).items():
            if event.by is not None:
                at = max(j for j, step in enumerate(run.steps) if step <= event.by)
                marker, colour = marks[name]
                axes[1, 0].plot(degrees[at], path.norm[at], marker, color=colour, ms=6)
    axes[1, 0].set_xlabel("angle to the last checkpoint (degrees)")
    axes[1, 0].invert_xaxis()
    axes[1, 0].set_ylabel("weight norm r")
    axes[1, 0].legend(fontsize=7, frameon=False)
    for arm, (_, colour) in ARMS.items():
        table = pd.concat([run.history["test_acc"] for run in runs[arm]], axis=1)
        axes[1, 1].plot(table.index, table.median(axis=1), color=colour, label=arm)
        axes[1, 1].fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.12, lw=0)
    figures.step_axis(axes[1, 1], int(runs["free"][0].history.index[-1]))
    axes[1, 1].set_ylabel("test accuracy (median and range over seeds)")
    axes[1, 1].legend(fontsize=7, frameon=False)
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "two seeds for few steps")
    seeds, steps, switch, n = ([0, 1], 60, 40, 3) if given.quick else (SEEDS, 4000, 250, 12)
    grid = configs(seeds, steps, switch)
    trained = cg.train(
        list(grid.values()), given.out / "runs", names=list(grid), progress=LiveProgress(), threads=given.threads
    )
    by_arm = {arm: trained[i * len(seeds) : (i + 1) * len(seeds)] for i, arm in enumerate(ARMS)}
    table = pd.DataFrame([row(arm, run) for arm, runs in by_arm.items() for run in runs])
    matrices, profiles, paths, marks = [], [], [], []
    for run in by_arm["free"]:
        marks, found = swapped(run, n)
        matrices.append({grain: {name: scores[name] for name in SCORES} for grain, scores in found.items()})
        found_by = {name: event.by for name, event in events(run.history).items()}
        times = {"memorised": found_by["memorised"] or switch, "grokked": found_by["grokked"] or steps}
        memorised = max(step for step in run.steps if step <= max(times["memorised"], switch))
        measure = scores_of(run)
        ends = radial_profile(run.stack([memorised, run.steps[-1]]), FACTORS, measure)
        there = tree.norm(run.at(memorised)) / tree.norm(run.at(run.steps[-1]))
        moved = {name: value.double()[None] * there for name, value in run.at(run.steps[-1]).items()}
        ends["at memorised radius"] = measure(moved)["accuracy[test]"][0]
        profiles.append(ends)
        paths.append(lengths(run, {"memorising": times["memorised"], "generalising": times["grokked"]}))
    swaps = {grain: tree.stack(m[grain] for m in matrices) for grain in matrices[0]}
    profile, path_table = tree.stack(profiles), pd.DataFrame(paths)
    homogeneous = control([run.task for run in by_arm["free"]], 40 if given.quick else 3000, n)
    base = trained[0].config
    shares = [
        f"{grain}: test accuracy {_share(variance_shares(m['accuracy[test]']).direction)}, log train loss "
        f"{_share(variance_shares(m['loss[train]'].log()).direction)}"
        for grain, m in swaps.items()
    ]
    censored = table[table["grokked_by"].isna()].groupby("arm")
    notes = [
        f"{base.task.formula}, {base.task.n_train} training pairs; one layer, d_model {base.transformer.d_model}, "
        f"d_mlp {base.transformer.d_mlp}; "
        f"AdamW {base.optimizer.lr:g}, weight decay {base.optimizer.weight_decay:g} (where the "
        f"norm is held, rescaling undoes it); base init {base.init.scheme} at α = 1, ‖θ₀‖ = {table['r0'].mean():.2f}. "
        f"Seeds {seeds}; {steps} steps; the later arms are the free runs until step {switch}. An event counts once it "
        f"holds at {HOLD + 1} evaluations in a row; a memorised checkpoint is the last one by then, or by the switch "
        "if that is later.",
        "Share of direction in the variance over transplants by grain, with jackknife intervals over seeds. "
        + "; ".join(shares) + f". Transplants among {n} checkpoints of each free run.",
        f"T_grok of the free runs: {_times(table, 'free')}; angular only, after memorising: "
        f"{_times(table, 'angular only, after')}; angular only: {_times(table, 'angular only')}.",
        f"Not generalised within {steps} steps: "
        + (", ".join(f"{arm} {len(rows)} of {len(seeds)}" for arm, rows in censored) or "none") + ".",
        "Path lengths are those of the polygon through the checkpoints (every 50 steps, denser early): lower bounds. "
        "The generalising phase of a censored run goes on to the budget.",
        f"Control: relu(U_a + V_b) W, 256 neurons, no biases, AdamW 0.001, weight decay 2, {len(seeds)} seeds; largest "
        f"test accuracy {homogeneous['accuracy[test]'].max():.2f}.",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]  # fmt: skip
    made = claims(table, swaps, profile, path_table, homogeneous, steps)
    table = table.merge(path_table.assign(arm="free", seed=seeds), how="left", on=["arm", "seed"])
    verdicts.write(given.out, QUESTION, made, notes, table, draw(by_arm, marks, swaps, profile))
    print((given.out / "verdict.md").read_text())


def _times(table: pd.DataFrame, arm: str) -> str:
    times = table[table["arm"] == arm]["grokked_by"]
    return ", ".join("censored" if math.isnan(time) else f"{time:.0f}" for time in times)


if __name__ == "__main__":
    main()
