"""Do deep and skinny networks grok sooner than shallow and wide ones, or without weight decay?

Networks of one, two and four layers with as many trained weights, to 2 %: plain MLPs on embeddings, and transformers,
which have a residual stream. The split leaves no mirror across: of a test pair (a, b) neither (b, a) is trained on.

A depth would seem worse than it is at a rate that suits another, or from a larger norm. So every depth has the same
grid of rates, and each half of the seeds is judged at the rate that is best for the other half; and all start at the
‖θ₀‖ of one layer. With decay, the question is when they grok; that is asked at their own ‖θ₀‖ as well. Without, it is
whether they generalise at all; that is asked at 0.3 of this norm too, as a small start may do what decay does. At equal
norms a deep MLP starts from smaller logits. So of MLPs it was asked again, of other seeds, whether one layer does from
a start that is smaller still what four do: from 0.03, 0.1 and 0.3 of the norm.

    python analyses/depth_and_width.py --claims   # what is claimed, to be committed before the runs
    python analyses/depth_and_width.py            # ten seeds; --dry-run says how long
    python analyses/depth_and_width.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.equal_starts import matched
from circuitgrok.study.evidence import Declared
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import has_grokked, picked_apart
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.study.survival import censored_median
from circuitgrok.study.walked import sustained

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = "Do deep and skinny networks grok sooner than shallow and wide ones, or without weight decay?"
ONE, TWO, FOUR, OWN = "one layer", "two layers", "four layers", ", own ‖θ₀‖"
ARMS = {ONE: "-", TWO: "-", FOUR: "-", TWO + OWN: "--", FOUR + OWN: "--"}  # how each is drawn
DECAY, SMALL, MORE = 1.0, 0.3, 0.05  # decay; the smaller start; a gain that counts, in accuracy
WITH, WITHOUT, SMALLER = "decay", "no decay", "smaller starts"
STARTS, RATES = [0.03, 0.1, 0.3], [1e-2, 3e-2, 1e-1]  # of these
Leaves = Mapping[str, Any]
BASE = cg.TrainConfig.preset("quickstart").with_(
    p=23, split="mirror_free", frac_train=0.8, equals=False, weight_decay=DECAY, eval_every=20, steps=2000,
    **evenly(2000),
)  # fmt: skip
SHORT = {"steps": 800, **evenly(800)}
RULES = {"memorised": ("train_acc", 0.99), "half": ("test_acc", 0.5), "grokked": ("test_acc", 0.95)}
NETWORKS: dict[str, tuple[cg.TrainConfig, dict[str, Leaves], list[float]]] = {
    "MLP": (
        BASE.with_(model="embedding_mlp", d_embed=32, act="relu", eval_every=10, **SHORT),
        {ONE: {"depth": 1, "d_hidden": 220}, TWO: {"depth": 2, "d_hidden": 102}, FOUR: {"depth": 4, "d_hidden": 66}},
        [3e-3, 1e-2, 3e-2, 1e-1],
    ),
    "transformer": (
        BASE,
        {
            ONE: {"n_layers": 1, "n_heads": 2, "d_model": 40, "d_head": 20, "d_mlp": 160},
            TWO: {"n_layers": 2, "n_heads": 2, "d_model": 28, "d_head": 14, "d_mlp": 118},
            FOUR: {"n_layers": 4, "n_heads": 2, "d_model": 20, "d_head": 10, "d_mlp": 83},
        },
        [1e-3, 2e-3, 4e-3, 8e-3],
    ),
}
COLOURS = {ONE: figures.BLUE, TWO: figures.GREEN, FOUR: figures.RED}


def parts(family: str) -> dict[str, Study]:
    """Runs with decay, from equal norms and from a network's own, and without, from two norms."""
    base, shapes, rates = NETWORKS[family]
    base = base.with_(**shapes[ONE])
    equal = {arm: partial(matched, shape, shapes[ONE]) for arm, shape in shapes.items()}
    own = {arm + OWN: shapes[arm] for arm in (TWO, FOUR)}
    free = base.with_(weight_decay=0.0, **SHORT)
    found = {
        f"{family}, {WITH}": Study(QUESTION, base, {**equal, **own}, {"lr": rates}, rules=RULES),
        f"{family}, {WITHOUT}": Study(QUESTION, free, equal, {"alpha": [SMALL, 1.0], "lr": rates}, rules=RULES),
    }
    if family == "MLP":
        grid, seeds = {"alpha": STARTS, "lr": RATES}, range(10, 20)
        ends = {arm: equal[arm] for arm in (ONE, FOUR)}
        found[f"{family}, {SMALLER}"] = Study(QUESTION, free, ends, grid, seeds, rules=RULES)
    return found


