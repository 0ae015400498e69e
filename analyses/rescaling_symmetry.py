"""Is the weight norm a bizarre metric? Networks that compute the same at another norm, and what becomes of them.

Scaling what enters a ReLU neuron by beta and what leaves it by 1/beta, or turning a head's inner coordinates by any
invertible matrix, changes the norm and nothing else. So copies of memorised networks are inflated in that way, or
stretched to the same norm along their ray, which does change the function. All three are trained on, with weight
decay or held at the norm that they have. If the norm itself delays grokking, the inflated copies grok as late as the
stretched ones; if what it does to the function delays it, as early as the originals.

    python analyses/rescaling_symmetry.py            # five seeds: minutes
    python analyses/rescaling_symmetry.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.foreign.published import Published, write_run
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.polar.orbits import balancedness, inflate, orbit_minimal_norm, part_norms
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, Interval, above, below, mean_interval, within
from circuitgrok.training.progress import LiveProgress
from circuitgrok.tree import Params, norm

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = "Is the weight norm a bizarre metric: does it matter at which norm the same function is written?"
STARTS = {"as it is": figures.BLUE, "inflated": figures.RED, "stretched": figures.ORANGE}
MOTIONS = {"decay": {}, "held": {"fixed_norm": True, "weight_decay": 0.0}}
SPREAD = 4.0  # beta and the singular values of G are log-uniform between 1/SPREAD and SPREAD
FRAC_TRAIN = 0.6
UNDER = 300  # steps over which the rate of deflation is taken


def quickstart(seed: int, steps: int) -> cg.TrainConfig:
    base = cg.TrainConfig.preset("quickstart").with_(frac_train=FRAC_TRAIN, steps=steps, checkpoint_every=50)
    return base.with_(seed=seed, data_seed=seed, checkpoints_per_decade=0, checkpoint_on_move=100.0)


def inflated(params: Params, run: Run) -> Params:
    """The same function at a larger norm: every neuron rescaled, every head's two products in other coordinates."""
    model, generator = run.config.transformer, torch.Generator().manual_seed(1000 + run.config.init.seed)

    def log_uniform(*shape: int) -> Tensor:
        drawn = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return torch.exp((2 * drawn - 1) * math.log(SPREAD))

    def turns() -> Tensor:
        shape = (model.n_layers, model.n_heads, model.d_head)
        square = torch.randn(*shape, model.d_head, generator=generator, dtype=torch.float64)
        rotation = torch.linalg.qr(square).Q
        return rotation * log_uniform(*shape).unsqueeze(-2) @ rotation.mT

    moved = inflate(params, model, beta=log_uniform(model.n_layers, model.d_mlp), qk=turns(), vo=turns())
    return {name: value.to(params[name].dtype) for name, value in moved.items()}


def started(run: Run, step: int, folder: Path) -> dict[str, Path]:
    """Runs that hold the memorised network in its three forms, to start from."""
    params = run.at(step)
    larger = inflated(params, run)
    factor = (norm(larger) / norm(params)).item()
    forms = {
        "as it is": params,
        "inflated": larger,
        "stretched": {name: value * factor for name, value in params.items()},
    }
    written = {}
    for form, network in forms.items():
        note = f"{form}: made from {run.name} at step {step} by rescaling_symmetry.py"
        source = {"file": f"{run.name}@{step}", "sha256": run.index[step], "layout": "ours"}
        published = Published(source, {step: network}, run.config, {}, "rebuilt", (note,))
        written[form] = write_run(published, folder / f"{form.replace(' ', '-')}-s{run.config.init.seed}").path
    return written


def row(run: Run, start: str, motion: str) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    model, first = run.config.transformer, run.at(0)
    grokked = events(run.history)["grokked"].by
    later = run.at(max(step for step in run.steps if step <= UNDER))
    over = max(step for step in run.steps if step <= UNDER)
    ends = [part_norms(x, model).total / orbit_minimal_norm(x, model).total for x in (first, run.at(run.steps[-1]))]
    return {
        "start": start,
        "motion": motion,
        "seed": run.config.init.seed,
        "state": run.state,
        "norm": run.manifest["start"]["norm"],
        "norm_min": orbit_minimal_norm(first, model).total.item(),
        "excess": ends[0].item(),
        "final_excess": ends[1].item(),
        "final_norm": run.history["norm"].iloc[-1],
        "test_acc": run.history["test_acc"].iloc[-1],
        "deflation": math.log(_imbalance(first, run) / _imbalance(later, run)) / over,
        "grokked_by": math.nan if grokked is None else grokked,
    }


