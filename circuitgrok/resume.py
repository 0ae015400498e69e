"""The optimizer's state on disk: resume points of a run, and the moments kept beside its checkpoints.

    resume/step_000012300.safetensors    everything that the next step needs, at the last two resume points
    moments/step_000012300.safetensors   the same at every checkpoint, of runs with keep_moments

Each file has its digest beside it, written after it: a file without one is what a kill left over.
"""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.errors import DamagedFile
from circuitgrok.files import read_verified, sha256, write_atomically
from circuitgrok.runs import Run, RunError, file_name, largest, pack

if TYPE_CHECKING:
    from circuitgrok.tree import Params

RESUME_POINTS_KEPT = 2
_NAME = re.compile(r"step_(\d{9})\.safetensors")


def write_resume(run: Run, step: int, tensors: "Params", note: Mapping[str, Any]) -> None:
    """Write a resume point and drop all but the last two."""
    _write(run.path / "resume", step, pack(tensors, {**note, "step": step, "config": run.manifest["hash"]}))
    drop_resume(run, resume_steps(run)[:-RESUME_POINTS_KEPT])


def write_moments(run: Run, step: int, tensors: "Params") -> None:
    """Write the optimizer's state of a checkpoint, to stay."""
    _write(run.path / "moments", step, pack(tensors, {"step": step, "config": run.manifest["hash"]}))


def _write(folder: Path, step: int, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    write_atomically(folder / file_name(step), content)
    write_atomically(folder / f"{file_name(step)}.sha256", sha256(content).encode())


def drop_resume(run: Run, steps: Sequence[int]) -> None:
    """Remove resume points; each digest first, so that what a kill leaves over is no resume point."""
    for step in steps:
        file = run.path / "resume" / file_name(step)
        file.with_name(f"{file.name}.sha256").unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def resume_steps(run: Run, folder: str = "resume") -> list[int]:
    """Steps of the resume points there are (or of the moments), whole or not, in order."""
    names = (_NAME.fullmatch(file.name) for file in (run.path / folder).glob("step_*"))
    return sorted(int(match[1]) for match in names if match)


def read_resume(run: Run, step: int, folder: str = "resume") -> tuple["Params", dict[str, Any]]:
    """A resume point's tensors and note, verified; with `folder="moments"` those kept beside a checkpoint.

    Raises:
        DamagedFile: It is not what was written; the one before may still be good.
    """
    from safetensors.torch import load as load_tensors

    file = run.path / folder / file_name(step)
    try:
        digest = (file.parent / f"{file.name}.sha256").read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise DamagedFile(f"{file} has no readable digest beside it") from None
    copies = 8 + run.config.transforms.grokfast_window * bool(run.config.transforms.grokfast_ma)
    content = read_verified(file, digest, at_most=largest(run.config.model.shapes(), copies))
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load_tensors(content), json.loads(header["__metadata__"]["circuitgrok"])
    except Exception as error:  # see Run._load
        raise DamagedFile(f"{file} is not a resume point: {error}") from None


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


def usable_resume_steps(run: Run) -> list[int]:
    """Steps of the resume points that verify, in order."""
    good = []
    for step in resume_steps(run):
        with contextlib.suppress(DamagedFile):
            read_resume(run, step)
            good.append(step)
    return good
