"""What stands where in a published file: state dicts, settings, the optimizer's state, and the step of each network.

Steps count updates. An epoch e was saved after its update, so its weights have e + 1 behind them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.inert import ConfigRecord
from circuitgrok.foreign.layouts import Network, listed
from circuitgrok.foreign.opening import check_finite, read_settings
from circuitgrok.tree import Params, is_bias

_SERIES = ("state_dicts", "model_checkpoints", "checkpoints")


def state_dicts(content: Any, file: Path) -> tuple[list[Mapping[str, Tensor]], list[int], bool]:
    """The state dicts of a file, the epochs of those that have one, and whether there is one after them."""
    if isinstance(content, list | tuple) or (
        isinstance(content, Mapping) and "losses" in content and "model" not in content
    ):
        raise UserError(f"{file} holds loss curves and no weights; the networks are in other files of that release")
    if not isinstance(content, Mapping):
        raise UserError(f"{file} must hold a state dict (a dict of tensors); got a {type(content).__name__}")
    series = next((list(content[k]) for k in _SERIES if isinstance(content.get(k), list | tuple) and content[k]), [])
    epochs = next((content[key] for key in ("checkpoint_epochs", "epochs") if key in content), [])
    try:
        epochs = [int(epoch) for epoch in epochs] if series else []
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"checkpoint_epochs must be whole numbers; {file} holds something else") from None
    if len(series) != len(epochs):
        raise UserError(f"{file} holds {len(series)} networks but {len(epochs)} of their epochs (checkpoint_epochs)")
    single = next((content[k] for k in ("model", "state_dict") if isinstance(content.get(k), Mapping)), None)
    if single is None and not series:
        single = content
    every = series if single is None else [*series, single]
    for weights in every:
        tensors = isinstance(weights, Mapping) and all(isinstance(value, Tensor) for value in weights.values())
        if not tensors or not weights:
            what = listed(weights) if isinstance(weights, Mapping) else f"found a {type(weights).__name__}"
            raise UserError(f"{file} holds no state dict of named tensors, at its top or under model; {what}")
    return every, epochs, single is not None


def settings_of(file: Path, config: str | Path | None, content: Any, layout: str) -> Mapping[str, Any]:
    """The settings of the published run: a JSON file's, or those that stand in the file."""
    beside = file.with_name(file.stem.replace("model_", "config_", 1) + ".json")
    if config is None and layout == "pizza" and file.stem.startswith("model_") and beside.exists():
        config = beside
    inside = content.get("config", {})
    settings = vars(inside) if isinstance(inside, ConfigRecord) else inside
    if config is not None:
        settings = read_settings(Path(config))
    if not isinstance(settings, Mapping):
        raise UserError(f"settings must be a JSON object or a dict; got a {type(settings).__name__}")
    check_finite(dict(settings), "config")
    return settings


def optimizer_of(content: Mapping[str, Any], said: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """What the saved optimizer says of itself; it, not the settings, made the weights."""
    groups = _inner(content, "optimizer").get("param_groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
        raise UserError(f"optimizer.param_groups must be a list of dicts; found a {type(groups).__name__}")
    if not groups:
        return {}
    check_finite(groups, "optimizer.param_groups")
    first = groups[0]
    found = {name: first[name] for name in ("lr", "weight_decay", "eps") if name in first}
    if "initial_lr" in first:  # a schedule has moved `lr`
        found["lr"] = first["initial_lr"]
    found |= dict(zip(("beta1", "beta2"), _betas(first), strict=False))
    for name in sorted(set(found) & set(said)):
        if found[name] != said[name]:
            notes.append(f"{name}: the settings say {said[name]}, the saved optimizer {found[name]}, which is believed")
    if any(group.get(key) != first.get(key) for group in groups for key in ("lr", "weight_decay", "betas", "eps")):
        notes.append(f"the optimizer has {len(groups)} groups of parameters that differ; the config states the first")
    return found


def final_step(
    content: Mapping[str, Any],
    settings: Mapping[str, Any],
    step: int | None,
    params: Params,
    network: Network,
    notes: list[str],
) -> int:
    """Updates behind the network that stands alone, or last, in a file."""
    if network.untrained_at is not None and not any(value.any() for name, value in params.items() if is_bias(name)):
        notes.append("all biases are exactly 0: an untrained snapshot")
        return network.untrained_at if step is None else step
    moments = _inner(_inner(content, "optimizer"), "state")
    try:
        counts = {int(state["step"]) for state in moments.values() if "step" in state}
        losses = len(content.get("train_losses") or [])
    except (TypeError, ValueError, OverflowError, KeyError, RuntimeError):
        raise UserError("optimizer.state and train_losses must be as torch and the published code save them") from None
    known = [
        step,
        max(counts, default=None),
        _inner(content, "scheduler").get("last_epoch"),
        losses or None,
        content["epoch"] + 1 if isinstance(content.get("epoch"), int) else None,
        settings.get("epoch", settings.get("num_epochs")),
    ]
    for found in known:
        if isinstance(found, int) and found >= 0:
            return found
    raise UserError("nothing says how many updates are behind these weights: give --step (0 for initial weights)")


def _inner(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A dict in a dict; an empty one where there is none."""
    found = content.get(name) or {}
    if not isinstance(found, Mapping):
        raise UserError(f"{name} must be a dict; found a {type(found).__name__}")
    return found


def _betas(group: Mapping[str, Any]) -> tuple[Any, ...]:
    found = group.get("betas", ())
    if not isinstance(found, list | tuple):
        raise UserError(f"optimizer.param_groups betas must be two numbers; found a {type(found).__name__}")
    return tuple(found)
