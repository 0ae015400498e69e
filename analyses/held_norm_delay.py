"""Does the delay to grokking grow with the norm at which the weights are held, and is it the norm or the logits?

Free runs of an embedding MLP give W_c, the norm at which they grok. From the same memorised networks, optimizer
state included, training goes on with the norm held at rho W_c. A run ends when it has grokked; one that has not by
the budget is censored, and is taken as such. A larger norm makes larger logits, so temperature tells the two apart:
at rho = 1 it gives the loss logits as large as those at rho = 1.15, and at rho = 1.15 logits as small as at 1.

    python analyses/held_norm_delay.py            # four seeds: minutes
    python analyses/held_norm_delay.py --quick    # two of a tiny network: seconds
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, Event, crossing, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, Interval, above, mean_interval, within
from circuitgrok.training.progress import LiveProgress
from circuitgrok.tree import Params, norm

QUESTION = "Does the delay to grokking grow with the norm that is held, and is it the norm or the logit scale?"
GROKKED = 0.9  # test accuracy, the rule of the delay law
RHOS = [0.85, 0.95, 1.0, 1.05, 1.15, 1.25]
LOW, HIGH = 1.0, 1.15  # between which temperature is tried
TICKS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
COLOURS = dict(
    zip(RHOS, (figures.PURPLE, figures.BLUE, figures.SKY, figures.GREEN, figures.ORANGE, figures.RED), strict=True)
)


class Budget(NamedTuple):
    """Sizes of the analysis.

    Attributes:
        base: What all runs share.
        seeds: Seeds of initial weights and split.
        memorised: Step from which norms are held.
        leg: Steps after which it is asked whether a run has grokked.
        legs: How many of them a run may take after `memorised`.
    """

    base: cg.TrainConfig
    seeds: list[int]
    memorised: int
    leg: int
    legs: int

    @property
    def steps(self) -> int:
        """Steps at which runs are censored."""
        return self.memorised + self.leg * self.legs


def budget(quick: bool) -> Budget:
    """The delay law's network at p = 41 on 65 % of the pairs, where free runs grok within 2000 steps."""
    base = cg.TrainConfig.preset("truong").with_(checkpoints_per_decade=0, checkpoint_on_move=100.0, keep_moments=True)
    if quick:
        tiny = base.with_(p=11, frac_train=0.8, d_embed=32, d_hidden=64, lr=1e-2, eval_every=5)
        return Budget(tiny, [0, 1], 40, 40, 2)
    return Budget(base.with_(p=41, frac_train=0.65), [0, 1, 2, 3], 250, 500, 24)


class Course(NamedTuple):
    """One run, trained in legs.

    Attributes:
        legs: The runs that make it up, in order; the first ends when the norm begins to be held.
        history: Their histories, one after the other.
    """

    legs: list[Run]
    history: pd.DataFrame

    @property
    def config(self) -> cg.TrainConfig:
        """That of the last leg."""
        return self.legs[-1].config

    @property
    def grokked(self) -> Event:
        """When test accuracy crossed the rule's threshold."""
        return crossing([int(step) for step in self.history.index], self.history["test_acc"].tolist(), GROKKED)

    @property
    def is_over(self) -> bool:
        """Whether it has grokked, and kept to it for as many evaluations as the rule asks, or diverged."""
        sure = self.history.index[-1] - HOLD * self.config.schedule.eval_every
        return self.legs[-1].state == "diverged" or (self.grokked.by is not None and self.grokked.by <= sure)


def course(legs: list[Run]) -> Course:
    """The legs as one; of a step that two have, where one starts from the other's end, the earlier line counts."""
    begin, parts = 0, []
    for leg in legs:
        parts.append(leg.history.set_index(leg.history.index + begin))
        begin += leg.config.schedule.steps
    whole = pd.concat(parts)
    return Course(legs, whole[~whole.index.duplicated()])


