"""When the norm is held at alpha * |theta_0|, how do train and test accuracy depend on alpha?

And does the delay between memorising and generalising vanish? Two arms from the same initial directions
and splits: `free` (AdamW with weight decay, the norm may move) and `sphere` (no weight decay, the norm is
put back to alpha * |theta_0| after every step). All runs of the analysis train as one stack.

    python analyses/alpha_on_the_sphere.py            # the full grid: minutes
    python analyses/alpha_on_the_sphere.py --quick    # a smaller one: seconds
"""

import math

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, above, below, mean_interval, share_interval
from circuitgrok.training.progress import LiveProgress

QUESTION = "When the norm is held at α‖θ₀‖, how do train and test accuracy depend on α, and does the delay vanish?"
ARMS = {"free": figures.BLUE, "sphere": figures.RED}
SOLVED = 0.95  # test accuracy that counts as generalising
FITTED = 0.99  # train accuracy that counts as memorising


def configs(alphas: list[float], seeds: list[int], steps: int) -> dict[str, cg.TrainConfig]:
    """Both arms for every alpha and seed; a seed sets the initial direction and the split of both arms."""
    base = cg.TrainConfig.preset("quickstart").with_(steps=steps, checkpoint_every=steps, checkpoints_per_decade=0)
    base = base.with_(checkpoint_on_move=100.0, eval_every=10)
    return {
        f"{arm}-a{alpha:g}-s{seed}": base.with_(alpha=alpha, seed=seed, data_seed=seed).with_(
            **({"fixed_norm": True, "weight_decay": 0.0} if arm == "sphere" else {})
        )
        for arm in ARMS
        for alpha in alphas
        for seed in seeds
    }


def row(run: Run) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    history, config = run.history, run.config
    times = {f"{name}_by": math.nan if event.by is None else event.by for name, event in events(history).items()}
    return {
        "arm": "sphere" if config.constraint.fixed_norm else "free",
        "alpha": config.init.alpha,
        "seed": config.init.seed,
        "r0": run.manifest["start"]["norm"],
        "state": run.state,
        "final_norm": history["norm"].iloc[-1],
        "train_acc": history["train_acc"].iloc[-1],
        "test_acc": history["test_acc"].iloc[-1],
        **times,
    }


def claims(table: pd.DataFrame, steps: int) -> list[Claim]:
    """Band, delay, and what lies on either side of the band."""
    sphere, free = (table[table["arm"] == arm] for arm in ("sphere", "free"))
    solved = sphere.groupby("alpha")["test_acc"].apply(lambda acc: (acc >= SOLVED).all())
    fitted = sphere.groupby("alpha")["train_acc"].apply(lambda acc: (acc >= FITTED).all())
    band = [alpha for alpha in solved.index if solved[alpha] and fitted[alpha]]
    n = sphere["seed"].nunique()
    made = [
        Claim(
            "There is a band of α in which every run on the sphere generalises.",
            f"α in {{{', '.join(f'{alpha:g}' for alpha in band)}}}, all {n} seeds each"
            if band
            else f"no α at which all {n} seeds reach test accuracy {SOLVED:g}",
            "holds" if band else "fails",
        )
    ]
    if band:
        medians = {alpha: sphere[sphere["alpha"] == alpha]["grokked_by"].median() for alpha in band}
        fastest = min(band, key=lambda alpha: medians[alpha])
        made += _delays(sphere, free, fastest, steps)
    edge = max(band, default=float(sphere["alpha"].min()))
    high = sphere[(sphere["alpha"] > edge) & (sphere["train_acc"] >= FITTED)]
    if len(high):
        only = int((high["test_acc"] < SOLVED).sum())
        made.append(
            Claim(
                "Above the band, runs on the sphere that fit the training set do not generalise within the budget.",
                f"share of such runs {share_interval(only, len(high))} ({only} of {len(high)})",
                above(share_interval(only, len(high)), 0.5),
            )
        )
    low = sphere[sphere["alpha"] < min(band, default=0)]
    if len(low):
        misfit = int((low["train_acc"] < FITTED).sum())
        made.append(
            Claim(
                "Below the band, runs on the sphere do not even fit the training set.",
                f"share of such runs {share_interval(misfit, len(low))} ({misfit} of {len(low)})",
                above(share_interval(misfit, len(low)), 0.5),
            )
        )
    return made


def _log_delay(rows: pd.DataFrame, steps: int) -> pd.Series:
    """Logarithm of T_grok / T_mem by seed; a censored T_grok counts as the budget."""
    times = rows.set_index("seed")
    return (times["grokked_by"].fillna(steps) / times["memorised_by"]).map(math.log)


