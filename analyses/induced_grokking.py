"""On images: does a large initial norm induce grokking, for which training sets, and what about it makes the gap?

Omnigrok's dense network with mean squares, on scikit-learn's digits and on MNIST. A start at α times its usual size is
trained free, with decay, or held at that norm, on few images or many. At one large α the norm is then taken apart:
what it does to the size of the outputs is undone by dividing them before the loss sees them (by α³, as three layers
multiply; for mean squares and Adam that is the same as larger targets), and what it does to the angle of a step by α
times the rate.
A gap counts where the training set is fitted, or at equal train accuracy on the way. How far weights turn is measured,
and how much of the start's function is left on test images, so that a lazy network is told from a loud start.

    python analyses/induced_grokking.py --claims           # what is claimed, to be committed first
    python analyses/induced_grokking.py --mnist FOLDER     # with MNIST's four idx files; --dry-run says how long
    python analyses/induced_grokking.py                    # digits, and the kept rows of MNIST
    python analyses/induced_grokking.py --quick            # digits, few steps: seconds
"""

import math
from typing import Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import differences
from circuitgrok.study.study import Studies, Study, evenly

FITTED, MATCHED, GENERALISED = 0.99, 0.9, 0.9  # train accuracy at the end; on the way; test accuracy
FREE, HELD, SLIGHT, DECAY = "free", "held", "decay 0.01", "decay 1"
CE = "cross-entropy"
ALPHAS = [1.0, 2.0, 4.0, 6.0]
SMALLER = "digits at 4"
LARGE = {"digits": (200, 6.0), SMALLER: (200, 4.0), "mnist": (1000, 4.0)}  # where the norm is taken apart
NAMES = {"digits": "digits", SMALLER: "digits, α = 4", "mnist": "MNIST"}
SPHERE = {"fixed_norm": True}
COLOURS = {FREE: figures.BLUE, HELD: figures.SKY, SLIGHT: figures.ORANGE, DECAY: figures.RED}
BY_SIZE = {50: figures.RED, 200: figures.ORANGE, 1000: figures.GREEN, 5000: figures.BLUE}
PALETTE = (
    figures.GREEN, figures.RED, figures.SKY, figures.SKY, figures.BLUE, figures.ORANGE, figures.BLUE, figures.PURPLE,
    figures.PURPLE, figures.GREY,
)  # fmt: skip
MARKS = "*Xvo^ssDdP"
RULES = {"memorised": ("train_acc", FITTED), "grokked": ("test_acc", GENERALISED)}


def arms(alpha: float) -> dict[str, dict[str, Any]]:
    """At a large α, what undoes a part of it; and at α = 1 the logits of the large one."""
    outputs, rate, loss = {"temperature": alpha**3}, {"lr": 1e-3 * alpha}, {"loss": "cross_entropy"}
    return {
        f"outputs / {alpha:g}": {"temperature": alpha},
        f"outputs / {alpha**2:g}": {"temperature": alpha**2},
        f"outputs / {alpha**3:g}": outputs,
        f"rate x {alpha:g}": rate,
        "both": outputs | rate,
        CE: loss,
        f"{CE}, outputs / {alpha**3:g}": loss | outputs,
        f"loud 1, outputs x {alpha**3:g}": {"alpha": 1.0, "temperature": alpha**-3},
        f"{CE} at 1": loss | {"alpha": 1.0},
    }


def of(preset: str, steps: int, every: int, **leaves: Any) -> cg.TrainConfig:
    """Runs of a preset in float32, without decay, of so many steps."""
    common = {"precision": "float32", "weight_decay": 0.0, "steps": steps, "eval_every": every, **evenly(steps)}
    return cg.TrainConfig.preset(preset).with_(**{**common, **leaves})


