"""Does holding the norm prevent memorising circuits, or do generalising ones outrun them?

On the sphere of radius alpha * |theta_0| (no weight decay) the same initial networks are trained on the same
pairs three times: with the true labels, with random labels, which can only be memorised, and with the true
labels on a sphere that they are put on after they have memorised freely. Where the true task generalises at
once: would there have been room to memorise, and how long would it have taken?

    python analyses/does_the_sphere_prevent_memorising.py            # the full grid: minutes
    python analyses/does_the_sphere_prevent_memorising.py --quick    # a smaller one: seconds
"""

import math

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, crossing, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, above, below, mean_interval
from circuitgrok.training.progress import LiveProgress

QUESTION = "Does holding the norm prevent memorising circuits, or do generalising circuits outrun them?"
ARMS = {"task": figures.BLUE, "random labels": figures.RED, "held after memorising": figures.GREEN}
SOLVED = 0.95  # accuracy that counts as generalised, and as fitted by the capacity question
FREE_STEPS = 200  # of the arm that memorises first


def configs(alphas: list[float], later: list[float], seeds: list[int], steps: int) -> dict[str, cg.TrainConfig]:
    """The arms for every alpha and seed; a seed sets initial direction, split and random labels of all arms."""
    base = cg.TrainConfig.preset("quickstart").with_(steps=steps, checkpoint_every=steps, checkpoints_per_decade=6)
    base = base.with_(checkpoint_on_move=100.0, eval_every=10, weight_decay=0.0)
    grid = {}
    for seed in seeds:
        own = base.with_(seed=seed, data_seed=seed, label_seed=seed)
        for alpha in alphas:
            held = own.with_(alpha=alpha, fixed_norm=True)
            grid[f"task-a{alpha:g}-s{seed}"] = held
            grid[f"random-a{alpha:g}-s{seed}"] = held.with_(operation="random")
        radius = _initial_norm(own)
        for alpha in later:
            held = own.with_(fixed_norm=True, norm_from_step=min(FREE_STEPS, steps // 3), norm_radius=alpha * radius)
            grid[f"later-a{alpha:g}-s{seed}"] = held
    return grid


def _initial_norm(config: cg.TrainConfig) -> float:
    from circuitgrok.training.stack import initial_weights
    from circuitgrok.tree import norm

    return norm(initial_weights(config)).item()


def row(run: Run, alpha: float) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    config, history = run.config, run.history
    is_random = config.modular.operation == "random"
    arm = "random labels" if is_random else "held after memorising" if config.constraint.norm_from_step else "task"
    fitted = crossing(list(history.index), history["train_acc"].tolist(), SOLVED)
    line: dict[str, object] = {
        "arm": arm,
        "alpha": alpha,
        "seed": config.init.seed,
        "r0": run.manifest["start"]["norm"],
        "held_at": history["norm"].iloc[-1],
        "state": run.state,
        "fitted_by": math.nan if fitted.by is None else fitted.by,
        "grokked_by": math.nan,
        "best_train_acc": history["train_acc"].max(),
        "best_test_acc": history["test_acc"].max(),
        "best_train_loss": history["train_loss"].min(),
        "best_test_loss": history["test_loss"].min(),
        "train_acc": history["train_acc"].iloc[-1],
        "test_acc": history["test_acc"].iloc[-1],
    }
    if not is_random:
        grokked = events(history)["grokked"].by
        circuits = cg.measure(run, ["circuits"])
        line |= {
            "grokked_by": math.nan if grokked is None else grokked,
            "excluded_min": circuits["excluded_loss[train]"].min(),
            "excluded_end": circuits["excluded_loss[train]"].iloc[-1],
            "restricted_end": circuits["restricted_loss[all]"].iloc[-1],
        }
    return line


def random_fit_when_solved(runs: dict[str, Run], alpha: float, seed: int) -> float:
    """Share of random labels fitted at the step at which the task generalised; nan if it did not."""
    solved = events(runs[f"task-a{alpha:g}-s{seed}"].history)["grokked"].by
    return math.nan if solved is None else float(runs[f"random-a{alpha:g}-s{seed}"].history["train_acc"].loc[solved])


def claims(table: pd.DataFrame, runs: dict[str, Run], steps: int) -> list[Claim]:
    """Whether there is room for memories in the band, who is first, and what memories that are there become."""
    task, other, later = (table[table["arm"] == arm].set_index(["alpha", "seed"]) for arm in ARMS)
    solved = task.groupby("alpha")["test_acc"].apply(lambda acc: (acc >= SOLVED).all())
    band = [float(alpha) for alpha in solved.index if solved[alpha]]
    text = "There are radii at which every run generalises from the start."
    made = [Claim(text, f"α in {{{', '.join(f'{a:g}' for a in band)}}}", "holds" if band else "fails")]
    for alpha in band:
        at = f"On the sphere of α = {alpha:g}"
        own, random = task.loc[alpha], other.loc[alpha]
        room = mean_interval(random["best_train_acc"].tolist())
        fit = mean_interval([random_fit_when_solved(runs, alpha, int(seed)) for seed in own.index])
        first = mean_interval((random["fitted_by"].fillna(steps) / own["grokked_by"]).map(math.log).tolist())
        censored = int(random["fitted_by"].isna().sum())
        excluded = mean_interval(own["excluded_min"].map(math.log).tolist())
        dear = mean_interval((random["best_train_loss"] / own["best_train_loss"]).map(math.log10).tolist())
        made += [
            Claim(
                f"{at} there is no room to memorise: random labels are never fitted to {SOLVED:g}.",
                f"best accuracy on as many random labels {room}",
                below(room, SOLVED),
            ),
            Claim(
                f"{at} generalising comes before memorising could: when the task is solved, less than half of as many "
                "random labels are fitted.",
                f"share of random labels fitted by then {fit}",
                below(fit, 0.5),
            ),
            Claim(
                f"{at} generalising outruns memorising: random labels take longer to fit than the task to generalise.",
                f"T_random / T_grok, {verdicts.factor(first)}, {censored} of {len(random)} random runs censored at the "
                "budget",
                above(first, 0.0),
            ),
            Claim(
                f"{at} memorising has a price: random labels leave over 1000 times the loss of the true ones.",
                "best loss on random over best loss on true labels, 10 to the power "
                f"{dear}; {random['best_train_loss'].median():.2g} nats against {own['best_train_loss'].median():.2g}",
                above(dear, 3.0),
            ),
            Claim(
                f"{at} no memorising circuit shows: the loss without the key frequencies never falls below 1 nat.",
                f"least excluded loss on train, {verdicts.factor(excluded)} nats",
                above(excluded, 0.0),
            ),
        ]
    edge = max(band, default=1.0)
    high = [float(alpha) for alpha in sorted(set(table["alpha"])) if alpha >= 2 * edge]
    if high:
        fitted = [(arm.loc[a]["fitted_by"].fillna(steps) for arm in (other, task)) for a in high]
        per_seed = pd.concat([(random / own).map(math.log) for random, own in fitted], axis=1).mean(axis=1)
        slower = mean_interval(per_seed.tolist())
        made.append(
            Claim(
                f"At large radii (α ≥ {high[0]:g}) the true labels are fitted like random ones: within a factor 1.5.",
                f"T_fit(random) / T_fit(task), {verdicts.factor(slower)} over {len(high)} radii",
                verdicts.within(slower, math.log(1.5)),
            )
        )
    made += [_held_later(later, alpha) for alpha in sorted(set(later.index.get_level_values("alpha")))]
    return made


def _held_later(later: pd.DataFrame, alpha: float) -> Claim:
    rows = later.loc[alpha]
    solved = int((rows["test_acc"] >= SOLVED).sum())
    share = verdicts.share_interval(solved, len(rows))
    return Claim(
        f"A network that has memorised freely and is then put on the sphere of α = {alpha:g} still generalises.",
        f"share of runs {share} ({solved} of {len(rows)})",
        above(share, 0.5),
    )


def draw(table: pd.DataFrame, steps: int) -> "figures.Figure":
    """Who fits and generalises when; how much is fitted; the reduced landscape."""
    figure, axes = figures.sheet(1, 3, (13, 4.4))
    task, other, later = (table[table["arm"] == arm] for arm in ARMS)
    times = [
        (task, "grokked_by", "-", "task, test ≥ 0.95"),
        (task, "fitted_by", "--", "task, train ≥ 0.95"),
        (other, "fitted_by", "--", "random labels, train ≥ 0.95"),
        (later, "grokked_by", "-", "held after memorising, test ≥ 0.95"),
    ]
    for rows, column, style, label in times:
        shown = rows.assign(**{column: rows[column].fillna(steps)})
        figures.draw_seeds(axes[0], shown, "alpha", column, ARMS[rows["arm"].iloc[0]], style, label)
    axes[0].axhline(steps, color=figures.GREY, lw=0.8)
    axes[0].text(table["alpha"].max(), steps, "budget (censored)", ha="right", va="bottom", fontsize=7)
    axes[0].set_yscale("log")
    axes[0].set_yticks(ticks := [tick for tick in (50, 100, 200, 500, 1000, 2000) if tick < steps], map(str, ticks))
    axes[0].set_ylabel("optimizer step")
    for rows, column, style, label in (
        (task, "best_train_acc", "--", "task, train"),
        (task, "best_test_acc", "-", "task, test"),
        (other, "best_train_acc", "--", "random labels, train"),
        (later, "best_test_acc", "-", "held after memorising, test"),
    ):
        figures.draw_seeds(axes[1], rows, "alpha", column, ARMS[rows["arm"].iloc[0]], style, label)
    axes[1].set_ylabel("best accuracy of the run")
    for column, style, colour, label in (
        ("best_train_loss", "--", figures.BLUE, "task, train (L)"),
        ("best_test_loss", "-", figures.BLUE, "task, test (U)"),
        ("excluded_min", ":", figures.PURPLE, "least excluded loss (train)"),
    ):
        figures.draw_seeds(axes[2], task, "alpha", column, colour, style, label)
    figures.draw_seeds(axes[2], other, "alpha", "best_train_loss", figures.RED, "--", "random labels, train")
    axes[2].set_yscale("log")
    axes[2].set_ylabel("best cross-entropy of the run (nats)")
    ticks = sorted(set(table["alpha"]))
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, [f"{alpha:g}" for alpha in ticks], fontsize=7)
        ax.minorticks_off()
        ax.set_xlabel("held norm, in units of α = ‖θ‖/‖θ₀‖")
        figures.legend_above(ax, 2)
    return figure


def _counted(rows: pd.DataFrame) -> str:
    groups = rows.groupby(["arm", "alpha"])
    return ", ".join(f"{arm} α {alpha:g}: {len(group)}" for (arm, alpha), group in groups) or "none"


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "a small grid")
    alphas = [0.7, 0.9, 2.0] if given.quick else [0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0]
    later = [0.9] if given.quick else [0.8, 0.9, 1.0, 1.5]
    seeds, steps = ([0, 1], 40) if given.quick else ([0, 1, 2], 3000)
    grid = configs(alphas, later, seeds, steps)
    trained = cg.train(
        list(grid.values()), given.out / "runs", names=list(grid), progress=LiveProgress(), threads=given.threads
    )
    runs = dict(zip(grid, trained, strict=True))
    scale = {seed: runs[f"task-a{alphas[0]:g}-s{seed}"].manifest["start"]["norm"] / alphas[0] for seed in seeds}
    table = pd.DataFrame(
        [row(run, round(float(run.history["norm"].iloc[-1]) / scale[run.config.init.seed], 3)) for run in trained]
    )
    base = trained[0].config
    censored = table[table["fitted_by"].isna()]
    unsolved = table[(table["arm"] != "random labels") & table["grokked_by"].isna()]
    notes = [
        f"{base.task.formula}, {base.task.n_train} training pairs; one layer, d_model {base.transformer.d_model}, "
        f"d_mlp {base.transformer.d_mlp}; "
        f"AdamW {base.optimizer.lr:g} without weight decay; norm held globally after every step, "
        f"from the start or (held after memorising) from step {min(FREE_STEPS, steps // 3)} of a free run at α = 1 "
        f"without decay. Base init {base.init.scheme}: ‖θ₀‖ = {sum(scale.values()) / len(scale):.2f}. Random labels: "
        f"one uniform class per pair, drawn once. Seeds {seeds}; {steps} steps; evaluated every "
        f"{base.schedule.eval_every}; an event counts once it holds at {HOLD + 1} evaluations in a row. Key "
        "frequencies (excluded loss) by wl_energy at each run's last checkpoint.",
        f"Not fitted to {SOLVED:g} within {steps} steps: "
        + _counted(censored)
        + ". Not generalised: "
        + _counted(unsolved)
        + f" (of {len(seeds)} each).",
        "The band is picked from the runs that it is then judged by; the claim about the price of memorising was added "
        "when random labels had turned out to be fitted. A censored time counts as the budget, which "
        "makes T_random / T_grok look smaller than it is.",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]
    verdicts.write(given.out, QUESTION, claims(table, runs, steps), notes, table, draw(table, steps))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