def _delays(sphere: pd.DataFrame, free: pd.DataFrame, alpha: float, steps: int) -> list[Claim]:
    """The delay on the sphere, alone and against the free run at alpha = 1, and who generalises sooner."""
    held, loose = sphere[sphere["alpha"] == alpha], free[free["alpha"] == 1]
    own = mean_interval(_log_delay(held, steps).tolist())
    shrunk = mean_interval((_log_delay(loose, steps) - _log_delay(held, steps)).tolist())
    times = [rows.set_index("seed")["grokked_by"].fillna(steps) for rows in (loose, held)]
    sooner = mean_interval((times[0] / times[1]).map(math.log).tolist())
    return [
        Claim(
            f"On the sphere at its fastest α ({alpha:g}) the run generalises sooner than the free run at α = 1.",
            f"T_grok(free) / T_grok(sphere), {verdicts.factor(sooner)}",
            above(sooner, 0.0),
        ),
        Claim(
            "There the delay T_grok/T_mem is at most a third of the free run's.",
            f"delay(free) / delay(sphere), {verdicts.factor(shrunk)}",
            above(shrunk, math.log(3)),
        ),
        Claim(
            "There the delay vanishes: T_grok is less than 1.5 T_mem.",
            f"T_grok/T_mem on the sphere, {verdicts.factor(own)}",
            below(own, math.log(1.5)),
        ),
    ]


def draw(table: pd.DataFrame, steps: int) -> "figures.Figure":
    """Final accuracies, and times to memorise and to generalise, against alpha; seeds as dots."""
    figure, axes = figures.sheet(1, 2, (10, 3.8))
    for arm, colour in ARMS.items():
        rows = table[table["arm"] == arm]
        for column, style in (("train_acc", "--"), ("test_acc", "-")):
            figures.draw_seeds(axes[0], rows, "alpha", column, colour, style, f"{arm}, {column[:-4]}")
        for column, style in (("memorised_by", "--"), ("grokked_by", "-")):
            shown = rows.assign(**{column: rows[column].fillna(steps)})
            label = f"{arm}, {'test ≥ 0.95' if column == 'grokked_by' else 'train ≥ 0.99'}"
            figures.draw_seeds(axes[1], shown, "alpha", column, colour, style, label)
    axes[0].set_ylabel("final accuracy")
    axes[1].set_ylabel("optimizer step")
    axes[1].set_yscale("log")
    axes[1].set_yticks(ticks := [tick for tick in (20, 50, 100, 200, 500, 1000, 2000) if tick < steps], map(str, ticks))
    axes[1].axhline(steps, color=figures.GREY, lw=0.8)
    axes[1].text(table["alpha"].max(), steps, "budget (censored)", ha="right", va="bottom", fontsize=7)
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted(set(table["alpha"])), [f"{alpha:g}" for alpha in sorted(set(table["alpha"]))])
        ax.minorticks_off()
        ax.set_xlabel("init scale α (held norm = α‖θ₀‖ on the sphere)")
        ax.legend(fontsize=7, frameon=False)
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "a small grid")
    alphas = [0.5, 1.0, 2.0] if given.quick else [0.5, 0.7, 0.8, 0.9, 1.0, 1.4, 2.0, 3.0]
    seeds, steps = ([0, 1], 150) if given.quick else ([0, 1, 2], 3000)
    grid = configs(alphas, seeds, steps)
    runs = cg.train(
        list(grid.values()),
        given.out / "runs",
        names=list(grid),
        progress=LiveProgress(),
        threads=given.threads,
    )
    table = pd.DataFrame([row(run) for run in runs])
    base = runs[0].config
    notes = [
        f"a + b mod {base.modular.p}, {base.modular.frac_train:.0%} of the pairs for training; one layer, d_model "
        f"{base.transformer.d_model}, d_mlp {base.transformer.d_mlp}; "
        f"AdamW {base.optimizer.lr:g}; free arm weight decay "
        f"{base.optimizer.weight_decay:g}, sphere arm none. Base init {base.init.scheme}: |θ₀| at α = 1 is "
        f"{table[table['alpha'] == 1]['r0'].mean():.2f}. Seeds {seeds}; {steps} steps; evaluated every "
        f"{base.schedule.eval_every} steps; an event counts once it holds at {HOLD + 1} evaluations in a row.",
        f"Censored at {steps} steps (test accuracy never held {SOLVED:g}): "
        + ", ".join(
            f"{arm} α {alpha:g}: {int(rows['grokked_by'].isna().sum())} of {len(rows)}"
            for (arm, alpha), rows in table.groupby(["arm", "alpha"])
            if rows["grokked_by"].isna().any()
        )
        + ".",
        "The α that is compared with the free run was picked as the fastest of the same runs, which favours the "
        "sphere; a censored run counts as the whole budget, which favours whichever arm it is in.",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]
    verdicts.write(given.out, QUESTION, claims(table, steps), notes, table, draw(table, steps))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
