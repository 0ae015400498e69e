"""Networks that other people published, as runs: their weights, task and split, and what their file claims.

A file is read in one of the layouts of `circuitgrok.layouts`. A square matrix loads either way round, and a wrong
seed gives a wrong split, so every network is run forward on the split that was rebuilt, and what comes out stands
beside what the file claims: far apart, the file is refused.

Steps count updates. An epoch e was saved after its update, so its weights have e + 1 behind them; a training loss
was taken before its update, so that of epoch e belongs to step e.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from circuitgrok import tree, writer
from circuitgrok.config import TrainConfig, explain
from circuitgrok.environment import environment
from circuitgrok.errors import UserError
from circuitgrok.foreign import ConfigRecord, read_foreign
from circuitgrok.interventions.losses import accuracy, cross_entropy
from circuitgrok.layouts import LAYOUTS, Knowledge, Network, listed
from circuitgrok.lens import common_dtype
from circuitgrok.locking import locked
from circuitgrok.runs import Run, RunError, load
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tree import Params, is_bias

if TYPE_CHECKING:
    import pandas as pd

Claims = dict[int, dict[str, float]]  # step -> train_loss, test_loss
TOLD = ("frac_train", "data_seed", "split", "operation", "lr", "beta1", "beta2", "eps", "warmup", "weight_decay")
_SERIES = ("state_dicts", "model_checkpoints", "checkpoints")


@dataclass(frozen=True)
class Published:
    """A published file in our terms.

    Attributes:
        source: The file's name, its SHA-256 and the layout it was read as.
        networks: Weights, by the number of updates behind them, in order.
        config: Rebuilds model, task and split, and states the optimizer's settings as far as they are known.
        claims: Losses that the file claims, by step: `train_loss`, `test_loss`, in nats, over its own classes.
        split: Whether the config's split is the one trained on: rebuilt by rule, assumed, or unknown.
        notes: What was assumed, contradicted, left out or cannot be known, a sentence each.
    """

    source: dict[str, str]
    networks: dict[int, Params]
    config: TrainConfig
    claims: Claims
    split: Knowledge
    notes: tuple[str, ...]

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The networks, evaluated here on the config's split: one record each, as in a run's history."""
        model, task = self.config.transformer, self.config.task.task()
        records = []
        for step, params in self.networks.items():
            with torch.no_grad():
                logits = model.logits(params, task.inputs)
            record: dict[str, float] = {"step": step, "norm": tree.norm(params).item()}
            for side, where in (("train", task.is_train), ("test", ~task.is_train)):
                record[f"{side}_loss"] = cross_entropy(logits[where], task.labels[where]).mean().item()
                record[f"{side}_acc"] = accuracy(logits[where], task.labels[where]).item()
            records.append(record)
        return records

    def on_all(self, score: Literal["loss", "acc"]) -> float:
        """Loss or accuracy of the last network on all pairs, whatever the split."""
        n, n_train = self.config.task.n_pairs, self.config.task.n_train
        last = self.history[-1]
        return (last[f"train_{score}"] * n_train + last[f"test_{score}"] * (n - n_train)) / n

    def claimed(self, column: str, step: int) -> tuple[int, float] | None:
        """What the file claims for the weights at a step: the loss there, or else the one before the last update."""
        near = (at for at in (step, step - 1) if column in self.claims.get(at, {}))
        return next(((at, self.claims[at][column]) for at in near), None)


