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
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import circuitgrok as cg
from circuitgrok import figures, tree
from circuitgrok.exact import homogeneous
from circuitgrok.measures.learning.crossings import events
from circuitgrok.polar.path import Polar, polar_path
from circuitgrok.polar.stretches import checkpoint_by, stretches
from circuitgrok.polar.transplants import by_part, by_tensor, globally, swap_matrix, variance_shares
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Share, where
from circuitgrok.study.effects import Factor, Known, student
from circuitgrok.study.evidence import Declared
from circuitgrok.study.study import Study
from circuitgrok.table.moved import at_radius_of, rays, spread, swaps

FACTORS = torch.logspace(-1, 1, 21, base=4.0)  # of the norm, along a ray
COLOURS = {
    "free": figures.BLUE,
    "angular only": figures.RED,
    "angular only, after": figures.ORANGE,
    "radial only, after": figures.PURPLE,
}


def arms(switch: int) -> dict[str, dict[str, Any]]:
    """How runs may move; those of which only the free ones' checkpoints are looked at keep no others."""
    few = {"checkpoint_every": 4000, "checkpoints_per_decade": 0}
    return {
        "free": {},
        "angular only": few | {"fixed_norm": True},
        "angular only, after": few | {"fixed_norm": True, "norm_from_step": switch},
        "radial only, after": few | {"fixed_direction": True, "direction_from_step": switch},
    }


TRANSPLANTED = [  # what is decided by more than the table
    "Test accuracy is a matter of direction: more than 90 % of its variance over transplants.",
    "Training loss is a matter of radius: more than half of the variance of its logarithm.",
    "Control: of a homogeneous network direction alone decides accuracy, all of its variance.",
]
free = where(arm="free")


def moving(arm: str) -> Share:
    """The share of an arm's runs that generalise."""
    return Share(where(arm=arm), lambda rows: rows["test_acc"] >= 0.95, "share that generalised")


CLAIMS = [
    Mean(free, "grokked_there", "test accuracy there")
    .exceeds(0.95, "The grokked direction still generalises at the memorised radius (test accuracy above 0.95)."),
    Mean(free, "memorised_best", "best test accuracy on its ray").falls_below(
        0.95, "The memorised direction generalises at no radius from a quarter to four times its own: its test "
        "accuracy stays below 0.95.",
    ),
    moving("radial only, after")
    .falls_below(0.5, "Runs whose motion is radial only once it has memorised do not generalise within the budget."),
    moving("angular only, after")
    .exceeds(0.5, "Runs whose motion is angular only once it has memorised generalise within the budget."),
    moving("angular only")
    .exceeds(0.5, "Runs whose motion is angular only from the start generalise within the budget."),
    Factor(
        free, "radial_per_arc, memorising", "radial over arc length, then later", by="radial_per_arc, generalising"
    ).exceeds(1, "The way to memorising is more radial than the way to generalising."),
    Factor(free, "radial_distance, memorising", "radial over arc length", by="arc_length, memorising")
    .exceeds(1, "Memorising is mostly radial: its radial length exceeds its arc length."),
    Mean(free, "angle", "angle in degrees")
    .exceeds(60, "The memorised and the last direction are more than 60° apart."),
]  # fmt: skip
STUDY = Study(  # of quickstart's pairs 60 %, with which five of six seeds grok within the budget
    "Does the radial direction carry memorisation and do the angular ones carry generalisation?",
    cg.TrainConfig.preset("quickstart").with_(
        frac_train=0.6, steps=4000, checkpoint_every=50, checkpoint_on_move=100.0
    ),
    arms(switch=250),
    claims=[*CLAIMS, *TRANSPLANTED],
)
QUICK = STUDY.with_(steps=60, arms=arms(switch=40), seeds=[0, 1])


def part(matrices: Tensor, name: str) -> Known:
    """How much of the variance of swap matrices is due to the radius, the direction or both, told with the others."""
    found = variance_shares(matrices)._asdict()
    shares = {kind: student(x.estimate, x.stderr, len(matrices) - 1) for kind, x in found.items()}
    said = ", ".join(f"{kind} {share(0.95)}" for kind, share in shares.items())
    return Known(shares[name], said, f"share of {name}", len(matrices))


def transplanted(matrices: dict[str, Tensor], control: Tensor) -> list[Declared]:
    """What is claimed of transplants with one norm for the whole network, and of those of the homogeneous network."""
    return [
        part(matrices["accuracy[test]"], "direction")
        .exceeds(0.9, TRANSPLANTED[0]),
        part(matrices["loss[train]"].log(), "radius")
        .exceeds(0.5, TRANSPLANTED[1]),
        part(control, "radius")
        .falls_below(1e-6, TRANSPLANTED[2]),
    ]  # fmt: skip


def path_of(run: Run) -> Polar:
    """The whole network's polar coordinates along a run."""
    return polar_path(run.stack(), torch.tensor(run.steps))["global"]


def phases(run: Run, switch: int) -> dict[str, int]:
    """The steps by which a run had memorised and generalised: the switch and the last step if it did not."""
    found = {name: event.by for name, event in events(run.history).items()}
    return {"memorising": found["memorised"] or switch, "generalising": found["grokked"] or run.steps[-1]}


def ends(run: Run, switch: int) -> list[int]:
    """The steps of the memorised checkpoint, by the event or the switch if that is later, and of the last one."""
    memorised = max(phases(run, switch)["memorising"], switch)
    return [run.steps[checkpoint_by(run.steps, memorised)], run.steps[-1]]


