"""Networks of other hands as a run on disk, and what was read of them in lines."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from circuitgrok import select, tree
from circuitgrok.foreign.claims import WARNING
from circuitgrok.foreign.published import Published
from circuitgrok.foreign.split_search import STAND_IN
from circuitgrok.models.kinds import AnyModel
from circuitgrok.models.transformer import Transformer
from circuitgrok.store import writer
from circuitgrok.store.environment import environment
from circuitgrok.store.locking import locked
from circuitgrok.store.manifest import CONFIG
from circuitgrok.store.run import SPLIT, Run, RunError, load
from circuitgrok.surroundings import in_plain_surroundings

if TYPE_CHECKING:
    import pandas as pd


@in_plain_surroundings
def write_run(published: Published, path: str | Path) -> Run:
    """Write what was published as a run: its state is `imported`, and it is never trained further.

    Beside the files of any run there is `saved_losses.jsonl`, what the file claims; `history.jsonl` holds what was
    evaluated here. The same file again writes the same bytes again.

    Raises:
        RunError: The folder holds another run.
    """
    path, config, evaluated = Path(path), published.config, published.evaluated
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
    with _none_left(path), locked(path):
        if (path / "config.json").exists():
            run = load(path)
            if run.config.hash != config.hash or run.manifest["environment"].get("imported") != imported:
                raise RunError(f"{path} holds another run; choose another --out or --name")
        else:
            run = writer.create(path, config, {**environment(1), "imported": imported}, start)
        writer.reopen(run)
        index = [writer.write_checkpoint(run, step, params) for step, params in published.networks.items()]
        claims = [{"step": step, **claim} for step, claim in sorted(published.claims.items())]
        for name, records in (("index", index), ("history", evaluated), ("saved_losses", claims)):
            writer.write_records(run, f"{name}.jsonl", records)
        writer.complete(run, "imported", max(published.networks), {}, {})
    return run


@contextlib.contextmanager
def _none_left(path: Path) -> Iterator[None]:
    """Takes away the folders that were made for a run that was then refused."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        if made and not (path / CONFIG).exists():
            for name in (".lock", ".holder", SPLIT):
                (path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                for folder in made:
                    folder.rmdir()
        raise


def saved_losses(run: Run) -> "pd.DataFrame":
    """The losses that the file of an imported run claims, by step, in nats; they were not taken here."""
    import pandas as pd

    rows = list(run.records("saved_losses.jsonl"))
    return pd.DataFrame(rows, columns=None if rows else ["step"]).set_index("step")


def report(published: Published) -> list[str]:
    """What was read, in lines: the last network's scores here beside what the file claims, then the notes."""
    config, last = published.config, published.evaluated[-1]
    step, count = int(last["step"]), len(published.networks)
    lines = [
        f"{published.source['file']} as {published.source['layout']}: {count} network{'s' * (count > 1)}, the last at "
        f"step {step}; {config.task.formula}, {_shape(config.model)}, norm {last['norm']:.2f}",
        f"  accuracy     {published.on_all('acc'):.4f} of all {config.task.n_pairs} pairs here",
    ]
    if published.keys:
        lines += [f"  key          {theirs} -> {ours or '(left out)'}" for theirs, ours in published.keys.items()]
    if published.split == STAND_IN:
        return [*lines, f"  loss         {published.on_all('loss'):.2e} on all pairs here", *_noted(published)]
    for side in ("train", "test"):
        claim = published.claimed(f"{side}_loss", step)
        says = f"the file claims {claim[1]:.2e} at step {claim[0]}" if claim else "the file claims none"
        lines.append(
            f"  {side + ' loss':12s} {last[f'{side}_loss']:.2e} here, {says}; accuracy {last[f'{side}_acc']:.4f} here"
        )
    return [*lines, *_noted(published)]


def _shape(model: AnyModel) -> str:
    """A network in a few words."""
    if isinstance(model, Transformer):
        return f"{model.n_layers} layer{'s' * (model.n_layers > 1)}"
    return f"{model.called}, {model.activations_per_input} neurons"


def _noted(published: Published) -> list[str]:
    notes = sorted(published.notes, key=lambda note: not note.startswith(WARNING))
    said = [("WARNING", note.removeprefix(WARNING)) if note.startswith(WARNING) else ("note", note) for note in notes]
    return [f"  {'split':12s} {published.split}", *(f"  {label:12s} {note}" for label, note in said)]
