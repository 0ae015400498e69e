"""The doctor's findings: every file of a run, verified, and what can still be used."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from circuitgrok.errors import DamagedFile
from circuitgrok.store.completion import NAME
from circuitgrok.store.files import SUBFOLDERS
from circuitgrok.store.kept import Estimates, read_vouched
from circuitgrok.store.lines import last_record
from circuitgrok.store.locking import holder
from circuitgrok.store.resume import check_records, read_resume, resume_points, resume_steps
from circuitgrok.store.run import Run
from circuitgrok.store.weights import file_name
from circuitgrok.table.llc import kept_estimates

RECORDS = {"history.jsonl": "evaluations", "index.jsonl": "checkpoints", "updates.jsonl": "updates"}
FURTHER = {"events.jsonl": "events", "saved_losses.jsonl": "saved losses"}


class Finding(NamedTuple):
    """One file of a run, as the doctor saw it."""

    file: str
    good: bool
    note: str


def examine(run: Run) -> list[Finding]:
    """Every file of a run, verified; of one whose config.json is damaged only that, for the rest hangs on it."""
    config = _look(
        "config.json", lambda: f"config {run.config.hash}{'' if run.sealed else ', unsealed: an old format'}"
    )
    if not config.good:
        return [config]
    listed = run.completion.records if _look(NAME, lambda: str(run.completion)).good and run.completion else {}
    findings = [config]
    for name, what in (RECORDS | FURTHER).items():
        if name in ("history.jsonl", "index.jsonl") or (run.path / name).exists() or name in listed:
            findings.append(_look(name, lambda name=name, what=what: f"{_count(run, name)} {what}"))
    findings.append(_look("its task", lambda: f"drawn again, split {run.task.split_hash}"))
    findings += [*_complete(run), *_weights(run, findings), *_states(run), *_measured(run)]
    return findings


def _count(run: Run, name: str) -> int:
    count = sum(1 for _ in run.records(name))
    if name == "history.jsonl" and not (run.path / name).exists():
        raise DamagedFile("missing")
    return count


def _complete(run: Run) -> Iterator[Finding]:
    """Whether complete.json fits, or is missing where the history has come to its end."""
    if not run.sealed:
        return

    def told() -> str:
        completion = run.completion
        if completion:
            return f"{run.state} at step {completion.step}"
        if at_its_end(run) and not holder(run.path):
            raise DamagedFile(
                f"missing, though the history has come to its end: the same command completes the run, or `circuitgrok "
                f"doctor {run.path} --repair` if all else is good"
            )
        return f"not there yet, the run is {run.state}"

    yield _look(NAME, told)


def at_its_end(run: Run) -> bool:
    """Whether nothing is left to train, by the last line of the history."""
    last = last_record(run.path / "history.jsonl") or {}
    over = "diverged" in last or last.get("step") == run.manifest["config"]["schedule"]["steps"]
    return over or "imported" in run.manifest["environment"]


def _weights(run: Run, records: Sequence[Finding]) -> Iterator[Finding]:
    if any(finding.file == "index.jsonl" and not finding.good for finding in records):
        return
    for step in run.steps:
        yield _look(file_name(step), lambda step=step: f"{len(run.at(step))} tensors")
    if gaps := run.thinned:
        removed = sum(gap.removed for gap in gaps)
        yield Finding("thinned", True, f"{removed} checkpoints were removed, in {len(gaps)} gaps")
    unlisted = {file.name for file in run.path.glob("step_*.safetensors")} - {file_name(s) for s in run.steps}
    yield from (Finding(f"unlisted {name}", True, "not in the index, not used") for name in sorted(unlisted))


def _states(run: Run) -> Iterator[Finding]:
    """Resume points, with the records that they speak of, and moments, of which no checkpoint may lack its own."""
    completion = run.completion if _look(NAME, lambda: str(run.completion)).good else None
    wanted = {int(name[5:14]) for name in completion.resume} if completion else set()
    for step in sorted({*resume_steps(run), *wanted}):
        yield _look(f"resume/{file_name(step)}", lambda step=step: _resume_point(run, step))
    kept = {*resume_steps(run, "moments")}
    if completion and run.config.schedule.keep_moments and _look("index.jsonl", lambda: str(run.steps)).good:
        kept |= {*run.steps}
    for step in sorted(kept):
        yield _look(f"moments/{file_name(step)}", lambda step=step: _tensors(run, step, "moments"))


def _resume_point(run: Run, step: int) -> str:
    _, note = read_resume(run, step)
    check_records(run, note)
    return "resume point"


def _tensors(run: Run, step: int, folder: str) -> str:
    return f"{len(read_resume(run, step, folder)[0])} tensors"


def _measured(run: Run) -> Iterator[Finding]:
    """Tables and the llc's files: whatever has a digest or a head beside it, or should have."""
    for folder in (run.path, run.path / "llc"):
        names = {file.name for file in folder.glob("*")} if not folder.is_symlink() else set()
        kept = {
            name.removesuffix(".sha256") for name in names if re.fullmatch(r".+\.(parquet|json|csv|txt)\.sha256", name)
        }
        if run.sealed:
            kept |= {name for name in names if name.endswith(".parquet") or name in ("calibration.json", "summary.txt")}
        for name in sorted(kept):
            file = folder / name
            yield _look(_short(run, file), lambda file=file: f"{len(read_vouched(file))} bytes")
    estimates = {file.name.removesuffix(".head") for file in (run.path / "llc").glob("*.jsonl*")}
    for name in sorted(estimates):
        kept_there = Estimates(run.path / "llc" / name, run.manifest["hash"], run.sealed)
        yield _look(f"llc/{name}", lambda kept=kept_there: f"{sum(1 for _ in kept_estimates(kept))} estimates")
    for name in SUBFOLDERS:
        if (run.path / name).is_symlink():
            yield Finding(f"{name}/", False, "is a link; the folders of a run are plain folders inside it")


def advice(run: Run, findings: Sequence[Finding]) -> str:
    """What can still be used, in one line."""
    damaged = [finding.file for finding in findings if not finding.good]
    if not damaged:
        return f"all {len(findings)} files are good; the run is {run.state}"
    if {"config.json", "index.jsonl"} & {*damaged}:
        return "the run cannot be opened; train it again into another folder, or restore the named file"
    lost = {name for name in damaged if name.startswith("step_")}
    usable = len(run.steps) - len(lost)
    last = [step for step, wrong in resume_points(run).items() if not wrong]
    resume = f"training can go on from step {last[-1]}" if last else "training would start again from step 0"
    good = f"{usable} of {len(run.steps)} checkpoints can be used (name them by steps= or --steps)"
    return f"{len(damaged)} damaged; {good}; {resume}; `circuitgrok doctor {run.path} --repair` mends what can be"


def _short(run: Run, file: Path) -> str:
    return str(file.relative_to(run.path))


def _look(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (ValueError, OSError) as error:
        return Finding(name, False, str(error))