FEW = of("omnigrok-digits", 1500, 10, n_test=700, n_train=200)
MANY = of("omnigrok-digits", 2000, 20, n_test=700, batch_size=200)
MNIST = of("omnigrok-mnist", 800, 20, n_test=1000, batch_size=100)
BY_ARM = {FREE: {}, HELD: SPHERE, SLIGHT: {"weight_decay": 0.01}, DECAY: {"weight_decay": 1.0}}
PULLED = {name: SPHERE | leaves for name, leaves in arms(LARGE["digits"][1]).items()}
AT_4 = {name: SPHERE | leaves for name, leaves in arms(4.0).items() if name in ("outputs / 64", "rate x 4", CE)}
OF_DIGITS = {name: leaves for name, leaves in AT_4.items() if name != CE}
HELD_ONLY, HELD_OR_DECAY = {HELD: SPHERE}, {HELD: SPHERE, DECAY: BY_ARM[DECAY]}
PARTS = {
    "landscape": Study("On 200 digits?", FEW, BY_ARM, {"alpha": ALPHAS}, rules=RULES),
    "1000": Study("On 1000?", MANY, HELD_OR_DECAY, {"n_train": [1000], "alpha": [1.0, 4.0, 6.0]}, rules=RULES),
    "50": Study("On 50?", FEW.with_(steps=500), HELD_ONLY, {"n_train": [50], "alpha": ALPHAS}, rules=RULES),
    "arms": Study("What of it?", FEW.with_(alpha=LARGE["digits"][1]), PULLED, rules=RULES),
    SMALLER: Study("And at α = 4?", FEW.with_(alpha=4.0), OF_DIGITS, rules=RULES),
    "MNIST": Study("On MNIST?", MNIST, HELD_ONLY, {"n_train": [200, 1000], "alpha": [1.0, 2.0, 4.0]}, rules=RULES),
    "MNIST 5000": Study(
        "On more of it?", MNIST.with_(steps=1500, eval_every=50), HELD_ONLY, {"n_train": [5000], "alpha": [1.0, 4.0]},
        rules=RULES,
    ),
    "MNIST arms": Study(
        "What of it there?", MNIST.with_(n_train=1000, alpha=LARGE["mnist"][1]), AT_4, rules=RULES
    ),
}  # fmt: skip


def held(images: str, **more: Any) -> Selection:
    """Runs at a held norm, of one set of images."""
    return where(arm=HELD, images=images, **more)


def fits(rows: Selection) -> Selection:
    """Those of some rows whose training set is fitted at the end."""
    return lambda table: where(train_acc=lambda acc: acc >= FITTED)(rows(table))


def closed(at: str, arm: str) -> Selection:
    """By seed, the share of the gap at the large α, over that at 1, that an arm closes: 1 is all of it.

    For an arm at α = 1 it is the share that is not made there.
    """
    n, alpha = LARGE[at]
    images = at.split()[0]

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        three = where(arm=arm, images=images), *(held(images, n_train=n, alpha=a) for a in (alpha, 1.0))
        gap, plain, ceiling = (rows(table).set_index("seed")["gap"] for rows in three)
        return ((plain - gap) / (plain - ceiling)).dropna().rename("share").reset_index()

    return chosen


def share(at: str, arm: str) -> Mean:
    """The mean share of the gap that an arm closes."""
    return Mean(closed(at, arm), "share", "share of the gap closed")


def rise(rows: Selection, column: str, **factors: tuple[Any, Any]) -> Mean:
    """How much a gap rises with α, or how much more it does on fewer images."""
    name = {"gap": "rise of the gap at the end", "matched_gap": f"rise of the gap at train accuracy {MATCHED:g}"}
    return Mean(differences(rows, column, **factors), "difference", name[column], bounds=(-4, 4))


def landscape(arm: str, alpha: float) -> Selection:
    """Runs of the landscape, on 200 digits."""
    return where(part="landscape", arm=arm, alpha=alpha)