def _imbalance(params: Params, run: Run) -> float:
    """Sum over the neurons of abs(|w_in|^2 - |w_out|^2), which gradient flow alone would leave as it is."""
    weights = {name: value.double() for name, value in params.items()}
    total = weights["blocks.0.mlp.W_in"].square().sum(0) + weights["blocks.0.mlp.b_in"].square()
    total = total + weights["blocks.0.mlp.W_out"].square().sum(1)
    return (balancedness(weights, run.config.transformer).mlp[0].abs() * total).sum().item()


def copies(run: Run, step: int, folders: dict[str, Path]) -> dict[str, float]:
    """How far the inflated copy is from the original: in norm, in least norm, in what it computes."""
    model, inputs = run.config.transformer, run.task.inputs
    before, after = (cg.load(folders[form]).at(step) for form in ("as it is", "inflated"))
    logits = [model.logits({k: v.double() for k, v in x.items()}, inputs) for x in (before, after)]
    least = [orbit_minimal_norm(x, model).total for x in (before, after)]
    return {
        "factor": (norm(after) / norm(before)).item(),
        "function": ((logits[1] - logits[0]).abs().max() / logits[0].std()).item(),
        "least": (least[1] / least[0] - 1).abs().item(),
    }


def claims(table: pd.DataFrame, moved: pd.DataFrame, along: pd.DataFrame, rate: float, steps: int) -> list[Claim]:
    """The copies, how fast decay deflates them, who groks when, and how bizarre the norm is along plain runs."""
    factor = mean_interval(moved["factor"].map(math.log).tolist())
    made = [
        Claim(
            "The same function can be written at 1.5 times the norm: logits change by less than 1e-5 of their spread.",
            f"norm factor, {verdicts.factor(factor)}; largest change of a logit {moved['function'].max():.1e} standard "
            f"deviations, of the least norm {moved['least'].max():.1e} (float32 weights)",
            "holds" if factor.low > math.log(1.5) and moved["function"].max() < 1e-5 else "fails",
        )
    ]
    deflation = table[(table["motion"] == "decay") & (table["start"] == "inflated")]["deflation"] / rate
    measured = mean_interval(deflation.tolist())
    made.append(
        Claim(
            "Decay balances inflated neurons at the rate 2 lr λ of gradient flow, to a quarter.",
            f"rate over the first {UNDER} steps in units of 2 lr λ {measured}",
            within(Interval(*(x - 1 for x in measured)), 0.25),
        )
    )
    for motion in MOTIONS:
        times = {
            start: table[(table["motion"] == motion) & (table["start"] == start)].set_index("seed")["grokked_by"]
            for start in STARTS
        }
        how = "With weight decay" if motion == "decay" else "Held at the norm they start with"
        made += [
            _compared(
                f"{how}, inflated copies grok when the originals do, to a factor 1.25.",
                times, "inflated", "as it is", steps, lambda x: within(x, math.log(1.25)),
            ),
            _compared(
                f"{how}, copies stretched to the same norm grok later than the originals.",
                times, "stretched", "as it is", steps, lambda x: above(x, 0.0),
            ),
            _compared(
                f"{how}, the norm is not what delays: at equal norm, stretched copies grok later than inflated ones.",
                times, "stretched", "inflated", steps, lambda x: above(x, 0.0),
            ),
        ]  # fmt: skip
    made += [_ends(table, start) for start in ("inflated", "stretched")]
    worst = mean_interval((along.groupby("seed")["norm_excess"].max() - 1).tolist())
    made.append(
        Claim(
            "Along plain runs the norm is hardly bizarre: it never exceeds the least norm by more than 5 %.",
            f"largest excess along a run {worst}",
            below(worst, 0.05),
        )
    )
    return made