def soonest(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Of a rate's runs: least where most grokked, then with the least mean time, then by what they sustain."""
    times = rows["grokked_by"]
    return times.isna().sum(), times.fillna(rows["steps"]).mean(), -rows["sustained"].mean()


def best(family: str, arm: str) -> Selection:
    """Runs with decay, at the rate that is best for the half of the seeds without them."""
    return picked_apart(where(part=f"{family}, {WITH}", arm=arm), "lr", soonest)


def free(family: str, arm: str, part: str = WITHOUT) -> Selection:
    """Runs without decay, at the rate and norm at which the other half of the seeds sustains most."""
    return picked_apart(where(part=f"{family}, {part}", arm=arm), "cell", lambda rows: -rows["sustained"].mean())


def times(family: str, over: str, under: str, event: str = "grokked", said: str = "T_gen") -> Ratio:
    """How many times as long an arm takes as another."""
    return Ratio(best(family, over), best(family, under), event, name=f"{said}({over}) / {said}({under})")


def later(family: str, arm: str) -> Declared:
    """The claim that an arm groks later than one layer."""
    more = [times(family, arm, ONE, "half", "T_half"), times(family, arm, ONE, "memorised", "T_mem")]
    return times(family, arm, ONE).exceeds(1, f"{family}: {arm} grok later than one of as many weights.").telling(*more)


def claims(family: str) -> list[Declared]:
    """Who groks later with decay, and by the norm; who groks in time; who generalises without, and whether depth helps.

    That depth delays is what plain MLPs of depth 4 and more (arXiv:2405.19454, 2603.25009) let one expect.
    """
    four, of_free = best(family, FOUR), where(part=f"{family}, {WITHOUT}")
    without = f"{family}, without decay"
    gain = Mean(free(family, FOUR), "sustained", "unseen pairs, four layers less one", free(family, ONE),
                bounds=(-1, 1))  # fmt: skip
    peaks = [Mean(free(family, arm), "best_test_acc", f"at best {arm}", bounds=(0, 1)) for arm in (ONE, TWO, FOUR)]
    return [
        later(family, TWO),
        later(family, FOUR),
        times(family, FOUR + OWN, FOUR, "half", "T_half")
        .exceeds(1, f"{family}: four layers come to half of the unseen pairs later from their own, larger ‖θ₀‖.")
        .telling(times(family, FOUR + OWN, FOUR)),
        Share(four, has_grokked, "runs of four layers that grok")
        .exceeds(0.5, f"{family}: more than half of the runs of four layers grok within the budget.")
        .telling(*(Mean(best(family, arm), "sustained", f"{arm} sustain", bounds=(0, 1)) for arm in (ONE, TWO, FOUR))),
        Share(of_free, lambda rows: ~has_grokked(rows), "runs that do not grok")
        .is_all(f"{without}: no run of any depth, rate and ‖θ₀‖ groks within the budget."),
        gain.exceeds(MORE, f"{without}: four layers sustain over {100 * MORE:g} points more than one, both at best.")
        .telling(*peaks),
    ]  # fmt: skip


def smaller(arm: str) -> Mean:
    """What MLPs sustain without decay from smaller starts, at their best."""
    return Mean(free("MLP", arm, SMALLER), "sustained", f"unseen pairs, {arm}", bounds=(0, 1))


AGAIN = [
    Mean(free("MLP", FOUR, SMALLER), "sustained", "unseen pairs, four layers less one", free("MLP", ONE, SMALLER),
         bounds=(-1, 1))
    .exceeds(0.25, "MLP, without decay, other seeds and smaller starts: four layers sustain over 25 points more than "
             "one, both at best.").telling(smaller(ONE), smaller(FOUR)),
    smaller(ONE).falls_below(0.25, "Nor is it the size of the start: from none of them one layer sustains a quarter."),
]  # fmt: skip
STUDY = Studies(
    QUESTION,
    {name: part for family in NETWORKS for name, part in parts(family).items()},
    claims=[*(claim for family in NETWORKS for claim in claims(family)), *AGAIN],
)
QUICK = STUDY.with_(steps=20, seeds=[0, 1])


def measured(run: Run) -> dict[str, Any]:
    """How many weights train, and what is sustained over the last fifth."""
    model = run.config.model
    size = sum(math.prod(of) for name, of in model.shapes().items() if model.is_trainable(name))
    return {"n_trained": size, "sustained": round(sustained(run.history["test_acc"]), 4)}


def draw_starts(ax: "Axes", table: pd.DataFrame) -> None:
    """What MLPs sustain without decay against the norm that they start from, each at the best of the rates."""
    rows = where(part=f"MLP, {SMALLER}")(table)
    kept = rows.groupby(["arm", "alpha", "lr"])["sustained"].mean()
    rates = {(arm, alpha): lr for arm, alpha, lr in kept.groupby(level=[0, 1]).idxmax()}
    rows = rows[
        [rates[arm, alpha] == lr for arm, alpha, lr in zip(rows["arm"], rows["alpha"], rows["lr"], strict=True)]
    ]
    for arm in (ONE, FOUR):
        colour = COLOURS[arm]
        figures.draw_seeds(ax, where(arm=arm)(rows), "alpha", "sustained", colour, "-", arm)
    figures.values_axis(ax, STARTS, "‖θ₀‖ over that of one layer")
    ax.set(ylim=(-0.03, 1.03), ylabel="unseen pairs, mean of the last fifth")
    ax.set_title("no decay, smaller starts, seeds 10 to 19", fontsize=9)


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Against the rate, a line for each depth: T_gen, what is sustained with decay, what is reached without; starts."""
    figure, axes = figures.sheet(2, 4, (15.5, 7.8))
    draw_starts(axes[0][3], table)
    for row, family in zip(axes, NETWORKS, strict=True):
        when, kept, bare, radius = row
        drawn = (when, kept, bare) if family == "MLP" else row
        decayed, bares = (where(part=f"{family}, {of}")(table) for of in (WITH, WITHOUT))
        budget = int(decayed["steps"].max())
        decayed = decayed.assign(until=decayed["grokked_by"].fillna(budget))
        for arm, style in ARMS.items():
            rows, colour = where(arm=arm)(decayed), COLOURS[arm.removesuffix(OWN)]
            for ax, column in ((when, "until"), (kept, "sustained"), (radius, "final_norm")):
                if ax in drawn:
                    figures.draw_seeds(ax, rows, "lr", column, colour, style, arm)
            for alpha, shape in ((1.0, "-"), (SMALL, ":")):
                if len(of := where(arm=arm, alpha=alpha)(bares)):
                    label = f"{arm}, {alpha:g} of ‖θ₀‖"
                    figures.draw_seeds(bare, of, "lr", "best_test_acc", colour, shape, label)
        figures.times_axis(when, budget)
        when.set_ylabel(f"{family}\nstep to 0.95 of unseen pairs")
        kept.set(ylim=(-0.03, 1.03), ylabel="unseen pairs, mean of the last fifth")
        bare.set(ylim=(-0.03, 1.03), ylabel="unseen pairs, largest at any time")
        bare.axhline(1 / 23, color=figures.GREY, lw=0.8)
        if radius in drawn:
            radius.set(ylim=(0, None), ylabel="weight norm at the end")
            radius.axhline(where(arm=ONE)(decayed)["r0"].mean(), color=figures.GREY, lw=0.8)
        for ax, title in zip(drawn, ("decay", "decay", "no decay", "decay"), strict=False):
            figures.values_axis(ax, NETWORKS[family][2], "learning rate, at equal numbers of weights")
            ax.set_title(title, fontsize=9)
    figures.legends([axes[0][0], axes[1][2]])
    return figure


def chosen(table: pd.DataFrame, family: str, arm: str) -> str:
    """The rates that are picked, and the median T_gen there."""
    rows = best(family, arm)(table)
    rates = "/".join(f"{rate:g}" for rate in sorted(set(rows["lr"])))
    return f"{arm} {rates}: {censored_median(rows['grokked_by'].tolist(), rows['steps'].tolist())}"


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    table = study.rows(given, measured)
    table["cell"] = [f"{alpha:g} of ‖θ₀‖, rate {lr:g}" for alpha, lr in zip(table["alpha"], table["lr"], strict=True)]
    decayed = table[table["part"].str.endswith(f", {WITH}")]
    networks = decayed.groupby(["part", "arm"], sort=False)[["n_trained", "r0"]].mean()
    bare = table[table["part"].str.endswith(f", {WITHOUT}")]
    peaks = bare.groupby(["part", "arm", "alpha"], sort=False)["best_test_acc"].max()
    picks = "; ".join(f"{family}: {', '.join(chosen(table, family, arm) for arm in ARMS)}" for family in NETWORKS)
    notes = [
        f"Trained weights and ‖θ₀‖: {listed(networks, '{}, {}: {:.0f}, {:.2f}', '; ')}.",
        "Each half of the seeds is judged at the rate that is best for the other half: where most grok, then the least "
        f"mean time, then what is sustained. These rates, and the median T_gen there: {picks}. Without decay it is the "
        "rate and ‖θ₀‖ at which the other half sustains most over the last fifth of the steps.",
        f"Largest share of unseen pairs without decay in any run at any time (by chance {1 / 23:.3f}): "
        f"{listed(peaks, '{}, {}, {:g} of one layer’s ‖θ₀‖: {:.2f}', '; ')}.",
        f"`MLP, {SMALLER}` was added when runs of seeds 0 to 9 had shown that four layers generalise without decay; "
        "its two claims were committed before its own runs, of seeds 10 to 19, began. At equal norms logits of a "
        "homogeneous MLP of depth L start in proportion to norm^(L + 2), so that a deep one starts from smaller ones.",
        "Rates, the decay and budgets were chosen in pilot runs of seeds 90 and 91. There is one decay coefficient, "
        "and with it rate and decay per step change together. Sizes were thinned for two cores: p = 23, "
        f"{table['n_trained'].min()} to {table['n_trained'].max()} weights, depth up to 4.",
    ]
    study.write(given, table, draw(table), notes)


if __name__ == "__main__":
    main()