LOUD = f"loud 1, outputs x {6**3}"
CLAIMS = [
    Ratio(landscape(FREE, 6.0), landscape(FREE, 1.0), name="T_gen at α = 6 over 1")
    .exceeds(5, "Free and without decay, a start at α = 6 delays generalising over five times, on 200 digits."),
    Share(landscape(FREE, 6.0), lambda rows: rows["memorised_by"].notna() & rows["grokked_by"].isna(), "fit only")
    .exceeds(0.5, "Most of these runs fit their training set and do not generalise within the budget."),
    Ratio(landscape(DECAY, 6.0), landscape(DECAY, 6.0), by="memorised", name="T_gen / T_mem")
    .exceeds(1.5, "With decay 1 they grok: they generalise later than they fit, by over half of that time."),
    Mean(landscape(HELD, 6.0), "test_acc", "test accuracy held less free", less=landscape(FREE, 6.0), bounds=(-1, 1))
    .is_within(0.05, "Without decay, holding the norm at α = 6 changes test accuracy by less than 5 points."),
    rise(fits(held("digits")), "gap", n_train=(50, 1000), alpha=(4.0, 1.0))
    .exceeds(0.2, "Held, from α = 1 to 4 the gap rises over 20 points more on 50 digits than on 1000."),
    rise(fits(held("digits", n_train=1000)), "gap", alpha=(4.0, 1.0))
    .falls_below(0.1, "On 1000 digits it rises by less than 10 points."),
    rise(held("digits", n_train=1000), "matched_gap", alpha=(6.0, 1.0))
    .exceeds(0.2, "At α = 6 there is a gap on 1000 digits too: at equal train accuracy it is over 20 points larger."),
    rise(held("mnist"), "matched_gap", n_train=(200, 5000), alpha=(4.0, 1.0))
    .exceeds(0.2, "On MNIST, at equal train accuracy, the gap rises over 20 points more on 200 images than on 5000."),
    share("digits", "outputs / 216")
    .exceeds(0.8, "Outputs of the size that they have at α = 1 close over four fifths of the gap at α = 6."),
    share("digits", "rate x 6").falls_below(0.2, "Steps of the angle that they have at α = 1 close less than a fifth."),
    share("digits", CE).exceeds(0.5, "Cross-entropy in place of mean squares closes over half of it, at full outputs."),
    share("digits", LOUD).falls_below(
        0.2, "The outputs suffice: a start at α = 1 with 216 times its outputs has over four fifths of that gap."
    ),
    Factor(where(part="arms", arm=CE), "turned", "turned, cross-entropy over mean squares", over=landscape(HELD, 6.0))
    .falls_below(1.25, "That is not because weights turn more: with cross-entropy by less than 1.25 times the angle."),
    Factor(landscape(HELD, 6.0), "test_loss", "mean squares on test images")
    .exceeds(0.5, "On test images the start stays loud: mean squares are over five times those of answering 0."),
    share("mnist", "outputs / 64")
    .exceeds(0.8, "On MNIST, outputs of the size that they have at α = 1 close over four fifths of the gap at α = 4."),
    share("mnist", "rate x 4")
    .falls_below(0.2, "There too, steps of the angle that they have at α = 1 close less than a fifth."),
]  # fmt: skip
LATER = [  # once it was seen that on MNIST, at α = 4, the angle of a step closes more than on digits at 6
    share(SMALLER, "rate x 4")
    .exceeds(0.2, "On 200 digits at α = 4, steps of the angle that they have at α = 1 close more than a fifth too."),
]  # fmt: skip
STUDY = Studies(
    "On images: does a large initial norm induce grokking, for how many images, and what about it makes the gap?",
    PARTS, claims=CLAIMS,
)  # fmt: skip
SMALL = {name: part for name, part in PARTS.items() if not name.startswith("MNIST")}
QUICK = Studies(STUDY.question, SMALL, claims=CLAIMS).with_(
    {"landscape": {"grid": {"alpha": [1.0, 6.0]}}, "1000": {"grid": {"n_train": [250], "alpha": [1.0]}}},
    steps=30, eval_every=10, seeds=[0, 1], width=32,
)  # fmt: skip


def at_train_accuracy(history: pd.DataFrame, level: float) -> float:
    """Test accuracy when train accuracy first is at a level, linear between two evaluations; nan if it never is."""
    train, test = history["train_acc"].tolist(), history["test_acc"].tolist()
    i = next((i for i, acc in enumerate(train) if acc >= level), None)
    if i is None:
        return math.nan
    if i == 0:
        return test[0]
    part = (level - train[i - 1]) / (train[i] - train[i - 1])
    return test[i - 1] + part * (test[i] - test[i - 1])


def measured(run: Run) -> dict[str, Any]:
    """What a run adds to its row: gaps, how far weights turn, and what of the start's function is left."""
    history, task, end = run.history, run.task, run.history.iloc[-1]
    weights = ({name: value.double() for name, value in run.at(step).items()} for step in (0, run.steps[-1]))
    first, last = (run.config.model.logits(params, task.inputs[~task.is_train]) for params in weights)
    return {
        "images": run.config.task.kind,
        "n_train": run.config.task.n_train,
        "gap": end["train_acc"] - end["test_acc"],
        "best_gap": history["train_acc"].max() - history["test_acc"].max(),
        "matched_gap": MATCHED - at_train_accuracy(history, MATCHED),
        "test_loss": end["test_loss"],
        "turned": float(cg.measure(run, ["polar"])["angle_start"].iloc[-1]),
        "left": float(torch.corrcoef(torch.stack([(x - x.mean(0)).flatten() for x in (first, last)]))[0, 1]),
        "split": run.manifest["start"]["split_hash"],
    }