def until_grokked(starts: dict[str, Course], configs: dict[str, cg.TrainConfig], size: Budget, train) -> list[Course]:
    """Train every config on from the end of its start, leg by leg, until it has grokked or the budget is spent."""
    courses = dict(starts)
    for leg in range(size.legs):
        names = [name for name, known in courses.items() if not known.is_over]
        ahead = {}
        for name in names:
            last = courses[name].legs[-1]
            start = f"{last.path}@{last.steps[-1]}"
            ahead[f"{name}-leg{leg}"] = configs[name].with_(
                start=start, start_moments=True, steps=size.leg, checkpoint_every=size.leg
            )
        for name, run in zip(names, train(ahead), strict=True):
            courses[name] = course([*courses[name].legs, run])
    return list(courses.values())


def logit_scale(params: Params, config: cg.TrainConfig, radius: float) -> float:
    """Root mean square of the training pairs' logits about each pair's mean, with the weights brought to a radius."""
    weights = {name: value.double() * (radius / norm(params).double()) for name, value in params.items()}
    task = config.task.task()
    logits = config.model.logits(weights, task.inputs[task.is_train])
    return (logits - logits.mean(-1, keepdim=True)).square().mean().sqrt().item()


def row(arm: str, run: Course, critical: float) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    config, history, first = run.config, run.history, run.legs[0]
    grokked, memorised = run.grokked, events(history)["memorised"].by
    radius = config.constraint.norm_radius
    line: dict[str, object] = {
        "arm": arm,
        "rho": math.nan if radius is None else round(radius / critical, 6),
        "temperature": config.objective.temperature,
        "seed": config.init.seed,
        "r0": first.manifest["start"]["norm"],
        "held_norm": math.nan if radius is None else radius,
        "logit_scale": math.nan,
        "state": run.legs[-1].state,
        "memorised_by": math.nan if memorised is None else memorised,
        "grokked_by": math.nan if grokked.by is None else grokked.by,
        "last_step": int(history.index[-1]),
        "norm_at_grok": math.nan if grokked.by is None else history["norm"].loc[grokked.by],
        "train_acc": history["train_acc"].iloc[-1],
        "test_acc": history["test_acc"].iloc[-1],
    }
    if radius is not None:
        line["logit_scale"] = logit_scale(first.at(first.steps[-1]), config, radius) / config.objective.temperature
    return line


# --- lines through censored times --------------------------------------------------------------------


