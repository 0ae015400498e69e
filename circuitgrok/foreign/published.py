"""Networks that other people published, as runs: their weights, task and split, and what their file claims.

A file is read in one of the layouts of `foreign.layouts`. A square matrix loads either way round, and a wrong
seed gives a wrong split, so the networks are run here and their losses compared with those that the file claims
(`foreign.claims`). The split is the one in the file, else the one given, else one that is searched for and has the
claimed losses (`foreign.split_search`), else a stand-in, of which nothing is said by side: only on all pairs.

Steps count updates. An epoch e was saved after its update, so its weights have e + 1 behind them; a training loss
was taken before its update, so that of epoch e belongs to step e.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from circuitgrok import select, tree
from circuitgrok.config.explain import explain
from circuitgrok.config.leaves import LEAVES
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.foreign.claims import Claims, before_update, claims_of, slices
from circuitgrok.foreign.contents import final_step, optimizer_of, settings_of, state_dicts
from circuitgrok.foreign.layouts import LAYOUTS, Network
from circuitgrok.foreign.lens import common_dtype
from circuitgrok.foreign.opening import read_foreign
from circuitgrok.foreign.split_search import STAND_IN, settled
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.store import writer
from circuitgrok.store.environment import environment
from circuitgrok.store.locking import locked
from circuitgrok.store.run import SIDED, Run, RunError, load
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd

TOLD = ("frac_train", "data_seed", "split", "operation", "lr", "beta1", "beta2", "eps", "warmup", "weight_decay")
_SPLIT_FIELDS = ("frac_train", "data_seed", "split")


@dataclass(frozen=True)
class Published:
    """A published file in our terms.

    Attributes:
        source: The file's name, its SHA-256 and the layout it was read as.
        networks: Weights, by the number of updates behind them, in order.
        config: Rebuilds model, task and split, and states the optimizer's settings as far as they are known.
        claims: Losses that the file claims, by step: `train_loss`, `test_loss`, in nats, over its own classes.
        split: Where the config's split comes from: `in the file`, `given`, `found: frac .9 seed 0` or `stand-in`.
        notes: What was assumed, contradicted, left out or cannot be known, a sentence each.
    """

    source: dict[str, str]
    networks: dict[int, Params]
    config: TrainConfig
    claims: Claims
    split: str
    notes: tuple[str, ...]

    @property
    def history(self) -> list[dict[str, float]]:
        """The networks, evaluated here: one record each, as in a run's history; nan by side of a stand-in."""
        blank = dict.fromkeys(SIDED, math.nan) if self.split == STAND_IN else {}
        return [record | blank for record in self.evaluated]

    @cached_property
    def evaluated(self) -> list[dict[str, float]]:
        """The networks, evaluated on the config's split, whatever it is."""
        task = self.config.task.draw()
        sides = {"train": task.is_train, "test": ~task.is_train}
        records = []
        for step, params in self.networks.items():
            losses, right = self._evaluated(params)
            record: dict[str, float] = {"step": step, "norm": tree.norm(params).item()}
            for side, where in sides.items():
                record[f"{side}_loss"] = losses[where].mean().item()
                record[f"{side}_acc"] = right[where].double().mean().item()
            records.append(record)
        return records

    def _evaluated(self, params: Params) -> tuple[Tensor, Tensor]:
        """Loss of each pair, and whether it is answered right, a few rows at a time."""
        model, task = self.config.transformer, self.config.task.draw()
        losses, right = [], []
        for inputs, labels in slices(model, task.inputs, task.labels):
            with torch.no_grad():
                logits = model.logits(params, inputs)
            losses.append(cross_entropy(logits, labels))
            right.append(logits.argmax(-1) == labels)
        return torch.cat(losses), torch.cat(right)

    def on_all(self, score: Literal["loss", "acc"]) -> float:
        """Loss or accuracy of the last network on all pairs, whatever the split."""
        last = self.evaluated[-1]
        n, n_train = self.config.task.n_pairs, self.config.task.n_train
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
        ([0], 5, 'stand-in')
    """
    file = Path(path)
    if layout not in LAYOUTS:
        raise UserError(f"the layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    content, digest = read_foreign(file)
    found, epochs, final = state_dicts(content, file)
    settings = settings_of(file, config, content, layout)
    notes: list[str] = []
    try:
        network = LAYOUTS[layout](found[-1], settings, content, given, notes)
    except ValidationError as error:
        raise UserError("; ".join(explain(error, LEAVES))) from None
    converted = [network.convert(weights) for weights in found]
    networks = dict(zip([epoch + 1 for epoch in epochs], converted, strict=False))
    again = final and any(_equal(converted[-1], params) for params in networks.values())
    if final and not again:
        last = final_step(content, settings, step, converted[-1], network, notes)
        if last in networks:
            raise UserError(f"{file} holds two different networks for step {last}: give the last one's by --step")
        networks[last] = converted[-1]
    elif step is not None:
        raise UserError(f"{file} says the steps of its {len(networks)} networks itself; --step is for a file of one")
    if 0 not in networks:
        notes.append("the initial weights are not in the file: alpha, scheme and seed of the config say nothing")
    networks = dict(sorted(networks.items()))
    _check_weights(networks)
    told = "listed" if network.split == "in the file" and "train_indices" in content else network.split
    if told == "listed" and any(name in given and given[name] != network.said[name] for name in _SPLIT_FIELDS):
        notes.append("the file lists its training pairs, and the split given is another: the file's is used")
        given = {name: value for name, value in given.items() if name not in _SPLIT_FIELDS}
    rebuilt = _config(network, networks, optimizer_of(content, network.said, notes), given, notes)
    claims = claims_of(content, max(networks), network.test_shift, notes)
    undone = before_update(found[-1], content.get("optimizer")) if final else None
    before = None if undone is None else network.convert(undone)
    rebuilt, split = settled(file.name, rebuilt, told, claims, networks, before, notes)
    source = {"file": file.name, "sha256": digest, "layout": layout}
    return _noted_guess(Published(source, networks, rebuilt, claims, split, tuple(notes)))


def _check_weights(networks: Mapping[int, Params]) -> None:
    for step, params in networks.items():
        for name, value in params.items():
            if not bool(value.isfinite().all()):
                raise UserError(f"{name} must be finite; the network of step {step} holds nan or inf there")


def _noted_guess(published: Published) -> Published:
    """The same; a network that only guesses gets a note."""
    p = published.config.modular.p
    if published.on_all("acc") <= 2 / p:
        note = f"no better than guessing ({published.on_all('acc'):.4f} of the pairs right): untrained, or misread"
        return replace(published, notes=(*published.notes, note))
    return published


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
    first, task = min(published.networks), config.task.draw()
    roles = select.vectors(published.networks[first], "role", axes=0)
    start = {
        "step": first,
        "norm": tree.norm(published.networks[first]).item(),
        "norm_by_role": {role: tree.norm(*every).item() for role, every in roles.items()},
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
        for name, records in (("index", index), ("history", published.evaluated), ("saved_losses", claims)):
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
    if published.split == STAND_IN:
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