def draw(table: pd.DataFrame) -> "figures.Figure":
    """The landscape in times and accuracy; the gap by α and images; what closes it, and how far weights turn."""
    figure, ((times, accuracy, dots), (digits, mnist, turned)) = figures.sheet(2, 3, (12.6, 7.4))
    rows = where(part="landscape")(table)
    _times(times, rows)
    figures.draw_groups(accuracy, rows, "arm", "alpha", "test_acc", COLOURS)
    accuracy.set(ylim=(-0.03, 1.03), ylabel="test accuracy at the end, 200 digits")
    for ax, images in ((digits, "digits"), (mnist, "mnist")):
        figures.draw_groups(ax, held(images)(table), "n_train", "alpha", "matched_gap", BY_SIZE, label="{} images")
        ax.set(ylim=(-0.06, 0.96), ylabel=f"train less test accuracy, when train is at {MATCHED:g}")
        ax.set_title(f"{NAMES[images]}, held norm", fontsize=9)
        if not len(held(images)(table)):
            ax.text(0.5, 0.5, "no rows", ha="center", transform=ax.transAxes)
    for ax in (times, accuracy, digits, mnist):
        figures.values_axis(ax, ALPHAS, "initial norm, in units of α = ‖θ₀‖ / its usual norm")
    _closed(dots, table)
    plain = held("digits", n_train=LARGE["digits"][0])(table)
    shown = {f"mean squares, α = {alpha:g}": where(alpha=alpha)(plain) for alpha in (1.0, LARGE["digits"][1])}
    shown |= {arm: where(part="arms", arm=arm)(table) for arm in PULLED if not arm.endswith("at 1")}
    for (arm, of_arm), colour, mark in zip(shown.items(), PALETTE, MARKS, strict=False):
        turned.plot(
            of_arm["turned"], of_arm["gap"], mark, color=colour, ms=4, alpha=0.7, label=arm.replace("loud 1", "α = 1")
        )
    turned.set(
        xscale="log", xlabel="angle from the start to the end (radians)", ylabel="gap at the end, 200 digits",
        ylim=(-0.03, 1.35),
    )  # fmt: skip
    angles = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    turned.set_xticks(angles, [f"{angle:g}" for angle in angles])
    turned.minorticks_off()
    turned.legend(fontsize=6, frameon=False, ncols=2, loc="upper center")
    figures.legends([times, accuracy, digits, mnist])
    return figure


def _times(ax: "figures.Axes", rows: pd.DataFrame) -> None:
    """When runs fit and when they generalise, with medians; censored ones as open triangles at their last step."""
    for arm, event, style in ((FREE, "memorised", ":"), (FREE, "grokked", "-"), (DECAY, "grokked", "-")):
        of_arm = where(arm=arm)(rows)
        known = of_arm.assign(at=of_arm[f"{event}_by"].fillna(of_arm["steps"]))
        censored = known[of_arm[f"{event}_by"].isna()]
        middle = known.groupby("alpha")["at"].median()
        ax.plot(known["alpha"], known["at"], "o", color=COLOURS[arm], ms=2, alpha=0.4)
        ax.plot(censored["alpha"], censored["at"], "^", color=COLOURS[arm], mfc="white", ms=6)
        ax.plot(
            middle.index, middle, style, color=COLOURS[arm], label=f"{'fits' if style == ':' else 'generalises'}, {arm}"
        )
    figures.times_axis(ax, int(rows["steps"].max()), said="")
    ax.set_ylabel("step, 200 digits (triangle: not by then)")


