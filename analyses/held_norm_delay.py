"""Does the delay to grokking grow with the norm at which the weights are held, and is it the norm or the logits?

Free runs of an embedding MLP give W_c, the norm at which they grok. From the same memorised networks, optimizer
state included, training goes on with the norm held at rho W_c. A run ends when it has grokked; one that has not by
the budget is censored, and is taken as such. A larger norm makes larger logits, so temperature tells the two apart:
at rho = 1 it gives the loss logits as large as those at rho = 1.15, and at rho = 1.15 logits as small as at 1.

    python analyses/held_norm_delay.py            # ten seeds; --dry-run says how long
    python analyses/held_norm_delay.py --quick    # two of a tiny network: seconds
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.study.claims import Mean, Ratio, where
from circuitgrok.study.evidence import Declared, Judged, settled
from circuitgrok.study.intervals import Decision, above, share_interval
from circuitgrok.study.legs import Course, course, until
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import derived
from circuitgrok.study.study import Study
from circuitgrok.study.survival import Slope
from circuitgrok.tree import Params, norm

GROKKED = ("test_acc", 0.9)  # the rule of the delay law
RHOS = [0.85, 0.95, 1.0, 1.05, 1.15, 1.25]
LOW, HIGH = 1.0, 1.15  # between which temperature is tried
PALETTE = (figures.PURPLE, figures.BLUE, figures.SKY, figures.GREEN, figures.ORANGE, figures.RED)
COLOURS = dict(zip(RHOS, PALETTE, strict=True))
KEPT = {"checkpoints_per_decade": 0, "checkpoint_on_move": 100.0, "keep_moments": True}
held, free = where(arm="held"), where(arm="free")
delayed = derived(  # times counted from when they had memorised
    where(arm="held", memorised_by=pd.Series.notna),
    grokked_after=lambda rows: (rows["grokked_after"] - rows["memorised_by"]).clip(lower=0),
    grokked_by=lambda rows: rows["grokked_by"] - rows["memorised_after"],
)


def bent(table: pd.DataFrame) -> pd.DataFrame:
    """Held runs with a parabola in ρ that is 1 in the middle and 0 at the ends."""
    rows = held(table)
    low, high = rows["rho"].min(), rows["rho"].max()
    return rows.assign(bowl=1 - ((rows["rho"] - (low + high) / 2) / ((high - low) / 2 or 1.0)) ** 2)


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """By seed, how much of the way from the low to the high norm temperature goes both ways, and what is left."""
    times = where(arm=lambda arm: arm != "free")(table).pivot(index="seed", columns=["arm", "rho"], values="grokked_by")
    logs = times.map(math.log, na_action="ignore")
    low, high = logs["held", LOW], logs["held", HIGH]
    sharp, soft = logs["temperature", LOW] - low, high - logs["temperature", HIGH]
    found = {"sharp": sharp / (high - low), "soft": soft / (high - low), "left": high - low - (sharp + soft) / 2}
    return pd.DataFrame(found).reset_index()


def is_ordered(table: pd.DataFrame) -> Judged:
    """Whether T grows from each ρ to the next in every seed; of two times in one interval it is not known."""
    rows = held(table).assign(grokked_by=lambda rows: rows["grokked_by"].fillna(math.inf))
    after, by = (rows.pivot(index="seed", columns="rho", values=f"grokked_{end}").to_numpy() for end in ("after", "by"))
    later, earlier = after[:, 1:] >= by[:, :-1], by[:, 1:] <= after[:, :-1]
    censored, n = np.isinf(by[:, 1:]) & np.isinf(by[:, :-1]), len(by)
    unknown = ~later & ~earlier & ~censored
    said = f"later {later.sum()} times, earlier {earlier.sum()} times, both censored {censored.sum()} times, by the "
    said += f"evaluations not told apart {unknown.sum()} times"
    if earlier.any():
        return settled(said, "counterexample")
    if censored.any() or unknown.any():
        return settled(said, "not shown" if unknown.any() else "censored")
    return Judged(said, lambda level: above(share_interval(n, n, level), 0.5))


def is_one_norm(table: pd.DataFrame) -> Judged:
    """Whether free runs grok at norms that differ by less than 5 %.

    That n seeds do while half of all seeds lie outside what these span has a chance of less than (n + 1) / 2^n
    (S. Wilks 1941, tolerance limits).
    """
    norms, n = free(table)["norm_at_grok"], len(free(table))
    widest = norms.max() / norms.min() - 1
    known = ", ".join(f"{x:.2f}" for x in norms.dropna())
    said = f"{norms.notna().sum()} of {n} grokked, at norms {known or 'not known'}, {widest:.1%} apart"
    if widest >= 0.05:
        return settled(said, "counterexample")
    if norms.isna().any():
        return settled(said, "censored")

    def decided(level: float) -> Decision:
        return "holds" if (n + 1) / 2**n < 1 - level else "not shown"

    return Judged(said, decided)


DELAY, SHARE = f"T_grok({HIGH:g}) / T_grok({LOW:g})", "share of the logarithm"
CLAIMS = [
    Slope(held, "rho", name="slope of ln T_grok over ρ")
    .exceeds(0, "The larger the norm that is held, the later the network groks."),
    Declared("In every seed T_grok grows from each ρ to the next.", is_ordered),
    Slope(bent, "bowl", beside=["rho"], name="logarithm of that factor").is_within(
        math.log(1.5), "ln T_grok is linear in ρ: in the middle a parabola is off the line by less than a factor 1.5."
    ),
    Declared("Free runs all grok at one norm: largest and smallest differ by less than 5 %.", is_one_norm),
    Ratio(where(arm="held", rho=HIGH), where(arm="held", rho=LOW), name=DELAY)
    .exceeds(1, f"Held at ρ = {HIGH:g}, networks grok later than at {LOW:g}."),
    Mean(shares, "sharp", SHARE).exceeds(
        0.5, f"At ρ = {LOW:g} logits sharpened to the size they have at {HIGH:g} bring more than half of that delay."
    ),
    Mean(shares, "soft", SHARE).exceeds(
        0.5, f"At ρ = {HIGH:g} logits softened to the size they have at {LOW:g} undo more than half of that delay."
    ),
    Mean(shares, "left", f"logarithm of {DELAY} at equal logits")
    .is_within(math.log(1.25), "At equal logits the norm does not matter: times agree to a factor 1.25."),
]  # fmt: skip
STUDY = Study(  # the delay law's network at p = 41 on 65 % of the pairs, where free runs grok within 2000 steps
    "Does the delay to grokking grow with the norm that is held, and is it the norm or the logit scale?",
    cg.TrainConfig.preset("truong").with_(p=41, frac_train=0.65, steps=12_250, **KEPT),
    arms={"free": {}},  # the others depend on the norm at which these grok
    rules={"memorised": ("train_acc", 0.99), "grokked": GROKKED},
    claims=CLAIMS,
)
QUICK = STUDY.with_(p=11, frac_train=0.8, d_embed=32, d_hidden=64, lr=1e-2, eval_every=5, steps=120, seeds=[0, 1])


def logit_scale(params: Params, config: cg.TrainConfig, radius: float) -> float:
    """Root mean square of the training pairs' logits about each pair's mean, with the weights brought to a radius."""
    weights = {name: value.double() * (radius / norm(params).double()) for name, value in params.items()}
    task = config.task.draw()
    logits = config.model.logits(weights, task.inputs[task.is_train])
    return (logits - logits.mean(-1, keepdim=True)).square().mean().sqrt().item()


def temperature(starts: Iterable[Course], critical: float) -> float:
    """The ratio of logit scales at the two norms, geometric mean over the memorised networks."""
    ends = [(run.legs[0].at(run.legs[0].steps[-1]), run.config) for run in starts]
    logs = [math.log(logit_scale(*end, HIGH * critical) / logit_scale(*end, LOW * critical)) for end in ends]
    return math.exp(sum(logs) / len(logs))


def measured(run: Course, critical: float) -> dict[str, Any]:
    """Where a run is held, what logits the loss sees when that begins, and at which norm it groks."""
    config, start, grokked = run.config, run.legs[0], run.crossed(*GROKKED).by
    radius, tau = (config.leaves()[name] for name in ("norm_radius", "temperature"))
    scale = None if radius is None else logit_scale(start.at(start.steps[-1]), config, radius) / tau
    return {
        "arm": "free" if radius is None else "held" if tau == 1 else "temperature",
        "rho": math.nan if radius is None else round(radius / critical, 6),
        "temperature": tau,
        "held_norm": radius or math.nan,
        "logit_scale": scale or math.nan,
        "norm_at_grok": math.nan if grokked is None else run.history["norm"].loc[grokked],
    }


def draw(courses: dict[str, list[Course]], table: pd.DataFrame, budget: int) -> "figures.Figure":
    """Test accuracy along runs; T_grok against the held norm, and against the size of the logits."""
    figure, axes = figures.sheet(1, 3, (13, 4.2))
    colours = {"free": figures.GREY} | {f"held {rho:g}": colour for rho, colour in COLOURS.items()}
    figures.draw_runs(axes[0], courses, "test_acc", colours)
    figures.step_axis(axes[0], budget)
    axes[0].set_ylabel("test accuracy (median and range)")
    rows = table[table["arm"] != "free"].assign(time=table["grokked_by"].fillna(table["steps"]))
    rows["kind"] = rows["arm"].where(rows["grokked_by"].notna(), "censored")
    for ax, x in ((axes[1], "rho"), (axes[2], "logit_scale")):
        for kind, marker in {"held": "o", "temperature": "D", "censored": "^"}.items():
            of = rows[rows["kind"] == kind]
            edges = of["rho"].map(COLOURS).tolist()
            ax.scatter(of[x], of["time"], 25, edges if kind == "held" else "none", marker=marker, edgecolors=edges)
            ax.plot([], [], marker, color=figures.GREY, mfc=None if kind == "held" else "white", ms=5, label=kind)
        figures.times_axis(ax, budget)
        ax.set(ylim=(budget / 100, 1.3 * budget), ylabel=f"steps to test accuracy {GROKKED[1]:g}")
    norms, after, by, seeds = (held(table)[of].tolist() for of in ("held_norm", "grokked_after", "grokked_by", "seed"))
    at_grok = free(table)["norm_at_grok"].tolist()
    law = cg.fit_delay(norms, after, by, seeds, at_grok) if any(map(math.isfinite, at_grok)) else None
    if law and law.slope and law.at_critical:
        line = [law.at_critical.estimate * math.exp(law.slope.estimate * (rho - 1)) for rho in RHOS]
        axes[1].plot(RHOS, line, color=figures.GREY, lw=1)
    axes[1].set_xlabel("held norm ρ = ‖θ‖ / W_c")
    axes[2].set_xlabel("size of the logits that the loss sees when the hold begins")
    figures.legends(axes[:2])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "a tiny network, two seeds")
    begin, leg = (40, 40) if given.quick else (250, 500)
    budget = study.base.schedule.steps
    first = study.with_(arms={"first": {}}, steps=begin, checkpoint_every=begin).train(given)
    memorised = {seed: course(run) for seed, run in zip(study.seeds, first.values(), strict=True)}

    def go_on(part: Study) -> dict[str, Course]:
        starts = {name: memorised[label["seed"]] for name, label in part.labels().items()}
        return until(GROKKED, starts, part.configs(), leg, budget, given)

    courses = go_on(study)
    grokked = [(run.history["norm"], run.crossed(*GROKKED).by) for run in courses.values()]
    norms = [norms.loc[by] for norms, by in grokked if by is not None]
    critical = float(pd.Series(norms or [norms.iloc[-1] for norms, _ in grokked]).median())
    tau = temperature(memorised.values(), critical)
    cells = [("held", rho, 1.0) for rho in RHOS] + [("temperature", LOW, 1 / tau), ("temperature", HIGH, tau)]
    arms = {
        f"{arm} {rho:g}": {"fixed_norm": True, "norm_radius": rho * critical, "temperature": t} for arm, rho, t in cells
    }
    courses |= go_on(study.with_(arms=arms))
    every = study.with_(arms={**study.arms, **arms})
    table = every.table(courses, lambda run: measured(run, critical))
    late = int((~(table["memorised_by"] <= begin)).sum())
    missed = held(table)[lambda rows: rows["grokked_by"].isna()].groupby("rho").size()
    notes = [
        "The delay law (arXiv:2606.13753) has p = 59 and 40 % of the pairs; as here, GELU neurons without biases and "
        f"beta2 {study.base.optimizer.beta2:g}. Where the norm is held, rescaling undoes the decay. W_c = "
        f"{critical:.2f}, the median norm at which free runs reach test accuracy {GROKKED[1]:g}"
        + ("" if norms else " (none did: the norm at their end)")
        + f"; held runs go on from step {begin} of the free ones (the law's from 500 of slower runs) with the "
        f"optimizer's state, at ρ W_c after every step. Memorised later than the hold begins: {late} of {len(table)} "
        f"runs. Held runs censored at ρ: {listed(missed, '{:g}: {}')}.",
        f"T_grok counts from step 0; with T_grok − T_mem instead: {Slope(delayed, 'rho').found(table).words}. The "
        "law's own slope is 7.6, at other p and share. Slopes: maximum likelihood, normal errors of ln T, a level "
        "for every seed, times between evaluations or beyond the budget; intervals from the profile likelihood.",
        f"Temperature {tau:.3f} or one over it, from step {begin} on: the ratio of the root mean squares of centred "
        f"logits at ρ = {HIGH:g} and {LOW:g} in the memorised directions, geometric mean over seeds (a power "
        f"{math.log(tau) / math.log(HIGH / LOW):.2f} of the norm). A step of the same length turns a network of larger "
        f"norm less: by that alone times would grow like ρ, from {LOW:g} to {HIGH:g} by {HIGH / LOW:.3g}.",
    ]
    study.write(given, table, draw(every.grouped(courses), table, budget), notes)


if __name__ == "__main__":
    main()
