"""Is a small norm what generalises, or is that a property of the task?

Teachers and students: the answers of a tanh network whose weights are multiplied by teacher_alpha, learned by
students held at a grid of radii, and by free ones under decays. If the task decides, the best radius goes with the
teacher. Sparse parity: what does the norm do between memorising and generalising, without decay and with it? The
control is a table of random labels, which no radius can make generalise.

    python analyses/large_norm_generalisers.py            # five seeds: minutes
    python analyses/large_norm_generalisers.py --quick    # two, for few steps: seconds
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, Interval, above, below, mean_interval, within
from circuitgrok.tasks.teacher_student import TeacherStudent
from circuitgrok.training.progress import LiveProgress

QUESTION = "Is a small norm what generalises, or is that a property of the task?"
TOLERANCE = 0.01  # of the labels' mean square: an answer of a student counts as right
PREDICTED, SPREAD = 1.0, 0.2  # of the slope of log best radius on log teacher_alpha
WORSE = 2.0  # factor of the test loss from which a radius is a wrong one
CLASSES = 29  # of the control
COLOURS = (figures.SKY, figures.BLUE, figures.GREEN, figures.ORANGE, figures.RED)
DECAYS = (figures.BLUE, figures.ORANGE, figures.RED)
BARE = {"checkpoint_on_move": 100.0, "checkpoints_per_decade": 0}


class Grid(NamedTuple):
    """What is trained.

    Attributes:
        seeds: Of students, teachers, inputs and splits.
        teachers: Multipliers of the teachers' weights, from small to large.
        alphas: Radii to hold students at, in units of their initial norm at alpha 1.
        decays: Of free students; the first is 0.
        parity_decays: The same for parity.
        control_alphas: Radii of the control.
        steps: Of students, parity and control.
    """

    seeds: list[int]
    teachers: list[float]
    alphas: list[float]
    decays: list[float]
    parity_decays: list[float]
    control_alphas: list[float]
    steps: tuple[int, int, int]


FULL = Grid(
    [0, 1, 2, 3, 4], [0.5, 1.0, 2.0, 3.0, 4.0], [round(0.25 * 1.5**i, 3) for i in range(8)], [0.0, 0.05, 0.5],
    [0.0, 0.3, 1.0], [0.5, 0.9, 2.0], (2500, 3000, 1000),
)  # fmt: skip
QUICK = Grid([0, 1], [0.5, 2.0], [0.375, 0.844, 1.898], [0.0, 0.5], [0.0, 1.0], [0.5, 2.0], (60, 60, 20))


def students(grid: Grid) -> dict[str, cg.TrainConfig]:
    """Held at every radius, and free under every decay, for each teacher and seed."""
    steps, made = grid.steps[0], {}
    base = cg.TrainConfig.preset("omnigrok-teacher").with_(
        alpha=1.0, lr=1e-3, weight_decay=0.0, steps=steps, eval_every=steps // 60, checkpoint_every=steps, n_test=500,
        **BARE,
    )  # fmt: skip
    for teacher in grid.teachers:
        tolerance = TOLERANCE * TeacherStudent(teacher_alpha=teacher).label_scale ** 2
        for seed in grid.seeds:  # one seed for all would draw the student's weights as it drew the teacher's
            own = base.with_(
                teacher_alpha=teacher, tolerance=tolerance, seed=seed, teacher_seed=1000 + seed, data_seed=2000 + seed
            )
            for alpha in grid.alphas:
                made[f"held-t{teacher:g}-a{alpha:g}-s{seed}"] = own.with_(alpha=alpha, fixed_norm=True)
            for decay in grid.decays:
                made[f"free-t{teacher:g}-w{decay:g}-s{seed}"] = own.with_(weight_decay=decay)
    return made


def parities(grid: Grid) -> dict[str, cg.TrainConfig]:
    """Free networks on the parity of 3 of 16 bits under every decay."""
    steps = grid.steps[1]
    base = cg.TrainConfig.preset("parity").with_(
        n_bits=16, n_train=400, n_test=500, width=128, scheme="torch", lr=0.01, steps=steps, eval_every=5,
        checkpoint_every=steps, **BARE,
    )  # fmt: skip
    return {
        f"parity-w{decay:g}-s{seed}": base.with_(weight_decay=decay, seed=seed, data_seed=seed)
        for decay in grid.parity_decays
        for seed in grid.seeds
    }


def controls(grid: Grid) -> dict[str, cg.TrainConfig]:
    """Random labels, held at every radius; three seeds at most."""
    steps = grid.steps[2]
    base = cg.TrainConfig.preset("quickstart").with_(
        operation="random", fixed_norm=True, weight_decay=0.0, steps=steps, checkpoint_every=steps, **BARE
    )
    return {
        f"random-a{alpha:g}-s{seed}": base.with_(alpha=alpha, seed=seed, data_seed=seed, label_seed=seed)
        for alpha in grid.control_alphas
        for seed in grid.seeds[:3]
    }


def row(run: Run) -> dict[str, object]:
    """One run as a line of the table; a time, and the norm then, is nan where it is censored at the last step."""
    history, config, task = run.history, run.config, run.config.task
    last, times = history.iloc[-1], events(history)
    found = {name: math.nan if event.by is None else event.by for name, event in times.items()}
    then = {f"norm_{name}": math.nan if e.by is None else history["norm"].loc[e.by] for name, e in times.items()}
    line: dict[str, object] = {
        "family": run.name.partition("-")[0],
        "teacher_alpha": getattr(task, "teacher_alpha", math.nan),
        "alpha": config.init.alpha,
        "decay": config.optimizer.weight_decay,
        "seed": config.init.seed,
        "state": run.state,
        "r0": run.manifest["start"]["norm"],
        "final_norm": last["norm"],
        "train_loss": last["train_loss"],
        "test_loss": last["test_loss"],
        "train_acc": last["train_acc"],
        "test_acc": last["test_acc"],
        **{f"{name}_by": value for name, value in found.items()},
        **then,
    }
    if isinstance(task, TeacherStudent):
        labels = run.task.labels[run.task.where("test")]
        variance = labels.var(0, correction=0).mean().item()
        early = {"quarter": 0.25, "half": 0.5}
        at = {name: history["test_loss"].asof(share * config.schedule.steps) for name, share in early.items()}
        line |= {"label_variance": variance, "train_share": last["train_loss"] / variance}
        line |= {"test_share": last["test_loss"] / variance}
        line |= {f"test_share_{name}": loss / variance for name, loss in at.items()}
    return line


def best_radius(radii: np.ndarray, losses: np.ndarray) -> tuple[float, bool]:
    """Where the loss is least, by a parabola in logarithms through the least and its neighbours; whether at an edge."""
    known = np.isfinite(losses)
    x, y = np.log(radii[known]), np.log(losses[known])
    if len(x) == 0:
        return math.nan, True
    i = int(y.argmin())
    if i in (0, len(x) - 1):
        return math.exp(x[i]), True
    (left, right), (down, up) = (x[i] - x[i - 1], x[i + 1] - x[i]), (y[i - 1] - y[i], y[i + 1] - y[i])
    shift = (down * right**2 - up * left**2) / (2 * (down * right + up * left)) if down + up > 0 else 0.0
    return math.exp(x[i] + shift), False


def best_radii(table: pd.DataFrame, column: str = "test_share") -> pd.DataFrame:
    """The best held radius for each teacher and seed."""
    found = []
    for (teacher, seed), rows in table[table["family"] == "held"].groupby(["teacher_alpha", "seed"]):
        rows = rows.sort_values("final_norm")
        radius, at_edge = best_radius(rows["final_norm"].to_numpy(), rows[column].to_numpy())
        found.append({"teacher_alpha": teacher, "seed": seed, "radius": radius, "at_edge": at_edge})
    return pd.DataFrame(found)


def slopes(best: pd.DataFrame) -> list[float]:
    """Of the logarithm of the best radius on that of teacher_alpha, by seed."""
    table = best.pivot(index="seed", columns="teacher_alpha", values="radius")
    x = np.log(table.columns.to_numpy(dtype=float))
    return [float(np.polyfit(x, np.log(radii.astype(float)), 1)[0]) for radii in table.to_numpy()]


def elsewhere(table: pd.DataFrame, best: pd.DataFrame, teacher: float, other: float, column: str) -> list[float]:
    """log of a teacher's loss where another teacher's is least over its own least, on the grid, by seed."""
    ratios = []
    for _, rows in table[table["family"] == "held"].groupby("seed"):
        own, others = (rows[rows["teacher_alpha"] == t].sort_values("alpha") for t in (teacher, other))
        there = int(others["test_share"].fillna(math.inf).to_numpy().argmin())
        ratios.append(math.log(own[column].iloc[there] / own["test_share"].min()))
    return ratios


def _mean(values: list[float]) -> Interval | None:
    """The interval of a mean over seeds; None where a seed has no value."""
    return mean_interval(values) if len(values) > 1 and all(map(math.isfinite, values)) else None


def _claim(text: str, what: str, values: list[float], decide, told: str = "") -> Claim:
    """A claim about logarithms of ratios by seed, undecided where a seed has none."""
    found = _mean(values)
    if found is None:
        none = sum(not math.isfinite(value) for value in values)
        return Claim(text, f"{what}: unknown in {none} of {len(values)} seeds{told}", "undecided")
    return Claim(text, f"{what}, {verdicts.factor(found)}{told}", decide(found))


def claims(table: pd.DataFrame, grid: Grid) -> list[Claim]:
    """The best radius and its teacher, decay and its teacher, the norm of parity, the control."""
    best = best_radii(table)
    return [*_radius_claims(table, best), *_decay_claims(table, grid), *_parity_claims(table, grid), _control(table)]


def _radius_claims(table: pd.DataFrame, best: pd.DataFrame) -> list[Claim]:
    small, large = best["teacher_alpha"].min(), best["teacher_alpha"].max()
    edges = int(best["at_edge"].sum())
    found = _mean(slopes(best))
    earlier = []
    for name in ("quarter", "half"):
        then = _mean(slopes(best_radii(table, f"test_share_{name}")))
        earlier.append(f"{then.estimate:.3g}" if then else "unknown")
    measured = (
        f"slope {found or 'unknown'}; {edges} of {len(best)} minima at an edge of the grid; slope "
        f"after a quarter and a half of the steps {', '.join(earlier)}"
    )
    moved = Interval(*(value - PREDICTED for value in found)) if found else None
    fits = elsewhere(table, best, large, small, "train_share")
    return [
        Claim(
            "The norm at which students generalise best goes with the teacher's: it grows with teacher_alpha.",
            measured,
            above(found, 0.0) if found and not edges else "undecided",
        ),
        Claim(
            f"It is proportional to teacher_alpha: slope of the logarithms {PREDICTED:g} ± {SPREAD:g}.",
            measured,
            within(moved, SPREAD) if moved and not edges else "undecided",
        ),
        _claim(
            f"A small norm that is right for one task is wrong for another: at the best radius of teacher {small:g} "
            f"students of teacher {large:g} have over {WORSE:g} times their least test loss.",
            "ratio", elsewhere(table, best, large, small, "test_share"), lambda x: above(x, math.log(WORSE)),
            f"; their training loss there over their least test loss {_median(fits):.3g} (median)",
        ),
        _claim(
            f"And the other way round: at the best radius of teacher {large:g} students of teacher {small:g} have over "
            f"{WORSE:g} times their least test loss.",
            "ratio", elsewhere(table, best, small, large, "test_share"), lambda x: above(x, math.log(WORSE)),
        ),
    ]  # fmt: skip


def _median(logs: list[float]) -> float:
    return math.exp(float(np.median(logs)))


def _decay_claims(table: pd.DataFrame, grid: Grid) -> list[Claim]:
    free, decay = table[table["family"] == "free"], grid.decays[-1]
    made = []
    for teacher, does, decide in (
        (grid.teachers[0], "helps", lambda x: below(x, 0.0)),
        (grid.teachers[-1], "hurts", lambda x: above(x, 0.0)),
    ):
        losses = free[free["teacher_alpha"] == teacher].pivot(index="seed", columns="decay", values="test_share")
        ratios = {w: (losses[w] / losses[0.0]).map(math.log).tolist() for w in grid.decays[1:]}
        others = [f"at decay {w:g} {_median(ratios[w]):.3g}" for w in grid.decays[1:-1]]
        told = f"; median {', '.join(others)}" if others else ""
        text = f"Weight decay {decay:g} {does} free students of teacher {teacher:g}, from α = 1."
        what = f"test loss at decay {decay:g} over that without"
        made.append(_claim(text, what, ratios[decay], decide, told))
    grown = free[(free["teacher_alpha"] == grid.teachers[-1]) & (free["decay"] == 0)]
    text = f"Left alone, students of teacher {grid.teachers[-1]:g} grow: their norm rises by more than a tenth."
    logs = (grown["final_norm"] / grown["r0"]).map(math.log).tolist()
    return [*made, _claim(text, "final over initial norm", logs, lambda x: above(x, math.log(1.1)))]


def _parity_claims(table: pd.DataFrame, grid: Grid) -> list[Claim]:
    arms = {w: rows.set_index("seed") for w, rows in table[table["family"] == "parity"].groupby("decay")}
    decay, steps, made = grid.parity_decays[-1], grid.steps[1], []
    none, most = arms[grid.parity_decays[0]], arms[decay]
    censored = [int(rows["grokked_by"].isna().sum()) for rows in (none, most)]
    for rows, how, late in zip((none, most), ("without decay", f"under decay {decay:g}"), censored, strict=True):
        text = f"Parity {how}: the norm is larger at generalisation than at memorisation."
        what, told = "norm then over norm before", f"; not generalised in time: {late} of {len(rows)}"
        logs = (rows["norm_grokked"] / rows["norm_memorised"]).map(math.log).tolist()
        made.append(_claim(text, what, logs, lambda x: above(x, 0.0), told))
    text = f"Parity is generalised at no one norm: without decay at over 1.5 times that under decay {decay:g}."
    logs = (none["norm_grokked"] / most["norm_grokked"]).map(math.log).tolist()
    made.append(_claim(text, "ratio of the norms at generalisation", logs, lambda x: above(x, math.log(1.5))))
    known = most["grokked_by"].notna() | none["grokked_by"].notna()
    times = (most["grokked_by"].fillna(steps) / none["grokked_by"].fillna(steps)).where(known)
    told = f"; censored {censored[0]} without and {censored[1]} under it"
    text, what = f"Decay {decay:g} hastens parity all the same.", "time to generalise under decay over that without"
    made.append(_claim(text, what, times.map(math.log).tolist(), lambda x: below(x, 0.0), told))
    return made


def _control(table: pd.DataFrame) -> Claim:
    rows = table[table["family"] == "random"]
    best = rows.groupby("seed")["test_acc"].max()
    found = mean_interval(best.tolist())
    return Claim(
        f"Control: random labels generalise at no radius; test accuracy stays below twice chance, {2 / CLASSES:.3f}.",
        f"largest final test accuracy over {rows['alpha'].nunique()} radii {found}, train accuracy up to "
        f"{rows['train_acc'].max():.3f}",
        below(found, 2 / CLASSES),
    )


def draw(table: pd.DataFrame, runs: dict[str, list[Run]], grid: Grid) -> "figures.Figure":
    """Loss against held radius, best radius against teacher, decay, parity's norm and accuracy, the control."""
    figure, axes = figures.sheet(2, 3, (13, 7.6))
    best, colours = best_radii(table), dict(zip(grid.teachers, COLOURS, strict=False))
    unit = table.loc[table["family"] == "free", "r0"].mean()
    for teacher, colour in colours.items():
        rows = table[(table["family"] == "held") & (table["teacher_alpha"] == teacher)]
        figures.draw_seeds(axes[0, 0], rows, "alpha", "test_share", colour, "-", f"teacher {teacher:g}")
        middle = rows.groupby("alpha")["train_share"].median()
        axes[0, 0].plot(middle.index, middle, color=colour, ls=":", lw=1)
        dots = best[best["teacher_alpha"] == teacher]
        axes[0, 1].plot(dots["teacher_alpha"], dots["radius"], "o", color=colour, alpha=0.7)
    axes[0, 0].set_xlabel("held norm, in units of α = ‖θ‖/‖θ₀‖")
    axes[0, 0].set_ylabel("mean squared error / variance of the labels\n(dotted: train)")
    middle = best.groupby("teacher_alpha")["radius"].median()
    axes[0, 1].plot(middle.index, middle, color=figures.GREY, label="median of the seeds")
    x = np.array(grid.teachers)
    axes[0, 1].plot(x, middle.iloc[0] * x / x[0], color=figures.GREY, ls="--", label="proportional")
    axes[0, 1].axhline(unit, color=figures.GREY, ls=":", lw=0.8, label="‖θ₀‖ at α = 1")
    axes[0, 1].set_xlabel("teacher_alpha")
    axes[0, 1].set_ylabel("held norm of least test loss")
    for decay, colour in zip(grid.decays, DECAYS, strict=False):
        rows = table[(table["family"] == "free") & (table["decay"] == decay)]
        figures.draw_seeds(axes[0, 2], rows, "teacher_alpha", "test_share", colour, "-", f"free, decay {decay:g}")
    axes[0, 2].set_xlabel("teacher_alpha")
    axes[0, 2].set_ylabel("test mean squared error / variance of the labels")
    for ax, ticks in ((axes[0, 0], grid.alphas), (axes[0, 1], grid.teachers), (axes[0, 2], grid.teachers)):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], fontsize=7)
        ax.minorticks_off()
    low, high = axes[0, 1].get_ylim()
    ticks = [radius for radius in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50) if low < radius < high]
    axes[0, 1].set_yticks(ticks, map(str, ticks))
    for decay, colour in zip(grid.parity_decays, DECAYS, strict=False):
        of_arm = [run for run in runs["parity"] if run.config.optimizer.weight_decay == decay]
        for i, run in enumerate(of_arm):
            label = f"decay {decay:g}" if i == 0 else None
            axes[1, 0].plot(run.history["norm"], color=colour, alpha=0.6, lw=1, label=label)
            for (name, event), marker in zip(events(run.history).items(), ("s", "o"), strict=True):
                if event.by is not None:
                    told = name if i == 0 and decay == grid.parity_decays[0] else None
                    at = run.history["norm"].loc[event.by]
                    axes[1, 0].plot(event.by, at, marker, color=colour, ms=5, mfc="white", label=told)
        curves = pd.concat([run.history["test_acc"] for run in of_arm], axis=1)
        axes[1, 1].plot(curves.index, curves.median(axis=1), color=colour, label=f"decay {decay:g}")
        axes[1, 1].fill_between(curves.index, curves.min(axis=1), curves.max(axis=1), color=colour, alpha=0.12, lw=0)
    for ax, label in ((axes[1, 0], "parity: weight norm r"), (axes[1, 1], "parity: test accuracy (median, range)")):
        figures.step_axis(ax, grid.steps[1])
        ax.set_ylabel(label)
    rows = table[table["family"] == "random"]
    figures.draw_seeds(axes[1, 2], rows, "alpha", "train_acc", figures.GREY, "--", "random labels, train")
    figures.draw_seeds(axes[1, 2], rows, "alpha", "test_acc", figures.RED, "-", "random labels, test")
    axes[1, 2].axhline(1 / CLASSES, color=figures.GREY, ls=":", lw=0.8, label="chance")
    axes[1, 2].set_xlabel("held norm, in units of α = ‖θ‖/‖θ₀‖")
    axes[1, 2].set_ylabel("final accuracy")
    for ax in axes.flat:
        ax.legend(fontsize=7, frameon=False)
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "two teachers, few radii, few steps")
    grid = QUICK if given.quick else FULL
    configs = students(grid) | parities(grid) | controls(grid)
    trained = cg.train(
        list(configs.values()), given.out / "runs", names=list(configs), progress=LiveProgress(), threads=given.threads
    )
    table = pd.DataFrame([row(run) for run in trained])
    runs = {family: [run for run in trained if run.name.startswith(family)] for family in ("parity", "random")}
    held, parity = table[table["family"] == "held"], table[table["family"] == "parity"]
    unit = {name: rows["r0"].mean() for name, rows in table[table["family"] != "held"].groupby("family")}
    student, bits = trained[0].config, runs["parity"][0].config
    scale = ", ".join(f"{t:g}: {v:.2g}" for t, v in held.groupby("teacher_alpha")["label_variance"].mean().items())
    radii = best_radii(table).groupby("teacher_alpha")["radius"].median()
    notes = [
        f"Teachers and students: tanh networks 5-100-100-5, default init of torch times teacher_alpha and times α "
        f"(‖θ₀‖ = {unit['free']:.2f} at α = 1); {student.task.n_train} training and "
        f"{student.task.n_pairs - student.task.n_train} test examples; mean squares, AdamW {student.optimizer.lr:g} "
        f"with β₂ = {student.optimizer.beta2:g}, {grid.steps[0]} steps. Held students: α in {grid.alphas}, no decay, "
        f"norm held globally after every step. Losses are those of the last step over the variance of the test labels "
        f"({scale}). Best radius, median by teacher: {', '.join(f'{t:g}: {r:.3g}' for t, r in radii.items())}. It is "
        "the minimum of a parabola in logarithms through the least test loss on the grid and its neighbours.",
        f"{bits.task.formula}: {bits.task.n_train} training examples, one hidden layer of "
        f"{bits.model.activations_per_input} ReLU, AdamW {bits.optimizer.lr:g}, decays {grid.parity_decays}, "
        f"{grid.steps[1]} steps, ‖θ₀‖ = {unit['parity']:.2f}. An event counts once it holds at {HOLD + 1} evaluations "
        f"in a row (every {bits.schedule.eval_every} steps); censored times count as the budget. Not generalised: "
        + ", ".join(f"decay {w:g} {int(r['grokked_by'].isna().sum())} of {len(r)}" for w, r in parity.groupby("decay"))
        + f". Control: quickstart's transformer on random labels, α in {grid.control_alphas}, {grid.steps[2]} steps, "
        "three seeds at most.",
        f"Seeds {grid.seeds}, of student, teacher and inputs, which are drawn apart; {len(table)} runs. r is the plain "
        "norm of all trained weights; the least norm over the rescalings of ReLU neurons is not taken.",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]
    verdicts.write(given.out, QUESTION, claims(table, grid), notes, table, draw(table, runs, grid))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