def _ends(table: pd.DataFrame, start: str) -> Claim:
    """Where held runs end, which says something also of those that do not grok within the budget."""
    held = table[table["motion"] == "held"].pivot(index="seed", columns="start", values="test_acc")
    lost = mean_interval((held["as it is"] - held[start]).tolist())
    return Claim(
        f"Held at the norm they start with, {start} copies end with a lower test accuracy than the originals.",
        f"test accuracy of the originals {held['as it is'].mean():.3f} on average, of the copies "
        f"{held[start].mean():.3f}; paired difference {lost}",
        above(lost, 0.0),
    )


def _compared(
    text: str,
    times: dict[str, pd.Series],
    late: str,
    early: str,
    steps: int,
    decide: Callable[[Interval], verdicts.Decision],
) -> Claim:
    """A claim about T_grok(late) / T_grok(early) by seed; where both are censored, nothing is known of a seed."""
    known = times[late].notna() | times[early].notna()
    censored = ", ".join(f"{start} {int(times[start].isna().sum())}" for start in (late, early))
    told = f"censored of {len(known)}: {censored}"
    if known.sum() < 2:
        return Claim(text, f"both censored in all seeds but {int(known.sum())}; {told}", "undecided")
    logs = (times[late].fillna(steps) / times[early].fillna(steps))[known].map(math.log)
    ratio = mean_interval(logs.tolist())
    return Claim(text, f"T_grok({late}) / T_grok({early}), {verdicts.factor(ratio)}; {told}", decide(ratio))


def draw(
    table: pd.DataFrame, runs: dict[tuple[str, str], list[Run]], along: pd.DataFrame, steps: int
) -> "figures.Figure":
    """Norm and least norm along plain runs; the same for copies under decay; test accuracy; times."""
    figure, axes = figures.sheet(2, 2, (10.5, 7.4))
    for column, style, label in (("norm", "-", "norm r"), ("norm_min", ":", "least norm of the orbit")):
        _band(axes[0, 0], along, column, figures.BLUE, style, label)
    axes[0, 0].set_ylabel("plain runs: weight norm")
    for start, colour in STARTS.items():
        rows = []
        for run in runs[start, "decay"]:
            found = cg.measure(run, ["orbits"])
            rows.append(found[["norm_min", "norm_excess"]].assign(norm=found["norm_min"] * found["norm_excess"]))
        curves = pd.concat(rows).reset_index()
        _band(axes[0, 1], curves, "norm", colour, "-", f"{start}: norm r")
        _band(axes[0, 1], curves, "norm_min", colour, ":", f"{start}: least norm")
    axes[0, 1].set_ylabel("trained on with decay: weight norm")
    for start, colour in STARTS.items():
        for motion, style in (("decay", "-"), ("held", "--")):
            curve = pd.concat([run.history["test_acc"] for run in runs[start, motion]], axis=1)
            axes[1, 0].plot(curve.index, curve.median(axis=1), color=colour, ls=style, label=f"{start}, {motion}")
    axes[1, 0].set_ylabel("test accuracy (median over seeds)")
    for ax in (axes[0, 0], axes[0, 1], axes[1, 0]):
        figures.step_axis(ax, steps)
        ax.legend(fontsize=7, frameon=False)
    ticks = []
    for i, ((start, motion), rows) in enumerate(table.groupby(["start", "motion"], sort=False)):
        times = rows["grokked_by"].fillna(steps)
        axes[1, 1].plot([i] * len(times), times, "o", color=STARTS[str(start)], alpha=0.7)
        axes[1, 1].plot([i - 0.25, i + 0.25], [times.median()] * 2, color=STARTS[str(start)])
        ticks.append(f"{start}\n{motion}")
    axes[1, 1].axhline(steps, color=figures.GREY, lw=0.8)
    axes[1, 1].text(len(ticks) - 1, steps, "budget (censored)", ha="right", va="bottom", fontsize=7)
    axes[1, 1].set_xticks(range(len(ticks)), ticks, fontsize=7)
    axes[1, 1].set_yscale("log")
    axes[1, 1].set_ylabel("steps to test accuracy 0.95")
    return figure