@in_plain_surroundings
def read_published(
    path: str | Path, layout: str, config: str | Path | None = None, *, step: int | None = None, **given: Any
) -> Published:
    """The networks in a published file, and the config that rebuilds their task.

    Args:
        path: The file: `.pth`, `.pt` or `.safetensors`.
        layout: `nanda`, `pizza` or `hooked-transformer`.
        config: A JSON file with the settings of the published run; by default those inside the file, for pizza
            `config_<id>.json` beside `model_<id>.pt`.
        step: Updates behind the weights of a file that does not say, and holds one network.
        given: Fields of our config that the file does not say, such as `data_seed` or `act`; they win over the file.

    Returns:
        Everything the file holds, in our layout and evaluated here.

    Raises:
        UserError: The file does not fit the layout (the message lists what was expected and what was found), holds
            no network, would need unpickling, or its networks do not have the losses that it claims.

    Example:
        >>> import tempfile
        >>> from circuitgrok.models.transformer import Transformer
        >>> model = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(model.init(torch.Generator().manual_seed(0)), f"{folder}/old.pth")
        ...     published = read_published(f"{folder}/old.pth", "hooked-transformer", step=0)
        >>> list(published.networks), published.config.transformer.p, published.split
        ([0], 5, 'assumed')
    """
    file = Path(path)
    if layout not in LAYOUTS:
        raise UserError(f"the layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    content, digest = read_foreign(file)
    found, epochs, final = _state_dicts(content, file)
    settings = _settings(file, config, content, layout)
    notes: list[str] = []
    try:
        network = LAYOUTS[layout](found[-1], settings, content, given, notes)
    except ValidationError as error:
        raise UserError("; ".join(explain(error))) from None
    converted = [network.convert(weights) for weights in found]
    networks = dict(zip([epoch + 1 for epoch in epochs], converted, strict=False))
    again = final and any(_equal(converted[-1], params) for params in networks.values())
    if final and not again:
        last = _final_step(content, settings, step, converted[-1], network, notes)
        if last in networks:
            raise UserError(f"{file} holds two different networks for step {last}: give the last one's by --step")
        networks[last] = converted[-1]
    elif step is not None:
        raise UserError(f"{file} says the steps of its {len(networks)} networks itself; --step is for a file of one")
    if 0 not in networks:
        notes.append("the initial weights are not in the file: alpha, scheme and seed of the config say nothing")
    rebuilt = _config(network, networks, _optimizer(content, network.said, notes), given, notes)
    claims = _claims(content, max(networks), network.test_shift, notes)
    source = {"file": file.name, "sha256": digest, "layout": layout}
    return _checked(Published(source, dict(sorted(networks.items())), rebuilt, claims, network.split, tuple(notes)))


def _equal(one: Params, other: Params) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def _config(
    network: Network,
    networks: Mapping[int, Params],
    optimizer: Mapping[str, Any],
    given: Mapping[str, Any],
    notes: list[str],
) -> TrainConfig:
    """The config of a published run: what was given wins over the optimizer's state, that over the settings."""
    said = {**network.said, **optimizer}
    for name, value in given.items():
        if name in said and said[name] != value:
            notes.append(f"{name}: the file says {said[name]}, {value} was given and is believed")
    model = network.model.model_dump(exclude={"kind"})
    precision = str(common_dtype(networks[max(networks)])).removeprefix("torch.")
    leaves = {**said, **model, "precision": precision, "steps": max(1, *networks), **given}
    config = TrainConfig.preset(network.preset).with_(**leaves)
    missing = [f"{name} {config.leaves()[name]}" for name in TOLD if name not in {**said, **given}]
    if missing:
        notes.append(f"not in the file, taken from the code it was published with: {', '.join(missing)}")
    return config


@in_plain_surroundings
def write_run(published: Published, path: str | Path) -> Run:
    """Write what was published as a run: its state is `imported`, and it is never trained further.

    Beside the files of any run there is `saved_losses.jsonl`, what the file claims; `history.jsonl` holds what was
    evaluated here. The same file again writes the same bytes again.

    Raises:
        RunError: The folder holds another run.
    """
    path, config = Path(path), published.config
    first, task = min(published.networks), config.task.task()
    parts: dict[str, Params] = {}
    for name, value in published.networks[first].items():
        parts.setdefault(tree.role(name), {})[name] = value
    start = {
        "step": first,
        "norm": tree.norm(published.networks[first]).item(),
        "norm_by_role": {role: tree.norm(part).item() for role, part in parts.items()},
        "split_hash": task.split_hash,
        "n_train": task.n_train,
    }
    imported = {**published.source, "split": published.split, "notes": list(published.notes)}
    with locked(path):
        if (path / "config.json").exists():
            run = load(path)
            if run.config.hash != config.hash or run.manifest["environment"].get("imported") != imported:
                raise RunError(f"{path} holds another run; choose another --out or --name")
        else:
            run = writer.create(path, config, {**environment(1), "imported": imported}, start)
        writer.reopen(run)
        index = [writer.write_checkpoint(run, step, params) for step, params in published.networks.items()]
        claims = [{"step": step, **claim} for step, claim in sorted(published.claims.items())]
        for name, records in (("index", index), ("history", published.history), ("saved_losses", claims)):
            writer.write_records(run, f"{name}.jsonl", records)
        writer.complete(run, "imported", max(published.networks), {}, {})
    return run


def saved_losses(run: Run) -> "pd.DataFrame":
    """The losses that the file of an imported run claims, by step, in nats; they were not taken here."""
    import pandas as pd

    rows = list(run.records("saved_losses.jsonl"))
    return pd.DataFrame(rows, columns=None if rows else ["step"]).set_index("step")


def report(published: Published) -> list[str]:
    """What was read, in lines: the last network's scores here beside what the file claims, then the notes."""
    config, last = published.config, published.history[-1]
    step = int(last["step"])
    count = len(published.networks)
    lines = [
        f"{published.source['file']} as {published.source['layout']}: {count} network{'s' * (count > 1)}, the last at "
        f"step {step}; p = {config.modular.p}, {config.transformer.n_layers} layers, norm {last['norm']:.2f}",
        f"  accuracy     {published.on_all('acc'):.4f} of all {config.task.n_pairs} pairs here",
    ]
    if published.split == "unknown":
        return [*lines, f"  loss         {published.on_all('loss'):.2e} on all pairs here", *_noted(published)]
    for side in ("train", "test"):
        claim = published.claimed(f"{side}_loss", step)
        says = f"the file claims {claim[1]:.2e} at step {claim[0]}" if claim else "the file claims none"
        lines.append(
            f"  {side + ' loss':12s} {last[f'{side}_loss']:.2e} here, {says}; accuracy {last[f'{side}_acc']:.4f} here"
        )
    return [*lines, *_noted(published)]


def _noted(published: Published) -> list[str]:
    return [f"  {'split':12s} {published.split}", *(f"  {'note':12s} {note}" for note in published.notes)]


def _checked(published: Published) -> Published:
    """The same, if the last network has the losses that its file claims; one that only guesses gets a note."""
    p, last = published.config.modular.p, published.history[-1]
    for column in ("train_loss", "test_loss") if published.split != "unknown" else ():
        claim = published.claimed(column, int(last["step"]))
        # Half the loss of guessing: one update moves a loss by far less, a matrix the wrong way round by more.
        if claim and abs(claim[1] - last[column]) > math.log(p) / 2:
            raise UserError(
                f"{published.source['file']} claims {column} {claim[1]:.3g} at step {claim[0]}, but the weights have "
                f"{last[column]:.3g} at step {int(last['step'])}: a matrix is the wrong way round for "
                f"{published.source['layout']!r}, or the split ({published.split}) or the task is another; "
                f"--data-seed, --frac-train, --split and --operation say which"
            )
    if published.on_all("acc") <= 2 / p:
        note = f"no better than guessing ({published.on_all('acc'):.4f} of the pairs right): untrained, or misread"
        return replace(published, notes=(*published.notes, note))
    return published


def _state_dicts(content: Any, file: Path) -> tuple[list[Mapping[str, Tensor]], list[int], bool]:
    """The state dicts of a file, the epochs of those that have one, and whether there is one after them."""
    if isinstance(content, list | tuple) or (
        isinstance(content, Mapping) and "losses" in content and "model" not in content
    ):
        raise UserError(f"{file} holds loss curves and no weights; the networks are in other files of that release")
    if not isinstance(content, Mapping):
        raise UserError(f"{file} must hold a state dict (a dict of tensors); got a {type(content).__name__}")
    series = next((list(content[k]) for k in _SERIES if isinstance(content.get(k), list | tuple) and content[k]), [])
    epochs = next((content[key] for key in ("checkpoint_epochs", "epochs") if key in content), [])
    epochs = [int(epoch) for epoch in epochs] if series else []
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


def _settings(file: Path, config: str | Path | None, content: Any, layout: str) -> Mapping[str, Any]:
    """The settings of the published run: a JSON file's, or those that stand in the file."""
    beside = file.with_name(file.stem.replace("model_", "config_", 1) + ".json")
    if config is None and layout == "pizza" and file.stem.startswith("model_") and beside.exists():
        config = beside
    inside = content.get("config", {})
    settings = vars(inside) if isinstance(inside, ConfigRecord) else inside
    if config is not None:
        try:
            settings = json.loads(Path(config).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{config} is not JSON: {error}") from None
    if not isinstance(settings, Mapping):
        raise UserError(f"settings must be a JSON object or a dict; got a {type(settings).__name__}")
    return settings


def _optimizer(content: Mapping[str, Any], said: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """What the saved optimizer says of itself; it, not the settings, made the weights."""
    groups = (content.get("optimizer") or {}).get("param_groups") or []
    if not groups:
        return {}
    first = groups[0]
    found = {name: first[name] for name in ("lr", "weight_decay", "eps") if name in first}
    if "initial_lr" in first:  # a schedule has moved `lr`
        found["lr"] = first["initial_lr"]
    found |= dict(zip(("beta1", "beta2"), first.get("betas", ()), strict=False))
    for name in sorted(set(found) & set(said)):
        if found[name] != said[name]:
            notes.append(f"{name}: the settings say {said[name]}, the saved optimizer {found[name]}, which is believed")
    if any(group.get(key) != first.get(key) for group in groups for key in ("lr", "weight_decay", "betas", "eps")):
        notes.append(f"the optimizer has {len(groups)} groups of parameters that differ; the config states the first")
    return found


def _final_step(
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
    moments = (content.get("optimizer") or {}).get("state") or {}
    counts = {int(state["step"]) for state in moments.values() if "step" in state}
    known = [
        step,
        max(counts, default=None),
        (content.get("scheduler") or {}).get("last_epoch"),
        len(content.get("train_losses") or []) or None,
        content["epoch"] + 1 if isinstance(content.get("epoch"), int) else None,
        settings.get("epoch", settings.get("num_epochs")),
    ]
    for found in known:
        if isinstance(found, int) and found >= 0:
            return found
    raise UserError("nothing says how many updates are behind these weights: give --step (0 for initial weights)")


def _claims(content: Mapping[str, Any], last: int, test_shift: int, notes: list[str]) -> Claims:
    """Losses that a file claims, by the step of the weights that they were taken of."""
    train, test = (_numbers(content.get(name)) for name in ("train_losses", "test_losses"))
    strides = {
        math.ceil(len(train) / stride): stride for stride in (10, 1)
    }  # Nanda's code took every tenth for a while
    stride = strides.get(len(test), 0)
    if test and not stride:
        notes.append(f"{len(test)} test losses beside {len(train)} training losses: their steps are unknown, left out")
    claims: Claims = {}
    for i, loss in enumerate(train):
        claims.setdefault(i, {})["train_loss"] = loss
    for i, loss in enumerate(test if stride else []):
        claims.setdefault(i * stride + test_shift, {})["test_loss"] = loss
    for name in ("train_loss", "test_loss"):
        for loss in _numbers([content[name]] if name in content and last else None):
            claims.setdefault(last - 1, {}).setdefault(name, loss)
    return {
        step: finite
        for step, claim in claims.items()
        if (finite := {k: v for k, v in claim.items() if math.isfinite(v)})
    }


def _numbers(values: Any) -> list[float]:
    if values is None:
        return []
    if isinstance(values, Tensor):
        values = values.flatten().tolist()
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        raise UserError("saved losses must be numbers; found something else among them") from None
