"""The optimizer's state on disk: resume points of a run, and the moments kept beside its checkpoints.

    resume/step_000012300.safetensors    everything that the next step needs, at the last two resume points
    moments/step_000012300.safetensors   the same at every checkpoint, of runs with keep_moments

Each file has its digest beside it, written after it: a file without one is what a kill left over. A resume point says
how long the run's records were then and which seals they ended in; it can be used only where they still do.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from circuitgrok.canonical import sha256
from circuitgrok.errors import DamagedFile, RunError
from circuitgrok.store.files import read_plain, read_verified, write_atomically
from circuitgrok.store.lines import head_at
from circuitgrok.store.records import is_digest
from circuitgrok.store.run import Run
from circuitgrok.store.weights import file_name, largest, pieces, unpack

if TYPE_CHECKING:
    from circuitgrok.tree import Params

RESUME_POINTS_KEPT = 2
CUT_BACK = ("history", "index", "updates")  # the records that a resume point cuts back
_NAME = re.compile(r"step_(\d{9})\.safetensors(\.sha256)?")


def write_resume(run: Run, step: int, tensors: "Params", note: Mapping[str, Any]) -> str:
    """Write a resume point and drop all but the last two; its digest."""
    digest = _write(run, "resume", step, pieces(tensors, {**note, "step": step, "config": run.manifest["hash"]}))
    drop_resume(run, resume_steps(run)[:-RESUME_POINTS_KEPT])
    return digest


def write_moments(run: Run, step: int, tensors: "Params") -> None:
    """Write the optimizer's state of a checkpoint, to stay."""
    _write(run, "moments", step, pieces(tensors, {"step": step, "config": run.manifest["hash"]}))


def _write(run: Run, folder: str, step: int, content: "Sequence[bytes | memoryview]") -> str:
    (run.path / folder).mkdir(exist_ok=True)
    file, digest = run.path / folder / file_name(step), sha256(*content)
    write_atomically(file, *content)
    write_atomically(_beside(file), digest.encode())
    return digest


def _beside(file: Any) -> Any:
    return file.with_name(f"{file.name}.sha256")


def drop_resume(run: Run, steps: Sequence[int], folder: str = "resume") -> None:
    """Remove resume points; each digest first, so that what a kill leaves over is no resume point."""
    if (run.path / folder).is_symlink():
        raise DamagedFile(f"{run.path / folder} is a link; the folders of a run are plain folders inside it")
    for step in steps:
        file = run.path / folder / file_name(step)
        _beside(file).unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def resume_steps(run: Run, folder: str = "resume") -> list[int]:
    """Steps of the resume points there are (or of the moments), whole or not, in order."""
    names = (_NAME.fullmatch(file.name) for file in (run.path / folder).glob("step_*"))
    return sorted({int(match[1]) for match in names if match})


def read_resume(run: Run, step: int, folder: str = "resume") -> tuple["Params", dict[str, Any]]:
    """A resume point's tensors and note, verified; with `folder="moments"` those kept beside a checkpoint.

    Raises:
        DamagedFile: It is not what was written, or belongs to another run or step; the one before may still be good.
    """
    file = run.path / folder / file_name(step)
    completion = run.completion if folder == "resume" else None
    listed = completion.resume.get(file.name) if completion else None
    try:
        digest = read_plain(_beside(file), at_most=1000).decode("ascii")
    except (OSError, UnicodeDecodeError):
        raise DamagedFile(f"{file} has no readable digest beside it") from None
    if not is_digest(digest) or (listed and digest != listed):
        raise DamagedFile(f"{_beside(file)} is damaged: it is not the digest that was written for {file.name}")
    copies = 8 + sum(one.copies for one in run.config.interventions)
    content = read_verified(file, digest, at_most=largest(run.config.model.shapes(), copies))
    return unpack(content, file, step, run.manifest["hash"])


def check_records(run: Run, note: Mapping[str, Any]) -> None:
    """Compare the records with what a resume point says of them.

    Raises:
        DamagedFile: One has lost lines since, or holds others.
    """
    for name in CUT_BACK:
        file = run.path / f"{name}.jsonl"
        head = head_at(file, note.get(f"{name}_bytes", 0), run.first(file.name))
        if run.sealed and head.seal != note.get(f"{name}_seal"):
            raise DamagedFile(f"{file} is damaged: line {head.lines} is not the one at the resume point")


def read_moments(run: Run, step: int) -> "Params":
    """Everything that the step after a checkpoint needed, verified.

    Raises:
        RunError: It was not kept at this step; the message says where it was.
    """
    kept = {folder: resume_steps(run, folder) for folder in ("moments", "resume")}
    for folder, steps in kept.items():
        if step in steps:
            return read_resume(run, step, folder)[0]
    there = sorted({step for steps in kept.values() for step in steps})
    raise RunError(
        f"{run.path} has no optimizer state at step {step}, only at {there}: train it with keep_moments = true, or "
        f"start without start_moments"
    )


def resume_points(run: Run) -> dict[int, str]:
    """The steps of the resume points, in order, each with what is wrong with it; "" if training can go on from it."""
    found = {}
    for step in resume_steps(run):
        try:
            check_records(run, read_resume(run, step)[1])
            found[step] = ""
        except DamagedFile as error:
            found[step] = str(error)
    return found
