"""Networks that other people trained, read: their weights, task and split, compared with what their file claims.

They are read in one of the layouts of `foreign.layouts`. A square matrix loads either way round, and a wrong seed gives
a wrong split, so the networks are run here and their losses compared with those that the file claims
(`foreign.claims`). The split is the one in the file, else the one given, else one that is searched for and has the
claimed losses (`foreign.split_search`), else a stand-in, of which nothing is said by side: only on all pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from circuitgrok.config.explain import explain
from circuitgrok.config.leaves import LEAVES
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.foreign.claims import before_update, claims_of
from circuitgrok.foreign.contents import final_step, optimizer_of, settings_of
from circuitgrok.foreign.exported import described
from circuitgrok.foreign.keys import common_dtype, copied, mismatches, plain_weights
from circuitgrok.foreign.layouts import LAYOUTS, layout_of
from circuitgrok.foreign.mlps import is_pizza
from circuitgrok.foreign.network import Knowledge, Network
from circuitgrok.foreign.pairs import listed_in, mask_of, split_fields
from circuitgrok.foreign.published import Published
from circuitgrok.foreign.sources import NOTE, Gathered, gathered
from circuitgrok.foreign.split_search import STAND_IN, settled
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.checkpoints import task_config
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tasks.modular import ModularAddition, Task
from circuitgrok.tree import Params

TOLD = ("frac_train", "data_seed", "split", "operation", "lr", "beta1", "beta2", "eps", "warmup", "weight_decay")
_SPLIT_FIELDS = ("frac_train", "data_seed", "split")


@in_plain_surroundings
def read_published(
    source: Any,
    layout: str | None = None,
    config: str | Path | None = None,
    *,
    model: AnyModel | None = None,
    task: Any = None,
    split: Any = None,
    keys: Mapping[str, str] | None = None,
    steps: int | Sequence[int] | None = None,
    **given: Any,
) -> Published:
    """The networks of a source, and the config that rebuilds their task; see `open_checkpoints` for what each is.

    Raises:
        UserError: The source does not fit the layout (the message lists what was expected and what was found), holds
            no network, would need unpickling, or its networks do not have the losses that it claims.

    Example:
        >>> from circuitgrok.models.embedding_mlp import EmbeddingMLP
        >>> model = EmbeddingMLP(p=5, d_embed=4, d_hidden=8)
        >>> networks = {step: model.init(torch.Generator().manual_seed(step)) for step in (0, 100)}
        >>> published = read_published(networks, act="gelu")
        >>> published.steps, published.model.d_hidden, published.split
        ([0, 100], 8, 'stand-in')
    """
    got = gathered(source)
    settings = settings_of(got.file, config or got.settings, got.content)
    notes: list[str] = []
    if (note := got.content.get(NOTE, settings.get(NOTE))) is not None and layout is None:
        return _again(got, note, steps, notes)
    if isinstance(split, str):
        given, split = given | {"split": split}, None
    if task is not None:
        chosen = task_config(task) if isinstance(task, Task) else task
        given = {name: getattr(chosen, name) for name in type(chosen).model_fields if name != "kind"} | given
        task = chosen
    fields = {} if model is None else {n: getattr(model, n) for n in type(model).model_fields if n != "kind"}
    beside = {name: value for name, value in {"model": model, "keys": keys}.items() if value is not None}
    found = [plain_weights(one, notes) for one in _all(got)]
    known = _layout(found[-1], layout, settings, keys is not None)
    try:
        network = LAYOUTS[known](found[-1], settings, got.content, {**fields, **given, **beside}, notes)
    except ValidationError as error:
        raise UserError("; ".join(explain(error, LEAVES))) from None
    if model is not None and network.model != model:
        if wrong := mismatches(network.convert(found[-1]), model.shapes()):
            raise UserError(f"the weights are not those of the model that was given: {wrong}")
        network = network._replace(model=model)
    networks = _by_step(got, [network.convert(one) for one in found], settings, steps, network, notes)
    _check_weights(networks)
    task = _task(network, task, given)
    told, listed = _told(network, got.content, split, task, given, notes)
    if listed:
        given = {name: value for name, value in given.items() if name not in _SPLIT_FIELDS}
    network = network._replace(said=network.said | listed)
    rebuilt = _config(network, networks, task, optimizer_of(got.content, network.said, notes), given, known, notes)
    claims = claims_of(got.content, max(networks), network.test_shift, notes)
    undone = before_update(found[-1], got.content.get("optimizer")) if got.networks.final is not None else None
    before = None if undone is None else network.convert(undone)
    rebuilt, where = settled(got.file.name, rebuilt, told, claims, networks, before, notes)
    about = {"file": got.file.name, "sha256": got.sha256, "layout": known}
    return _noted_guess(Published(about, networks, rebuilt, claims, where, tuple(notes), network.keys))


def _again(got: Gathered, note: Any, steps: int | Sequence[int] | None, notes: list[str]) -> Published:
    """Networks that were exported here: what they are, they say themselves."""
    config, found = described(note), _all(got)
    known = got.networks.steps or [note["step"]]
    asked = known if steps is None else [steps] if isinstance(steps, int) else list(steps)
    if missing := [step for step in asked if step not in known]:
        raise UserError(f"{got.file.name} has no network at step {missing[0]}; there are {known[:8]}")
    networks: dict[int, Params] = {}
    for step, weights in zip(known, found, strict=True):
        if wrong := mismatches(weights, config.model.shapes()):
            raise UserError(f"{got.file} does not hold the tensors that it describes: {wrong}")
        networks |= {step: {name: copied(weights[name]) for name in config.model.shapes()}} if step in asked else {}
    _check_weights(networks)
    about = {"file": got.file.name, "sha256": got.sha256, "layout": "exported"}
    split = "in the file" if note.get("split_is_known", True) else STAND_IN
    return Published(about, networks, config, {}, split, tuple(notes))


def _all(got: Gathered) -> list[Mapping[str, Tensor]]:
    """The state dicts of a source in order, the one after a series last."""
    return [*got.networks.series, *([] if got.networks.final is None else [got.networks.final])]


def _layout(weights: Mapping[str, Tensor], asked: str | None, settings: Mapping[str, Any], mapped: bool) -> str:
    if asked is not None and asked not in LAYOUTS:
        raise UserError(f"the layout must be one of {', '.join(LAYOUTS)}; got {asked!r}")
    if asked == "pizza" and is_pizza(weights):
        return "pizza-mlp"
    return asked or ("named" if mapped else layout_of(weights, settings))


def _by_step(
    got: Gathered,
    converted: list[Params],
    settings: Mapping[str, Any],
    steps: int | Sequence[int] | None,
    network: Network,
    notes: list[str],
) -> dict[int, Params]:
    """The networks by their steps, those that were asked for."""
    known, final = got.networks.steps, got.networks.final is not None
    asked = None if steps is None else [steps] if isinstance(steps, int) else [int(step) for step in steps]
    series = converted[: len(got.networks.series)]
    if series and known is None:
        if asked is None or len(asked) != len(series) or len({*asked}) < len(asked):
            raise UserError(
                f"{got.file.name} holds {len(series)} networks and no steps: give as many by steps (--steps); got "
                f"{'none' if asked is None else len(asked)}"
            )
        known, asked = asked, None
    networks = dict(zip(known or [], series, strict=True))
    if final and not any(_equal(converted[-1], params) for params in networks.values()):
        alone = asked[0] if asked and len(asked) == 1 and not series else None
        last = final_step(got.content, settings, alone, converted[-1], network, notes)
        if last in networks:
            raise UserError(
                f"{got.file.name} holds two different networks for step {last}: it says one of them wrongly"
            )
        networks[last] = converted[-1]
    if 0 not in networks:
        notes.append("the initial weights are not in the file: alpha, scheme and seed of the config say nothing")
    if asked is not None and (missing := [step for step in asked if step not in networks]):
        near = sorted(networks, key=lambda step: abs(step - missing[0]))[:3]
        raise UserError(f"{got.file.name} has no network at step {missing[0]}; the nearest are {near}")
    return {step: networks[step] for step in sorted(networks if asked is None else asked)}


def _check_weights(networks: Mapping[int, Params]) -> None:
    for step, params in networks.items():
        for name, value in params.items():
            if not bool(value.isfinite().all()):
                raise UserError(f"{name} must be finite; the network of step {step} holds nan or inf there")


def _task(network: Network, task: Any, given: Mapping[str, Any]) -> Any:
    """The task whose pairs are read: the one given, or an operation modulo the p of the network, not split yet."""
    if task is not None:
        return task
    model = network.model
    p = model.n_in // 2 if isinstance(model, DenseMLP) else model.p
    if isinstance(model, DenseMLP) and (model.n_in != 2 * model.n_out or model.n_out < 3):
        raise UserError(
            f"a dense network of {model.n_in} inputs and {model.n_out} outputs reads no pairs of numbers: give its task"
        )
    operation = {**network.said, **given}.get("operation", "add")
    try:
        return ModularAddition(p=given.get("p", p), operation=operation, frac_train=0.5)
    except ValidationError as error:
        raise UserError("; ".join(explain(error, LEAVES))) from None


def _told(
    network: Network, content: Mapping[str, Any], split: Any, task: Any, given: Mapping[str, Any], notes: list[str]
) -> tuple[Knowledge, dict[str, Any]]:
    """Where the split comes from, and its fields if pairs are listed."""
    if not isinstance(task, ModularAddition):
        return "given" if {"frac_train"} & {*given} else "in the file", {}
    if split is not None:
        return "given", split_fields(mask_of(split, task), given)
    mask = listed_in(content, task)
    if mask is None:
        return network.split, {}
    fields = split_fields(mask, given)
    if any(name in given and given[name] != fields[name] for name in _SPLIT_FIELDS):
        notes.append("the file lists its training pairs, and the split given is another: the file's is used")
    return "listed", fields


def _noted_guess(published: Published) -> Published:
    """The same; a network that only guesses gets a note."""
    if published.on_all("acc") <= 2 / published.config.task.n_classes:
        note = f"no better than guessing ({published.on_all('acc'):.4f} of the pairs right): untrained, or misread"
        return replace(published, notes=(*published.notes, note))
    return published


def _equal(one: Params, other: Params) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def _config(
    network: Network,
    networks: Mapping[int, Params],
    task: Any,
    optimizer: Mapping[str, Any],
    given: Mapping[str, Any],
    layout: str,
    notes: list[str],
) -> TrainConfig:
    """The config of a published run: what was given wins over the optimizer's state, that over the settings."""
    said = {**network.said, **optimizer}
    for name, value in given.items():
        if name in said and said[name] != value:
            notes.append(f"{name}: the file says {said[name]}, {value} was given and is believed")
    model = network.model.model_dump(exclude={"kind"})
    precision = str(common_dtype(networks[max(networks)])).removeprefix("torch.")
    own = {"p": task.p} if isinstance(task, ModularAddition) else task.model_dump(exclude={"kind"})
    leaves = {**own, **said, **model, "precision": precision, "steps": max(1, *networks), **given}
    config = TrainConfig.preset(network.preset).with_(task=task.kind, model=network.model.kind, **leaves)
    missing = [f"{n} {config.leaves()[n]}" for n in TOLD if n not in {**said, **given} and n in config.leaves()]
    if missing:
        code = "as is usual here" if layout in ("named", "mlp", "bridge") else "from the code it was published with"
        notes.append(f"not in the file, taken {code}: {', '.join(missing)}")
    return config