def censored_slope(
    y: Sequence[float], is_censored: Sequence[bool], regressors: Sequence[Sequence[float]], groups: Sequence[int]
) -> Interval | None:
    """The slope of `y` along the first regressor, with a level of its own for every group, by maximum likelihood.

    Errors are normal, and of a censored value it is known that it is larger than the one given (Tobit). The
    interval is that of the profile likelihood, its threshold such that without censoring it is Student's.

    Args:
        y: Values.
        is_censored: Whether the true value is larger.
        regressors: The one asked for, then those that are held constant; each as long as `y`.
        groups: A label for each value; a group without an uncensored value says nothing and is left out.

    Returns:
        Slope and 95 % interval; None if too little is uncensored to tell a slope and an error.
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.stats import t

    open_ended = np.asarray(is_censored, dtype=bool)
    label = np.asarray(groups)
    levels = [group for group in dict.fromkeys(groups) if not open_ended[label == group].all()]
    if not levels:
        return None
    kept = np.isin(label, levels)
    values, open_ended = np.asarray(y, dtype=float)[kept], open_ended[kept]
    asked, *others = [np.asarray(x, dtype=float)[kept] for x in regressors]
    rest = np.stack([*(label[kept] == group for group in levels), *others], axis=1).astype(float)
    design = np.column_stack([asked, rest])
    seen = ~open_ended
    free = int(seen.sum()) - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design[seen]) < design.shape[1]:
        return None
    best, coefficients, error = _most_likely(values, open_ended, design)

    def excess(slope: float) -> float:
        at, _, _ = _most_likely(values - slope * asked, open_ended, rest)
        return 2 * (best - at) - threshold

    threshold = seen.sum() * math.log1p(t.ppf(0.975, free) ** 2 / free)
    slope, width = float(coefficients[0]), 2 * error / (asked.std() * math.sqrt(len(asked)))
    ends = []
    for side in (-1, 1):
        far = next((d for d in width * 2.0 ** np.arange(40) if excess(slope + side * d) > 0), math.inf)
        found: Any = slope + side * far if math.isinf(far) else brentq(excess, slope, slope + side * far)
        ends.append(float(found))
    return Interval(slope, *ends)


def _most_likely(y, is_censored, design) -> tuple[float, Sequence[float], float]:
    """Largest log-likelihood of y = design b + s z with some y only bounded from below; b and s.

    In b / s and 1 / s the likelihood has one maximum (R. Olsen 1978, Econometrica 46, 1211).
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import log_ndtr

    start, *_ = np.linalg.lstsq(design, y, rcond=None)
    spread = max(float((y - design @ start).std()), 1e-9)
    unit = y / spread

    def cost(point):
        scaled, log_rate = point[:-1], point[-1]
        rate = math.exp(log_rate)
        z = rate * unit - design @ scaled
        tail = log_ndtr(-z)  # of a value above the one given
        logs = np.where(is_censored, tail, log_rate - z**2 / 2)
        pull = np.where(is_censored, np.exp(-(z**2) / 2 - tail) / math.sqrt(2 * math.pi), z)  # -d logs / dz
        by_rate = np.where(is_censored, 0.0, 1.0) - pull * rate * unit
        return -logs.sum(), -np.append(pull @ design, by_rate.sum())

    found = minimize(cost, np.append(start / spread, 0.0), jac=True, method="BFGS", options={"gtol": 1e-7})
    rate = math.exp(found.x[-1])
    constant = (~is_censored).sum() * math.log(spread)
    return -float(found.fun) - constant, found.x[:-1] / rate * spread, spread / rate


# --- what follows ------------------------------------------------------------------------------------


def claims(table: pd.DataFrame, steps: int) -> list[Claim]:
    """Times against the held norm, the norm of free runs, and what temperature does."""
    free, held = table[table["arm"] == "free"], table[table["arm"] == "held"]
    censored = f"{int(held['grokked_by'].isna().sum())} of {len(held)} runs censored at {steps}"
    slope, bend = slopes(held)
    range_ = held["rho"].max() - held["rho"].min()
    made = [
        Claim(
            "The larger the norm that is held, the later the network groks.",
            f"slope of ln T_grok over ρ {slope or 'not known'}; {censored}",
            above(slope, 0.0) if slope else "undecided",
        ),
        _ordered(held),
        Claim(
            "ln T_grok is linear in ρ: in the middle a parabola is off the line by less than a factor 1.5.",
            f"logarithm of that factor {bend or 'not known'}, over a range of {range_:.2g}; {censored}",
            within(bend, math.log(1.5)) if bend else "undecided",
        ),
    ]
    at = free["norm_at_grok"].dropna()
    widest = at.max() / at.min() - 1 if len(at) else math.nan
    made.append(
        Claim(
            "Free runs all grok at one norm: largest and smallest differ by less than 5 %.",
            f"norms {', '.join(f'{x:.2f}' for x in at) or 'none'}"
            + (f", {widest:.1%} apart" if len(at) else "")
            + f"; {len(at)} of {len(free)} grokked",
            "undecided" if len(at) < len(free) else "holds" if widest < 0.05 else "fails",
        )
    )
    return made + _temperature(table)


def slopes(held: pd.DataFrame) -> tuple[Interval | None, Interval | None]:
    """Slope of ln T over rho, and how far a parabola bends from its chord at the middle, censored times as such."""
    times, rho = held["grokked_by"].fillna(held["last_step"]).map(math.log), held["rho"]
    centre, half = (rho.max() + rho.min()) / 2, (rho.max() - rho.min()) / 2 or 1.0
    fit = partial(censored_slope, times.tolist(), held["grokked_by"].isna().tolist(), groups=held["seed"].tolist())
    bowl = 1 - ((rho - centre) / half) ** 2  # 1 at the middle, 0 at the ends
    return fit(regressors=[rho.tolist()]), fit(regressors=[bowl.tolist(), rho.tolist()])


