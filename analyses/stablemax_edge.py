"""StableMax without decay stops half-way on a small network: is it rounding again, now in Adam?

StableMax is to keep a network learning where the softmax rounds its gradient away. In 80 000 steps
(`regularizer_budgets.py`) it comes to answer about 0.6 of the unseen mirrors by step 20 000, and no more. At step
40 000 its loss is 1e-17, and a gradient of 1e-21 has a square that float32 hardly holds: Adam's second moment is below
the least normal number, and no longer falls as it should. So runs are continued from there, with a fresh optimizer,
three ways: as they were; with weights and moments in float64 and the same float32 logits and slopes; and written at a
tenth of their norm. The network has no biases and ReLU, and so answers the same at any norm; but its loss and gradient
are large again, and a step of the same length turns the weights ten times as far.

    python analyses/stablemax_edge.py            # ten seeds: a quarter of an hour of one core; more for the sources
    python analyses/stablemax_edge.py --quick    # two, for few steps: seconds
"""

from functools import partial
from typing import Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures, geometry
from circuitgrok.interventions.losses import LOSSES
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, where
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Study

QUESTION = "What stops StableMax without decay: rounding in Adam, or the norm?"
SAME, EXACT, SMALLER = "as it was", "moments in float64", "a tenth of the norm"
ARMS: dict[str, dict[str, Any]] = {
    SAME: {},
    EXACT: {"precision": "float64", "forward_precision": "float32"},
    SMALLER: {"alpha": 0.1},
}
COLOURS = dict(zip(ARMS, (figures.GREY, figures.BLUE, figures.ORANGE), strict=True))
FIRST, LEG = 80_000, 8000  # steps of the sources, half of which is the start, and of the legs
ONE_HOT = cg.TrainConfig.preset("prieto-stablemax").with_(p=29, width=64, frac_train=0.7)


def gain(arm: str, over: str = SAME, column: str = "sustained", name: str = "unseen mirrors") -> Mean:
    """By how much more an arm has at the end than another from the same start."""
    return Mean(where(arm=arm), column, f"{name}, {arm} less {over}", less=where(arm=over), bounds=(-1, 1))


def own(arm: str, column: str, name: str) -> Mean:
    """A column of an arm."""
    return Mean(where(arm=arm), column, f"{arm}: {name}")


CLAIMS = [
    gain(EXACT)
    .exceeds(0.05, "Rounding in Adam stops StableMax: with float64 moments runs are over 5 points ahead of float32.")
    .telling(own(EXACT, "sustained", "unseen mirrors, last fifth"), own(EXACT, "turned", "degrees turned"),
             own(SAME, "turned", "degrees turned")),
    gain(SMALLER)
    .exceeds(0.05, "The same networks at a tenth of the norm go on: they gain over 5 points on those at their norm.")
    .telling(own(SMALLER, "turned", "degrees turned"), own(SMALLER, "sustained", "unseen mirrors, last fifth")),
    Mean(where(arm=SAME), "sustained", "unseen mirrors, last fifth less start", by="begin", bounds=(-1, 1))
    .is_within(0.05, "As they were they stay: a fresh optimizer alone moves them by less than 5 points.")
    .telling(own(SAME, "begin", "unseen mirrors at the start"), own(SAME, "below_normal", "second moments below the "
             "least normal number at the start")),
]  # fmt: skip
STUDY = Study(
    QUESTION,
    ONE_HOT.with_(steps=FIRST, checkpoint_every=FIRST // 2, eval_every=200, checkpoints_per_decade=0,
                  checkpoint_on_move=1e6),
    {"StableMax": {}},
    claims=CLAIMS,
)  # fmt: skip
QUICK = STUDY.with_(p=11, seeds=[0, 1], steps=20, eval_every=5, checkpoint_every=10)


def leaves(runs: dict[int, Run], more: dict[str, Any], cell: cg.TrainConfig) -> dict[str, Any]:
    """Where a leg starts, half-way of its source, and what it differs in."""
    run = runs[cell.init.seed]
    return {"start": f"{run.path}@{run.steps[-2]}", **more}


