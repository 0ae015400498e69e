"""A run in words: the summary after training."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from circuitgrok.config.upgrade import upgrade
from circuitgrok.faces.fields import said_leaves
from circuitgrok.measures.learning.crossings import (
    ACCURACY_RULES,
    HOLD,
    Afterwards,
    events,
    events_afterwards,
)
from circuitgrok.measures.learning.phases import phases
from circuitgrok.measures.learning.slingshots import RISE_WITHIN, slingshots
from circuitgrok.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.store.checkpoints import Checkpoints

SUMMARISED = ("polar", "fourier", "circuits", "irreps")  # groups that a summary and its figure are made of
UNSEEN = "test_mirror_unseen_acc"
USUAL = ("modular_addition", "transformer")  # task and network that need no mention
ALPHA_REFERENCE = "42.20, the nanda init at p = 113, d_model = 128"


def interventions(config: Mapping[str, Any]) -> str:
    """What is done to a run beside plain training, in words; config as the plain values of config.json.

    >>> of_a_run = [{"kind": "fixed_norm"}, {"kind": "l1", "l1": 1e-4}]
    >>> interventions({"optimizer": {"rule": "lion"}, "interventions": of_a_run})
    'lion, l1 0.0001, norm held'
    """
    of_today, leaves = upgrade(config), said_leaves()
    values: dict[str, Any] = {}
    for part in of_today.values():
        values |= part if isinstance(part, Mapping) else {}
    for one in of_today.get("interventions", ()):
        values[one["kind"]] = one.get(one["kind"], True)
    words = [one.said.format(values[one.name]) for one in leaves if values.get(one.name, one.default) != one.default]
    known = {one.name for one in leaves}
    own = [one["kind"] for one in of_today.get("interventions", ()) if one["kind"] not in known]
    return ", ".join([*words, *(f"{kind} {values[kind]}" for kind in own)])


def summary_lines(run: "Checkpoints", table: "pd.DataFrame") -> list[str]:
    """What happened in a run, or along other checkpoints, given their table of measures.

    It has group `polar`, and `circuits` or `irreps` where they fit.
    """
    from circuitgrok.store.checkpoints import config_of, history_of, name_of, split_is_known, start_norm

    history, config, known = history_of(run), config_of(run), split_is_known(run)
    end, norms, loss = table.iloc[-1], history["norm"], config.objective.loss
    rules = {name: f"{column} ≥ {level:g}" for name, (column, level) in ACCURACY_RULES.items()}
    since = events_afterwards(history)
    usual, beside = (config.task.kind, config.model.kind) == USUAL, interventions(config.model_dump(mode="json"))
    where = (
        f"{run.state} after {history.index[-1]} steps, {len(run.steps)} checkpoints in {run.path}"
        if isinstance(run, Run)
        else f"{len(run.steps)} checkpoints, the last at step {run.steps[-1]}"
    )
    began = f"{origin(run.manifest)}, |θ₀|" if isinstance(run, Run) else "not trained here; the first norm"
    return [
        f"{name_of(run)}: {where}",
        *([f"  thinned      {table.attrs['thinned']}"] if "thinned" in table.attrs else []),
        *([] if usual else [f"  task         {config.task.formula}; model {config.model.kind}"]),
        *([f"  with         {beside}"] if beside else []),
        f"  alpha        {began} = {start_norm(run):.2f}"
        + (f" (reference {ALPHA_REFERENCE})" if config.model.kind == "transformer" else ""),
        *(
            f"  {name + ' at':12s} {event}   ({rules[name]}, kept for {HOLD} steps)" + _since(since[name])
            for name, event in (events(history) if known else {}).items()
        ),
        *([f"  phases       {_phases(table)}"] if known and "excluded_loss[train]" in table else []),
        f"  norm r       start {norms.iloc[0]:.2f}, peak {norms.max():.2f} (step {norms.idxmax()}), "
        f"end {norms.iloc[-1]:.2f}",
        f"  turned       {end['angle_start']:.2f} rad from the start; radial path {end['radial_distance']:.1f}, "
        f"arc {end['arc_length']:.1f}",
        *(_sides(history, loss) if known else ["  split        not known: no numbers by train and test"]),
        *_slingshot_lines(history, config),
        *(_circuit_lines(config, known, table) if "restricted_loss[all]" in table else []),
        *(_irrep_lines(table) if any(str(name).startswith("irrep_share[") for name in table) else []),
    ]


def _since(later: Afterwards | None) -> str:
    """What is to be said of an event that did not last at every evaluation after it."""
    return f"; {later}" if later is not None and later.n_below else ""


def _sides(history: "pd.DataFrame", loss: str) -> list[str]:
    """Accuracy and loss at the end, on both sides of the split."""
    end = history.iloc[-1]
    unseen = end.get(UNSEEN, math.nan)
    told = not math.isnan(unseen) and unseen != end["test_acc"]
    return [
        f"  accuracy     train {end['train_acc']:.4f}, test {end['test_acc']:.4f}",
        *([f"  of these     {unseen:.4f} on test pairs whose mirror (b, a) was not trained on either"] if told else []),
        f"  loss         train {end['train_loss']:.2e}, test {end['test_loss']:.2e}"
        + (f"   ({loss})" if loss != "cross_entropy" else ""),
    ]


def _slingshot_lines(history: "pd.DataFrame", config: "TrainConfig") -> list[str]:
    """How many slingshots the history shows, if it is dense enough to tell and there are any."""
    if "norm_unembed" not in history or config.schedule.eval_every > RISE_WITHIN:
        return []
    found = slingshots(history)
    if not found:
        return []
    steps = ", ".join(str(one.onset) for one in found)
    return [f"  slingshots   {len(found)}, from {steps}   (rule of measures/slingshots)"]


def _circuit_lines(config: "TrainConfig", known: bool, table: "pd.DataFrame") -> list[str]:
    """How much of the network is a circuit for addition."""
    end, freqs = table.iloc[-1], ", ".join(map(str, table.attrs["key_freqs"])) or "none"
    kind = "" if config.objective.loss == "cross_entropy" else ", cross-entropy"
    train = f"{end['excluded_loss[train]']:.2e} on train, " if known else ""
    return [
        f"  key freqs    {freqs}   (rule {table.attrs['key_freqs_rule']} at step {table.attrs['key_freqs_step']}; "
        f"{_other_rules(table)})",
        *spectrum_lines(table),
        f"  restricted   {end['restricted_loss[all]']:.2e} on all pairs, {_of_unseen(table)}; "
        f"full loss {end['loss[all]']:.2e}   (logit space, mean kept, {config.task.p} classes{kind})",
        f"  excluded     {train}{end['excluded_loss[all]']:.2e} on all pairs   (logit space, all key freqs at once)",
        f"  explained    {end['frac_explained']:.4f} of the logits' variance by Σ α_k cos w_k(a+b−c), "
        f"{end['frac_explained_within_classes']:.4f} of that about the mean of each class",
    ]


def spectrum_lines(table: "pd.DataFrame") -> list[str]:
    """A warning where most frequencies are key: restricted loss is then small for what was learnt by heart, too."""
    about = table.attrs
    if about.get("spectrum", "sparse") == "sparse":
        return []
    blank = table["restricted_loss_blank"].iloc[-1] if "restricted_loss_blank" in table else math.nan
    key = f"{len(about['key_freqs'])} of {about['n_freqs']} frequencies are key"
    blanked = "" if math.isnan(blank) else f", and is {blank:.2e} with unseen pairs blanked"
    return [
        f"  NOTE         {about['spectrum']}: {key}; restricted loss then averages over what was learnt by heart"
        f"{blanked}"
    ]


def _of_unseen(table: "pd.DataFrame") -> str:
    """Restricted loss from unseen pairs, or why there is none."""
    loss, why = table["restricted_loss_unseen"].iloc[-1], table.attrs.get("undefined", {}).get("restricted_loss_unseen")
    return f"{loss:.2e} from unseen pairs alone" if why is None else f"undefined from unseen pairs alone ({why})"


def _irrep_lines(table: "pd.DataFrame") -> list[str]:
    """Which irreducible representations the logits are functions of; the first is the trivial one, and says nothing."""
    names = [str(name) for name in table if str(name).startswith("irrep_share[")][1:]
    shares = sorted(zip(table[names].iloc[-1].tolist(), names, strict=True), reverse=True)[:3]
    said = ", ".join(f"{name.removeprefix('irrep_share[')[:-1]} {share:.4f}" for share, name in shares)
    return [f"  irreps       {said}   (the largest shares of the logits' variance in functions of the product)"]


def _other_rules(table: "pd.DataFrame") -> str:
    """What the other rules for key frequencies say."""
    chosen, by_rule = table.attrs["key_freqs"], table.attrs["key_freqs_by_rule"]
    differing = {name: freqs for name, freqs in by_rule.items() if freqs != chosen}
    said = "; ".join(f"{name}: {', '.join(map(str, freqs)) or 'none'}" for name, freqs in differing.items())
    return f"but {said}" if said else "all rules agree"


def _phases(table: "pd.DataFrame") -> str:
    """The boundaries of the phases between memorising and clean-up, as far as the checkpoints tell."""
    ends = {name: phase.end for name, phase in phases(table).items()}
    said = (f"{name.replace('_', ' ')} to {str(end).removeprefix('step ')}" for name, end in ends.items())
    return "; ".join(said) + " (steps, by the rules of measures.learning.phases)"


def origin(manifest: dict[str, Any]) -> str:
    """Where the first weights came from: a base init times alpha, another run, or a published file."""
    init, imported = manifest["config"]["init"], manifest["environment"].get("imported")
    if imported:
        return f"{imported['file']}@{manifest['start']['step']}"
    return f"{init['alpha']:g}×{init.get('start') or init['scheme']}"