def _ordered(held: pd.DataFrame) -> Claim:
    """Whether T grows from each rho to the next in every seed; of two censored runs it is not known."""
    times = held.pivot(index="seed", columns="rho", values="grokked_by")
    later = earlier = unknown = 0
    for low, high in zip(times.columns, times.columns[1:], strict=False):
        for one, two in zip(times[low], times[high], strict=True):
            if math.isnan(one) and math.isnan(two):
                unknown += 1
            else:
                grows = math.isnan(two) or (not math.isnan(one) and two > one)
                later, earlier = later + grows, earlier + (not grows)
    return Claim(
        "In every seed T_grok grows from each ρ to the next.",
        f"later {later} times, not later {earlier} times, both censored {unknown} times",
        "fails" if earlier else "undecided" if unknown or not later else "holds",
    )


def _temperature(table: pd.DataFrame) -> list[Claim]:
    """How much of the way from the low to the high norm temperature goes, in both directions, and what is left."""
    warm = table["temperature"] != 1
    logs = {}
    for cell, rho, warmed in (("low", LOW, False), ("high", HIGH, False), ("sharp", LOW, True), ("soft", HIGH, True)):
        rows = table[(table["rho"] == rho) & (warm == warmed)].set_index("seed")
        logs[cell] = rows["grokked_by"].map(math.log, na_action="ignore")
    whole = logs["high"] - logs["low"]
    left = ((logs["soft"] - logs["low"]) + (logs["high"] - logs["sharp"])) / 2
    censored = f"censored: {', '.join(f'{cell} {int(x.isna().sum())}' for cell, x in logs.items())} of {len(whole)}"
    delays = f"T_grok({HIGH:g}) / T_grok({LOW:g})"

    def told(text: str, what: str, x: pd.Series, decide: Callable[[Interval], verdicts.Decision], show) -> Claim:
        if x.isna().any() or len(x) < 2:
            return Claim(text, f"{what} not known in every seed; {censored}", "undecided")
        found = mean_interval(x.tolist())
        return Claim(text, f"{what}{show(found)}", decide(found))

    def factor(found: Interval) -> str:
        return f", {verdicts.factor(found)}"

    def share(found: Interval) -> str:
        return f" {found}"

    return [
        told(
            f"Held at ρ = {HIGH:g}, networks grok later than at {LOW:g}.",
            delays, whole, lambda x: above(x, 0.0), factor,
        ),
        told(
            f"At ρ = {LOW:g} logits sharpened to the size they have at {HIGH:g} bring more than half of that delay.",
            "share of the logarithm", (logs["sharp"] - logs["low"]) / whole, lambda x: above(x, 0.5), share,
        ),
        told(
            f"At ρ = {HIGH:g} logits softened to the size they have at {LOW:g} undo more than half of that delay.",
            "share of the logarithm", (logs["high"] - logs["soft"]) / whole, lambda x: above(x, 0.5), share,
        ),
        told(
            "At equal logits the norm does not matter: times agree to a factor 1.25.",
            f"{delays} at equal logits", left, lambda x: within(x, math.log(1.25)), factor,
        ),
    ]  # fmt: skip