def below_normal(run: Run) -> float:
    """Share of the weights at a run's start whose second moment, (1 - β₂) g², no normal number of its format holds."""
    task, beta2 = run.task, run.config.optimizer.beta2
    trained = {n: v.requires_grad_(run.config.model.is_trainable(n)) for n, v in run.at(0).items()}
    logits = run.config.model.logits(trained, task.inputs[task.is_train]).unsqueeze(0)
    loss = LOSSES["stablemax"].training(logits, task.labels[task.is_train].unsqueeze(0)).sum()
    found = torch.autograd.grad(loss, [value for value in trained.values() if value.requires_grad])
    g, dtype = torch.cat([value.flatten() for value in found]).double(), found[0].dtype
    return ((1 - beta2) * g.square() < torch.finfo(dtype).tiny).double().mean().item()


def measured(run: Run) -> dict[str, float]:
    """A leg's accuracy on unseen mirrors at its start and end, its loss, how far it turned, and its moments' size."""
    history = run.history
    unseen, last = history["test_mirror_unseen_acc"], run.steps[-1]
    return {
        "begin": unseen.iloc[0],
        "sustained": unseen.loc[0.8 * last :].mean(),
        "best": unseen.max(),
        "loss_begin": history["train_loss"].iloc[0],
        "loss_end": history["train_loss"].iloc[-1],
        "turned": torch.rad2deg(geometry.angle(run.at(0), run.at(last))).item(),
        "below_normal": below_normal(run),
    }


def draw(table: pd.DataFrame, sources: list[Run], legs: dict[str, list[Run]]) -> "figures.Figure":
    """Unseen mirrors and training loss along the sources; unseen mirrors along the legs; what they turned."""
    figure, (before, loss, after, turn) = figures.sheet(1, 4, (15, 4.2))
    for ax, column, said in (
        (before, "test_mirror_unseen_acc", "accuracy on unseen mirrors"),
        (loss, "train_loss", "training loss of StableMax, nats"),
    ):
        figures.draw_band(ax, [run.history[column] for run in sources], figures.PURPLE, "-", "StableMax, no decay")
        ax.axvline(sources[0].steps[-2], color=figures.GREY, lw=0.8)
        ax.set(xscale="symlog", xlim=(0, None), xlabel="optimizer step", ylabel=said)
    loss.set_yscale("log")
    figures.draw_runs(after, legs, "test_mirror_unseen_acc", COLOURS)
    after.set(xlabel="optimizer step after half-way", ylabel="accuracy on unseen mirrors", ylim=(-0.03, 1.03))
    before.set_ylim(-0.03, 1.03)
    for arm, colour in COLOURS.items():
        of = where(arm=arm)(table)
        turn.plot(of["turned"], of["sustained"] - of["begin"], "o", color=colour, ms=4, label=arm)
    turn.axhline(0, color=figures.GREY, lw=0.8)
    turn.set(xlabel="degrees turned from half-way on", ylabel="gain in unseen mirrors")
    figures.legends([before, after, turn])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds, few steps")
    sources = study.train(given)
    by_seed = {run.config.init.seed: run for run in sources.values()}
    steps = 20 if given.quick else LEG
    legs = study.with_(
        arms={arm: partial(leaves, by_seed, more) for arm, more in ARMS.items()}, steps=steps, checkpoint_every=steps
    )
    runs = legs.train(given)
    table = legs.table(runs, measured)
    shown = table.groupby("arm", sort=False)[
        ["begin", "sustained", "best", "loss_end", "turned", "below_normal"]
    ].mean()
    notes = [
        "Sources: StableMax, no decay, rate 0.01, 80 000 steps, of which half is where legs start, each with a fresh "
        f"optimizer and {steps} steps. They are the runs of regularizer_budgets.py, whose end was known when this was "
        "asked, as was that at step 40 000 all gradients of four of them have squares that float32 does not hold as "
        "normal numbers; no leg had been run.",
        "Unseen mirrors at the start, over the last fifth, best; loss at the end; degrees turned; second moments below "
        f"the least normal number of their format at the start, means: "
        f"{listed(shown, '{}: {:.2f}, {:.2f}, {:.2f}; {:.2g}; {:.1f}°; {:.2f}', '. ')}.",
        "At a tenth of the norm logits of three layers are a thousandth; the answers are the same.",
    ]
    figure = draw(table, list(sources.values()), legs.grouped(runs))
    legs.write(given, table, figure, notes)


if __name__ == "__main__":
    main()
