"""Settings for learning coefficients along a run, found on a few of its checkpoints and explained.

The inverse temperature stays at n / ln n, at which estimates mean the same as in the theory. Of what is left, the
localization decides how much of the surroundings an estimate is about, and how fast chains forget where they were;
the step size, how exactly they sample. So walk a ladder of localizations: down from the middle while rungs are good,
or up until one is. On each rung take the largest step that is safe at the sharpest checkpoint of the run, and sample
the probes with it and with half of it. A rung is good if the chains of every probe converge, and if halving the step
moves no estimate by more than a tolerance. The lowest good rung is taken: the widest view to be had at this price.
What was sampled on the way is kept like any other estimate, and an interrupted calibration goes on.
"""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from circuitgrok.canonical import canonical_json, from_json
from circuitgrok.errors import DamagedFile, UserError
from circuitgrok.landscape.sampling import SamplerName, Sampling
from circuitgrok.store.checkpoints import Checkpoints
from circuitgrok.store.files import read_json
from circuitgrok.store.kept import digest_file, read_vouched, write_vouched
from circuitgrok.store.run import Run
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.llc import llc_along, sharpness_along

if TYPE_CHECKING:
    import pandas as pd


LADDER = (1e6, 3e5, 1e5, 3e4, 1e4, 3e3, 1e3, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
FIRST_RUNG = 1e3
OF_THE_BOUND = 0.2  # share of the stability bound: directions at the bound's curvature are sampled 10 % too wide
PULL = 0.25  # most of step_size * localization: flat directions are sampled a few per cent too wide
STEP_BIAS = 0.15  # share of an estimate that halving the step may reveal as bias


class Calibration(NamedTuple):
    """Settings, and why."""

    sampling: Sampling
    explanation: list[str]
    table: "pd.DataFrame"  # one row per rung and probe: estimates with the step and with half of it


@in_plain_surroundings
def calibrate(
    run: Checkpoints,
    *,
    sampler: SamplerName = "sghmc",
    n_draws: int = 200,
    probes: Sequence[int] | None = None,
    tick: Callable[[float], None] | None = None,
) -> Calibration:
    """Sampling settings for a whole run, found on a few checkpoints: the lowest good rung of a ladder.

    Args:
        run: An opened run.
        sampler: Which chain; step sizes are chosen for it.
        n_draws: Draws of each chain, the budget that the settings must do with.
        probes: Checkpoints to look at; by default the sharpest after the start, the last, and the middle one.
        tick: Called with each localization that was tried.

    Raises:
        UserError: No rung is good; the message says what was wrong with the best, and to give more draws.
    """
    import pandas as pd

    base = Sampling(step_size=1.0, localization=1.0, sampler=sampler, n_draws=n_draws)
    curvatures = dict(zip(run.steps, sharpness_along(run, base, run.steps).tolist(), strict=True))
    later = run.steps[1:] or run.steps
    sharpest = max(later, key=lambda step: curvatures[step])
    at = sorted({sharpest, later[len(later) // 2], later[-1]} if probes is None else set(probes))
    nbeta, worst = base.inverse_temperature(run.task.n_train), max(curvatures.values())
    tables: list[pd.DataFrame] = []
    good: Sampling | None = None
    below, rungs = "", list(LADDER[LADDER.index(FIRST_RUNG) :])
    while rungs:
        localization = rungs.pop(0)
        rung = base.model_copy(update={"localization": localization})
        safe = OF_THE_BOUND * rung.stability_bound(worst, nbeta)
        rung = rung.model_copy(update={"step_size": min(safe, PULL / localization)})
        tried = _try(run, rung, at)
        tables.append(tried)
        if tick:
            tick(localization)
        fault = "; ".join(f"step {row.step}: {row.fault}" for row in tried.itertuples() if row.fault)
        if not fault:
            good = rung
            if below:  # climbing: the first good rung is the lowest
                break
        else:
            below = f"at {localization:g}, {fault}"
            if good:
                break
            rungs = list(LADDER[: LADDER.index(localization)][-1:])  # one rung up
    if good is None:
        raise UserError(
            f"in {n_draws} draws no localization of {LADDER} gives chains to be believed ({below}); give more"
        )
    explanation = [
        f"nbeta {nbeta:.4g} = n / ln n with n = {run.task.n_train} training pairs",
        f"probes at steps {at}; sharpest checkpoint after the start: {sharpest}, curvature {curvatures[sharpest]:.3g}",
        f"localization {good.localization:g}: the smallest of the ladder at which every probe converged in {n_draws} "
        f"draws and halving the step moved no estimate by more than {STEP_BIAS:.0%}" + (f"; {below}" if below else ""),
        f"step_size {good.step_size:.3g}: {OF_THE_BOUND:g} of the stability bound at the sharpest checkpoint, and at "
        f"most {PULL:g} / localization",
    ]
    return Calibration(good, explanation, pd.concat(tables, ignore_index=True))


@in_plain_surroundings
def calibration_of(run: Checkpoints, tick: Callable[[float], None] | None = None) -> Calibration:
    """The calibration in `RUN/llc/calibration.json`: made and written there the first time, and then kept.

    Checkpoints without a folder of a run are calibrated each time.

    Raises:
        DamagedFile: The file holds something else; remove it to calibrate anew.
        UserError: As for `calibrate`.
    """
    import pandas as pd

    if not isinstance(run, Run):
        return calibrate(run, tick=tick)
    file = run.path / "llc" / "calibration.json"
    if not file.exists() and not digest_file(file).exists():
        found = calibrate(run, tick=tick)
        records = json.loads(found.table.to_json(orient="records", double_precision=15))
        note = {"sampling": found.sampling.model_dump(mode="json"), "explanation": found.explanation, "table": records}
        file.parent.mkdir(exist_ok=True)
        write_vouched(file, (canonical_json(note) + "\n").encode())
        return found
    try:
        vouched = run.sealed or digest_file(file).exists()
        note = from_json(read_vouched(file, "calibrate anew")) if vouched else read_json(file)
        sampling = Sampling.model_validate(note["sampling"])
        return Calibration(sampling, [str(line) for line in note["explanation"]], pd.DataFrame(note["table"]))
    except (KeyError, TypeError, ValidationError) as error:
        raise DamagedFile(f"{file} holds no calibration ({error}); remove it to calibrate anew") from None


@in_plain_surroundings
def step_bias(
    run: Checkpoints, sampling: Sampling, steps: Sequence[int], tick: Callable[[int, int], None] | None = None
) -> "pd.DataFrame":
    """Bias of the step size at some checkpoints: what half the step tells, with its standard error.

    A bias in proportion to the step loses half of itself when the step is halved, so it is twice the difference.

    Args:
        run: An opened run.
        sampling: The settings whose bias is asked for.
        steps: Checkpoints; both estimates of each are kept like those of `llc_along`.
        tick: Called with (checkpoints done, all), once for each of the two step sizes.

    Returns:
        Indexed by step: llc, mcse, llc_half_step, mcse_half_step, bias, bias_se, prior, noise, window, status and
        faults (of the whole step).
    """
    import pandas as pd

    half = sampling.model_copy(update={"step_size": sampling.step_size / 2})
    whole, halved = (llc_along(run, how, steps, tick) for how in (sampling, half))
    error = (whole["llc_mcse"] ** 2 + halved["llc_mcse"] ** 2) ** 0.5
    return pd.DataFrame(
        {
            "llc": whole["llc"],
            "mcse": whole["llc_mcse"],
            "llc_half_step": halved["llc"],
            "mcse_half_step": halved["llc_mcse"],
            "bias": 2 * (whole["llc"] - halved["llc"]),
            "bias_se": 2 * error,
            "prior": whole["llc_prior"],
            "noise": whole["llc_noise"],
            "window": whole["llc_window"],
            "status": whole["llc_status"],
            "faults": whole["llc_faults"],
        }
    )


def _try(run: Checkpoints, rung: Sampling, at: list[int]) -> "pd.DataFrame":
    """One row per probe: both estimates, and what is wrong with them ("" if nothing)."""
    found = step_bias(run, rung, at)
    faults = found["faults"].where(found["status"].isin(["diverged", "not_converged"]), "")
    large = (found["bias"] / 2).abs() > STEP_BIAS * found["llc"].abs() + found["bias_se"]
    text = (found["bias"] / 2).map("half the step moves the estimate by {:.3g}".format)
    found["fault"] = faults.where((faults != "") | ~large, text)
    found.insert(0, "localization", rung.localization)
    found.insert(1, "step_size", rung.step_size)
    return found.drop(columns="faults").reset_index()