def draw(courses: list[Course], table: pd.DataFrame, steps: int) -> "figures.Figure":
    """Test accuracy along runs; T_grok against the held norm, and against the size of the logits."""
    figure, axes = figures.sheet(1, 3, (13, 4.2))
    begin = table["memorised_by"].min() if table["memorised_by"].notna().any() else 10
    for line, run in zip(table.to_dict("records"), courses, strict=True):
        if line["arm"] == "temperature":
            continue
        colour = figures.GREY if line["arm"] == "free" else COLOURS[line["rho"]]
        name = "free" if line["arm"] == "free" else f"ρ = {line['rho']:g}"
        label = name if line["seed"] == table["seed"].min() else None
        axes[0].plot(run.history.index, run.history["test_acc"], color=colour, lw=1, label=label)
    ends, ticks = (begin, 1.3 * steps), [tick for tick in TICKS if begin <= tick <= steps]
    axes[0].set_xscale("log")
    axes[0].set_xlim(*ends)
    axes[0].set_xticks(ticks, map(str, ticks), fontsize=7)
    axes[0].set_ylim(-0.02, 1.02)
    axes[0].set_xlabel("optimizer step")
    axes[0].set_ylabel("test accuracy (every run)")
    shown = table[table["arm"] != "free"]
    for ax, x in ((axes[1], "rho"), (axes[2], "logit_scale")):
        for line in shown.to_dict("records"):
            is_censored, is_warm = math.isnan(line["grokked_by"]), line["arm"] == "temperature"
            ax.plot(
                line[x], line["last_step"] if is_censored else line["grokked_by"],
                "^" if is_censored else "D" if is_warm else "o",
                color=COLOURS[line["rho"]], mfc="white" if is_censored or is_warm else None, ms=5,
            )  # fmt: skip
        ax.set_yscale("log")
        ax.set_ylim(*ends)
        ax.set_yticks(ticks, map(str, ticks))
        ax.axhline(steps, color=figures.GREY, lw=0.8)
        ax.set_ylabel(f"steps to test accuracy {GROKKED:g}")
    for marker, fill, label in (("o", None, "held"), ("D", "white", "held, temperature"), ("^", "white", "censored")):
        axes[1].plot([], [], marker, color=figures.GREY, mfc=fill, ms=5, label=label)
    _line(axes[1], shown[shown["arm"] == "held"])
    axes[1].set_xlabel("held norm ρ = ‖θ‖ / W_c")
    axes[2].set_xlabel("size of the logits that the loss sees when the hold begins")
    for ax in axes:
        ax.minorticks_off()
    for ax in axes[:2]:
        ax.legend(fontsize=7, frameon=False)
    return figure