def _closed(ax: "figures.Axes", table: pd.DataFrame) -> None:
    """The share of the gap that each arm closes: seeds as dots, the mean and its interval."""
    lines = [("digits", arm, figures.BLUE) for arm in PULLED if not arm.endswith("at 1")]
    lines += [(SMALLER, arm, figures.SKY) for arm in OF_DIGITS] + [("mnist", arm, figures.ORANGE) for arm in AT_4]
    for i, (at, arm, colour) in enumerate(reversed(lines)):
        values = closed(at, arm)(table)["share"]
        ax.plot(values, [i] * len(values), "o", color=colour, ms=3, alpha=0.5)
        if interval := share(at, arm).found(table).interval:
            ax.plot(interval[1:], [i, i], color=colour, lw=2.5)
    names = [f"{NAMES[at]}: {arm.replace('loud 1', 'α = 1')}" for at, arm, _ in reversed(lines)]
    ax.set_yticks(range(len(lines)), names, fontsize=7)
    for end in (0, 1):
        ax.axvline(end, color=figures.GREY, lw=0.8)
    ax.set_xlabel("share of the gap at the large α that is closed")


def notes(table: pd.DataFrame) -> list[str]:
    """What has to be said beside the verdict."""
    n, alpha = LARGE["digits"]
    at_large = [held("digits", n_train=n, alpha=alpha), where(part="arms")]
    by_arm = pd.concat([rows(table) for rows in at_large]).groupby("arm", sort=False)
    told = by_arm[["train_acc", "gap", "best_gap", "turned", "left"]].mean()
    ceiling = held("digits", n_train=n, alpha=1.0)(table)[["gap", "turned", "left"]].mean()
    many = where(part="1000", arm=DECAY, alpha=6.0)
    on_many = Ratio(many, many, by="memorised", name="T_gen / T_mem").found(table).words
    kept = table[table["images"] == "mnist"]
    seen = kept[kept["seed"] == kept["seed"].min()].groupby("n_train")["split"].first()
    ends = table[table["arm"] == HELD].groupby(["images", "n_train", "alpha"])[["train_acc", "gap", "best_gap"]].mean()
    of_mnist = (
        f"MNIST: images drawn by seed from the files of a folder that --mnist gives, and 1000 to test on; digests of "
        f"pixels, labels and sides at seed {kept['seed'].min()}: {listed(seen, '{:g} to train on: {}')}; of the other "
        "seeds in `rows.jsonl`. These are of a folder with 5000 images on either side: of 5000, seeds draw starts, "
        "order and test images alone. With another folder, of all 70,000 images say, digests and numbers are others."
        if len(kept)
        else "MNIST is left out: no --mnist FOLDER with its four idx files was given, and no rows of it are kept."
    )
    return [
        of_mnist,
        "Outputs divided by α³ and the rate times α (`both`) give a network without biases that starts at α the very "
        "training that it has at 1: this arm is a check and no finding; biases keep it from being exact. For mean "
        "squares under Adam, outputs divided by c and targets times c are the same. Decay does nothing to a held norm.",
        f"On {n} digits at α = {alpha:g}, means over seeds of train accuracy, gap at the end, gap of the best values, "
        "angle from the start (radians), correlation of the logits of test images with those at the start: "
        f"{listed(told, '{}: {:.3f}, {:.3f}, {:.3f}, {:.3f}, {:.2f}', '; ')}. At α = 1, gap, angle and correlation: "
        f"{', '.join(f'{value:.3g}' for value in ceiling)}.",
        f"Held, means over seeds of train accuracy, gap and gap of the best values at the end: "
        f"{listed(ends, '{} {:g}, α {:g}: {:.3f}, {:.3f}, {:.3f}', '; ')}. Gaps at the end count where train accuracy "
        f"is {FITTED:g} or more; the gap on the way is {MATCHED:g} less the test accuracy when train accuracy first is "
        f"{MATCHED:g}, linear between evaluations.",
        f"With decay 1 at α = 6 on 1000 digits: {on_many}.",
        "Published runs have decay 0.01 for 100,000 steps, which shrinks weights by exp(-1); that of a hundredth of "
        "the steps is decay 1 here (rate times decay times steps), beside a gradient that has not been sped up. Decay "
        "0.01 shrinks them by 1.5 % within this budget.",
        "Pilots had seeds 100 to 102: they chose 200 digits for the landscape (on 1000, a start at α = 8 fits no "
        "sooner than it generalises), the radii, budgets and thresholds. MNIST has few radii and small budgets for "
        f"want of time. The part {SMALLER} was added after the other runs.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "digits alone, few steps")
    table = study.rows(given, measured)
    study.write(given, table, draw(table), notes(table), made=LATER)


if __name__ == "__main__":
    main()