def _band(ax: "Axes", rows: pd.DataFrame, column: str, colour: str, style: str, label: str) -> None:
    """Median over seeds at each step as a line, their range as a band."""
    grouped = rows.groupby("step")[column]
    middle, low, high = grouped.median(), grouped.min(), grouped.max()
    ax.plot(middle.index, middle, color=colour, ls=style, label=label)
    ax.fill_between(middle.index.to_numpy(), low.to_numpy(), high.to_numpy(), color=colour, alpha=0.1, lw=0)


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "two seeds for few steps")
    seeds, steps, memorised = ([0, 1], 60, 50) if given.quick else ([0, 1, 2, 3, 4], 3000, 250)
    plain = {f"plain-s{seed}": quickstart(seed, 2 * memorised if given.quick else steps) for seed in seeds}
    show = LiveProgress()
    first = cg.train(list(plain.values()), given.out / "runs", names=list(plain), progress=show, threads=given.threads)
    starts = [started(run, memorised, given.out / "starts") for run in first]
    grid = {
        f"{start.replace(' ', '-')}-{motion}-s{seed}": quickstart(seed, steps).with_(
            start=f"{starts[i][start]}@{memorised}", **leaves
        )
        for start in STARTS
        for motion, leaves in MOTIONS.items()
        for i, seed in enumerate(seeds)
    }
    trained = cg.train(list(grid.values()), given.out / "runs", names=list(grid), progress=show, threads=given.threads)
    arms = [(start, motion) for start in STARTS for motion in MOTIONS]
    runs = {arm: trained[i * len(seeds) : (i + 1) * len(seeds)] for i, arm in enumerate(arms)}
    table = pd.DataFrame([row(run, *arm) for arm, of_arm in runs.items() for run in of_arm])
    moved = pd.DataFrame([copies(run, memorised, starts[i]) for i, run in enumerate(first)])
    measured = [cg.measure(run, ["orbits"]).assign(seed=run.config.init.seed) for run in first]
    along = pd.concat(measured).reset_index()
    along["norm"] = along["norm_min"] * along["norm_excess"]
    base = first[0].config
    rate = 2 * base.optimizer.lr * base.optimizer.weight_decay
    unsolved = table[table["grokked_by"].isna()].groupby(["start", "motion"])
    fits = [run.history["train_acc"].loc[memorised] for run in first]
    notes = [
        f"{base.task.formula}, {base.task.n_train} training pairs; one layer, d_model {base.transformer.d_model}, "
        f"d_mlp {base.transformer.d_mlp}; "
        f"AdamW {base.optimizer.lr:g}, weight decay {base.optimizer.weight_decay:g}, none where "
        f"the norm is held. Base init {base.init.scheme}, α = 1, ‖θ₀‖ = "
        f"{sum(run.manifest['start']['norm'] for run in first) / len(first):.2f}. Seeds {seeds}. The memorised "
        f"networks are those of plain runs at step {memorised} (train accuracy {min(fits):.3f} or more, norm "
        f"{table[table['start'] == 'as it is']['norm'].mean():.2f}); they are trained on for {steps} steps with a "
        "fresh optimizer.",
        f"Inflated: β of each neuron and the singular values of each head's two G log-uniform in 1/{SPREAD:g} to "
        f"{SPREAD:g}; mean norm {table[table['start'] == 'inflated']['norm'].mean():.2f}. Stretched: all weights times "
        "one number, to that same norm.",
        "The claims about where held runs end were added when their times had turned out to be censored.",
        f"An event counts once it holds at {HOLD + 1} evaluations in a row; censored times count as the budget. Not "
        f"generalised within {steps} steps: "
        + (", ".join(f"{start}, {motion} {len(rows)} of {len(seeds)}" for (start, motion), rows in unsolved) or "none")
        + ".",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]
    verdicts.write(
        given.out, QUESTION, claims(table, moved, along, rate, steps), notes, table, draw(table, runs, along, steps)
    )
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
