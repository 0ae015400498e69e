"""What stands where in a published file: state dicts, settings, the optimizer's state, and the step of each network.

Steps count updates. An epoch e was saved after its update, so its weights have e + 1 behind them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.inert import ConfigRecord
from circuitgrok.foreign.keys import WRAPPERS, is_state_dict, shapes_of, unwrapped
from circuitgrok.foreign.network import Network
from circuitgrok.foreign.opening import check_finite, read_settings
from circuitgrok.tree import Params, is_bias

_SERIES = ("state_dicts", "model_checkpoints", "checkpoints")
_EPOCHS = ("checkpoint_epochs", "epochs")
_SETTINGS = ("config", "cfg", "args", "hparams", "hyper_parameters", "settings")
CURVES = "holds loss curves and no weights; the networks are in other files of that release"


class Networks(NamedTuple):
    """The state dicts in a file, or in memory.

    Attributes:
        series: Those of a course of training, in order.
        steps: Updates behind each of them; None where nothing says.
        final: The one that stands alone, or after them, if there is one.
    """

    series: list[Mapping[str, Tensor]]
    steps: list[int] | None
    final: Mapping[str, Tensor] | None


def networks_in(content: Any, name: str) -> Networks:
    """The state dicts in what a file holds, or in what was given.

    Args:
        content: A state dict, a network, a list of them, a dict of them by step; or one of these in a dict with other
            things.
        name: What it is called, for messages.

    Raises:
        UserError: There are none; the message says what is there instead.
    """
    if isinstance(content, list | tuple):
        return Networks([_weights(one, name, content) for one in content], None, None)
    alone = unwrapped(content)
    if not isinstance(content, Mapping):
        if alone is None:
            raise UserError(f"{name} must hold a state dict (a dict of tensors); got a {type(content).__name__}")
        return Networks([], None, alone)
    if content and all(isinstance(step, int) for step in content):
        return _by_step(content, name)
    listed = next((content[key] for key in _SERIES if key in content and content[key]), None)
    if isinstance(listed, Mapping) and not is_state_dict(listed):
        return _by_step(listed, name)._replace(final=alone)
    if not isinstance(listed, list | tuple):
        if alone is None:
            raise UserError(f"{name} {_instead(content)}")
        return Networks([], None, alone)
    epochs = next((content[key] for key in _EPOCHS if key in content), [])
    try:
        steps = [int(epoch) + 1 for epoch in epochs]  # saved after its update
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"checkpoint_epochs must be whole numbers; {name} holds something else") from None
    if len(listed) != len(steps):
        raise UserError(f"{name} holds {len(listed)} networks but {len(steps)} of their epochs (checkpoint_epochs)")
    return Networks([_weights(one, name, listed) for one in listed], steps, alone)


def _by_step(content: Mapping[Any, Any], name: str) -> Networks:
    """Networks that stand in a dict under their steps."""
    if not all(isinstance(step, int) and 0 <= step < 10**9 for step in content):
        raise UserError(f"the networks of {name} must stand under their steps, whole numbers below 10^9")
    ordered = dict(sorted(content.items()))
    return Networks([_weights(one, name, content) for one in ordered.values()], list(ordered), None)


def _weights(value: Any, name: str, among: Any) -> Mapping[str, Tensor]:
    """The state dict of one network in a list."""
    if (found := unwrapped(value)) is not None:
        return found
    values = list(among.values() if isinstance(among, Mapping) else among)
    if all(isinstance(one, int | float) for one in values):
        raise UserError(f"{name} {CURVES}")
    if all(isinstance(one, Tensor) for one in values):
        raise UserError(
            f"{name} holds a list of {len(values)} tensors without names, as list(model.parameters()) gives them; save "
            "model.state_dict(), or a list of state dicts"
        )
    raise UserError(f"{name} holds no state dict of named tensors in its list; {_seen(value)}")


def _instead(content: Mapping[Any, Any]) -> str:
    """What a dict without a network holds, as the end of a sentence."""
    inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
    lists = [value for value in content.values() if isinstance(value, list | tuple) and value]
    numbers = [value for value in lists if all(isinstance(one, int | float) for one in value)]
    if not inner and ("losses" in content or (numbers and len(numbers) == len(lists))):
        return CURVES
    return f"holds no state dict of named tensors, at its top or under model; {_seen(inner[0] if inner else content)}"


def _seen(value: Any) -> str:
    return shapes_of(value) if isinstance(value, Mapping) else f"found a {type(value).__name__}"


def settings_of(file: Path, config: str | Path | None, content: Any) -> Mapping[str, Any]:
    """The settings of the published run: a JSON file's, or those that stand in the file."""
    beside = file.with_name(file.stem.replace("model_", "config_", 1) + ".json")
    if config is None and file.stem.startswith("model_") and beside.exists():
        config = beside
    inside = next((content[name] for name in _SETTINGS if name in content), {}) if isinstance(content, Mapping) else {}
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
        losses = len(content.get("train_losses", ()))
    except (TypeError, ValueError, OverflowError, KeyError, RuntimeError):
        raise UserError("optimizer.state and train_losses must be as torch and the published code save them") from None
    known = [
        step,
        max(counts, default=None),
        _inner(content, "scheduler").get("last_epoch"),
        losses or None,
        content["epoch"] + 1 if isinstance(content.get("epoch"), int) else None,
        next((content[name] for name in ("step", "global_step", "iteration") if name in content), None),
        settings.get("epoch", settings.get("num_epochs")),
    ]
    for found in known:
        if isinstance(found, int) and found >= 0:
            return found
    raise UserError("nothing says how many updates are behind these weights: give --steps (0 for initial weights)")


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