def measured(run: Run, switch: int) -> dict[str, float]:
    """A free run's two ends on their rays, its lengths in each phase, and how far it turns once it has memorised."""
    path, until, (memorised, last) = path_of(run), phases(run, switch), ends(run, switch)
    return {
        "grokked_there": at_radius_of(run, direction=last, radius=memorised)["accuracy[test]"],
        "memorised_best": rays(run, [memorised], FACTORS)["accuracy[test]"].max().item(),
        **stretches(path, run.steps, until),
        "angle": math.degrees(path.angle_end[checkpoint_by(run.steps, until["memorising"])].item()),
    }


def draw(runs: dict[str, list[Run]], matrices: Tensor, profile: dict[str, Tensor]) -> "figures.Figure":
    """Transplants, rays, the phase portrait, test accuracy by arm."""
    figure, ((swapped, along), (portrait, arms)) = figures.sheet(2, 2, (10.5, 8))
    image = swapped.imshow(matrices.mean(0).numpy(), origin="lower", vmin=0, vmax=1, cmap="cividis", aspect="auto")
    steps = spread(runs["free"][-1].steps, len(matrices[0]))
    swapped.set_xticks(range(len(steps)), map(str, steps), rotation=60, fontsize=7)
    swapped.set_yticks(range(len(steps)), map(str, steps), fontsize=7)
    swapped.set(xlabel="direction of the checkpoint at step", ylabel="radius of the checkpoint at step")
    swapped.grid(False)
    figure.colorbar(image, ax=swapped, label="test accuracy (mean over seeds)")
    for i, (name, colour) in enumerate({"memorised": figures.ORANGE, "last": figures.BLUE}.items()):
        for split, style in (("train", "--"), ("test", "-")):
            curves = [pd.Series(run[i].numpy(), index=FACTORS.tolist()) for run in profile[f"accuracy[{split}]"]]
            figures.draw_band(along, curves, colour, style, f"{name}, {split}")
    along.set_xscale("log", base=2)
    along.set(xlabel="factor c of the norm, along the ray c θ", ylabel="accuracy (median and range over seeds)")
    marks = {"memorised": ("s", figures.ORANGE), "grokked": ("o", figures.GREEN)}
    for run in runs["free"]:
        path = path_of(run)
        portrait.plot(path.angle_end.rad2deg(), path.norm, color=figures.BLUE, alpha=0.5, lw=1)
        for (name, event), (marker, colour) in zip(events(run.history).items(), marks.values(), strict=True):
            at = [] if event.by is None else [checkpoint_by(run.steps, event.by)]
            label = name if run is runs["free"][0] else None
            portrait.plot(path.angle_end[at].rad2deg(), path.norm[at], marker, color=colour, ms=6, label=label)
    portrait.set(xlabel="angle to the last checkpoint (degrees)", ylabel="weight norm r")
    portrait.invert_xaxis()
    figures.draw_runs(arms, runs, "test_acc", COLOURS)
    figures.step_axis(arms, runs["free"][0].steps[-1])
    arms.set_ylabel("test accuracy (median and range over seeds)")
    figures.legends([along, portrait, arms])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    switch, n, longest = (40, 3, 40) if given.quick else (250, 12, 3000)
    runs = study.train(given)
    by_arm = study.grouped(runs)
    free_runs = by_arm["free"]
    grains = {"global": globally, "tensor": by_tensor, "head and neuron": by_part(study.base.transformer)}
    matrices = {
        grain: tree.stack(swaps(run, spread(run.steps, n), coordinates) for run in free_runs)
        for grain, coordinates in grains.items()
    }
    profile = tree.stack(rays(run, ends(run, switch), FACTORS) for run in free_runs)
    table = study.table(runs, lambda run: measured(run, switch) if run in free_runs else {})
    tasks = [run.task for run in free_runs]
    stacks = zip(tree.unstack(homogeneous.trained(tasks, longest, n)), tasks, strict=True)
    control = tree.stack(
        swap_matrix(stack, stack, globally, partial(homogeneous.scores, task=task)) for stack, task in stacks
    )["accuracy[test]"]
    shares = [
        f"{grain}, accuracy {part(m['accuracy[test]'], 'direction').at(0.95)}, loss "
        f"{part(m['loss[train]'].log(), 'direction').at(0.95)}"
        for grain, m in matrices.items()
    ]
    notes = [
        f"The later arms are the free runs until step {switch}; where the norm is held, rescaling undoes the decay. A "
        "memorised checkpoint is the last one by the event, or by the switch if that is later.",
        "Share of direction in the variance of test accuracy and of the logarithm of training loss over transplants "
        f"among {n} checkpoints of each free run, with jackknife intervals over seeds: {'; '.join(shares)}.",
        "Path lengths are those of the polygon through the checkpoints (every 50 steps, denser early): lower bounds. "
        "The generalising phase of a censored run goes on to the budget.",
        "Control: relu(U_a + V_b) W, 256 neurons, no biases, AdamW 0.001, weight decay 2, one for each split; largest "
        f"test accuracy {control.max():.2f}.",
    ]
    made = transplanted(matrices["global"], control)
    study.write(given, table, draw(by_arm, matrices["global"]["accuracy[test]"], profile), notes, made=made)


if __name__ == "__main__":
    main()