def _line(ax, held: pd.DataFrame) -> None:
    """The line of the slope, through the middle of the times that are known."""
    slope, _ = slopes(held)
    known = held.dropna(subset="grokked_by")
    if slope:
        at = known["grokked_by"].map(math.log).mean() - slope.estimate * known["rho"].mean()
        ends = [held["rho"].min(), held["rho"].max()]
        ax.plot(ends, [math.exp(at + slope.estimate * x) for x in ends], color=figures.GREY, lw=1)


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "a tiny network, two seeds")
    size = budget(given.quick)
    base, leaf, show = size.base, size.base.leaves(), LiveProgress()

    def train(grid: dict[str, cg.TrainConfig]) -> list[Run]:
        folder: Path = given.out / "runs"
        return cg.train(list(grid.values()), folder, names=list(grid), progress=show, threads=given.threads)

    seeded = {seed: base.with_(seed=seed, data_seed=seed) for seed in size.seeds}
    first = {"steps": size.memorised, "checkpoint_every": size.memorised}
    memorised = [course([run]) for run in train({f"first-s{s}": c.with_(**first) for s, c in seeded.items()})]
    start = dict(zip(size.seeds, memorised, strict=True))
    free = until_grokked(
        {f"free-s{s}": start[s] for s in size.seeds}, {f"free-s{s}": c for s, c in seeded.items()}, size, train
    )
    norms = [run.history["norm"].loc[run.grokked.by] for run in free if run.grokked.by is not None]
    found = pd.Series(norms or [run.history["norm"].iloc[-1] for run in free])
    critical = float(found.median())
    ratios = [
        logit_scale(weights, base.with_(seed=s, data_seed=s), HIGH * critical)
        / logit_scale(weights, base.with_(seed=s, data_seed=s), LOW * critical)
        for s, run in start.items()
        for weights in [run.legs[0].at(size.memorised)]
    ]
    tau = math.exp(sum(map(math.log, ratios)) / len(ratios))
    cells = [("held", rho, 1.0) for rho in RHOS] + [("temperature", LOW, 1 / tau), ("temperature", HIGH, tau)]
    configs, starts, arms = {}, {}, []
    for arm, rho, temperature in cells:
        for seed, config in seeded.items():
            name = f"{arm}-{rho:g}-s{seed}"
            configs[name] = config.with_(fixed_norm=True, norm_radius=rho * critical, temperature=temperature)
            starts[name] = start[seed]
            arms.append(arm)
    held = until_grokked(starts, configs, size, train)
    courses = [*free, *held]
    table = pd.DataFrame(
        [row(arm, run, critical) for arm, run in zip(["free"] * len(free) + arms, courses, strict=True)]
    )
    unsolved = [
        f"{line['arm']} ρ {line['rho']:g} τ {line['temperature']:.3g}: {line['k']}".replace(" ρ nan τ 1", "")
        for line in table[table["grokked_by"].isna()]
        .groupby(["arm", "rho", "temperature"], dropna=False)
        .size()
        .reset_index(name="k")
        .to_dict("records")
    ]
    delay = table[table["arm"] == "held"].assign(
        grokked_by=lambda x: x["grokked_by"] - x["memorised_by"], last_step=lambda x: x["last_step"] - x["memorised_by"]
    )
    late = int((~(table["memorised_by"] <= size.memorised)).sum())
    notes = [
        f"{base.task.formula}, {base.task.n_train} training pairs of {base.task.n_pairs}; the delay law's network "
        f"(arXiv:2606.13753, there p = 59 and 40 % of the pairs): embedding {leaf['d_embed']}, "
        f"{leaf['d_hidden']} neurons, {leaf['act']}, no biases; AdamW {base.optimizer.lr:g} with beta2 "
        f"{base.optimizer.beta2:g}, weight decay {base.optimizer.weight_decay:g} (where the norm is held, rescaling "
        f"undoes it); cross-entropy in {base.objective.loss_precision}; base init {base.init.scheme}, α = 1, ‖θ₀‖ = "
        f"{table['r0'].mean():.2f}. Seeds {size.seeds}; {len(table)} runs.",
        f"W_c = {critical:.2f}, the median norm at which free runs reach test accuracy {GROKKED:g}"
        + ("" if norms else " (none did: the norm at their end)")
        + f"; held runs go on from step {size.memorised} of the free ones (the law's from 500 of slower runs) with the "
        f"optimizer's state, at ρ W_c after every step. Memorised from {table['memorised_by'].min():.0f} to "
        f"{table['memorised_by'].max():.0f}, later than the hold begins: {late} of {len(table)} runs.",
        f"T_grok counts from step 0; with T_grok − T_mem instead the slope is {_slope(delay)}. The law's own slope is "
        "7.6, at other p and share. Slopes: maximum likelihood with normal errors of ln T, a level for every seed, "
        "censored times as lower bounds; intervals from the profile likelihood. Other intervals are Student's over "
        f"seeds. A crossing counts once it holds at {HOLD + 1} evaluations in a row, every "
        f"{base.schedule.eval_every} steps.",
        f"Temperature {tau:.3f} or one over it, from step {size.memorised} on: the ratio of the root mean squares of "
        f"centred logits at ρ = {HIGH:g} and {LOW:g} in the memorised directions, geometric mean over seeds (a power "
        f"{math.log(tau) / math.log(HIGH / LOW):.2f} of the norm). A step of the same length turns a network of larger "
        f"norm less: by that alone times would grow like ρ, from {LOW:g} to {HIGH:g} by {HIGH / LOW:.3g}.",
        f"Not grokked within {size.steps} steps: " + (", ".join(unsolved) or "none") + f" (of {len(size.seeds)} each).",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]
    verdicts.write(given.out, QUESTION, claims(table, size.steps), notes, table, draw(courses, table, size.steps))
    print((given.out / "verdict.md").read_text())


def _slope(delay: pd.DataFrame) -> str:
    if not (delay["grokked_by"].fillna(delay["last_step"]) > 0).all():
        return "not known"
    slope, _ = slopes(delay)
    return str(slope or "not known")


if __name__ == "__main__":
    main()
