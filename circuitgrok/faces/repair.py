"""What can be mended of a damaged run without inventing anything: `circuitgrok doctor RUN --repair`.

A record is rebuilt only where a seal elsewhere proves that the result is what had been written. What was lost for good
is said; a run whose records lost something is interrupted again, and the command that made it goes on from the last
resume point that still fits. Every repair leaves a line in events.jsonl.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.errors import DamagedFile
from circuitgrok.faces.doctor import at_its_end, examine
from circuitgrok.store.completion import NAME, Completion
from circuitgrok.store.files import read_plain, write_atomically
from circuitgrok.store.kept import Estimates, digest_file
from circuitgrok.store.lines import JsonLines, Lines, head_at
from circuitgrok.store.locking import locked
from circuitgrok.store.resume import CUT_BACK, check_records, drop_resume, read_resume, resume_points, resume_steps
from circuitgrok.store.run import Run
from circuitgrok.store.sealed import seal_line
from circuitgrok.store.weights import file_name, note_of
from circuitgrok.store.writer import add_event, complete, reopen, write_records

PROVEN = ("history.jsonl", "index.jsonl", "updates.jsonl")


def repair(run: Run) -> list[str]:
    """Mend what can be mended of a run; what was done, and what could not be, in lines.

    Raises:
        RunError: Another process is writing the run, or it has the format without seals, which prove nothing.
    """
    if not all(finding.good for finding in examine(run)[:1]):
        return ["config.json does not verify: nothing can be mended without it; restore it from a copy"]
    if not run.sealed:
        return ["the run has an old format without seals: nothing proves what its files held"]
    with locked(run.path):
        done = [*_events(run), *_resume_digests(run), *_index(run), *_records(run), *_resume(run), *_completion(run)]
        done += [*_measured(run)]
        if done:
            at = _completion_of(run)
            add_event(run, "repaired", at.step if at else 0, what=[line[:200] for line in done[:100]])
    left = [finding.file for finding in examine(run) if not finding.good]
    return [*done, *(f"{name}: cannot be rebuilt from the other files" for name in left)] or ["nothing to mend"]


def _completion_of(run: Run) -> Completion | None:
    with contextlib.suppress(DamagedFile):
        return run.completion
    return None


def _verifies(run: Run, name: str) -> bool:
    try:
        for _ in run.records(name):
            pass
    except DamagedFile:
        return False
    return True


def _events(run: Run) -> Iterator[str]:
    """Keep the events up to the first that does not verify."""
    file, first = run.path / "events.jsonl", run.first("events.jsonl")
    at, lines = _completion_of(run), Lines(file, first)
    with contextlib.suppress(DamagedFile):
        for _ in lines:
            pass
    said = at.records.get(file.name) if at else None
    whole = not file.exists() or lines.head.bytes + lines.half == file.stat().st_size
    if whole and (said is None or lines.head.lines > said.lines or lines.head == said):
        return
    file.unlink() if file.is_symlink() else None
    head = JsonLines(file, lines.head.bytes, first).head
    if at:
        at._replace(records={**at.records, file.name: head}).write(run.path)
    yield f"{file.name}: {head.lines} events kept, what came after did not verify"


def _resume_digests(run: Run) -> Iterator[str]:
    """Write the digest of a resume point again where complete.json proves it."""
    at = _completion_of(run)
    for name, digest in at.resume.items() if at else ():
        file = run.path / "resume" / name
        with contextlib.suppress(OSError, DamagedFile):
            good = sha256(read_plain(file, file.stat().st_size)) == digest
            if good and not _readable(run, int(name[5:14])):
                write_atomically(digest_file(file), digest.encode())
                yield f"resume/{name}: its digest was written again"


def _readable(run: Run, step: int) -> bool:
    with contextlib.suppress(DamagedFile):
        read_resume(run, step)
        return True
    return False


def _index(run: Run) -> Iterator[str]:
    """Rebuild the index from the checkpoints' own words, if it comes out as complete.json or a resume point says."""
    at, file = _completion_of(run), run.path / "index.jsonl"
    if _verifies(run, file.name):
        return
    proofs = [at.records[file.name].seal] if at and file.name in at.records else []
    for step in reversed(resume_steps(run)):
        with contextlib.suppress(DamagedFile):
            proofs.append(str(read_resume(run, step)[1].get("index_seal")))
    found = []
    for weights in sorted(run.path.glob("step_*.safetensors")):
        with contextlib.suppress(ValueError, OSError):
            content = read_plain(weights, 1 << 34)
            step = int(weights.name[5:14])
            if note_of(content) == {"step": step, "config": run.manifest["hash"]}:
                found.append({"step": step, "file": weights.name, "sha256": sha256(content)})
    chain, seals = run.first(file.name) or "", []
    for entry in found:
        _, chain = seal_line(canonical_json(entry), chain)
        seals.append(chain)
    count = next((seals.index(proof) + 1 for proof in proofs if proof in seals), 0)
    if count:
        write_records(run, file.name, found[:count])
        yield f"{file.name}: rebuilt from {count} checkpoints, and ends in the seal that was written"


def _records(run: Run) -> Iterator[str]:
    """Records that lost something for good: the run is interrupted again."""
    bad = [name for name in PROVEN if not _verifies(run, name)]
    if not bad or "imported" in run.manifest["environment"]:
        return
    had = (run.path / NAME).exists()
    reopen(run)
    usable = [step for step, wrong in resume_points(run).items() if not wrong]
    if had or not usable:
        yield (
            f"{', '.join(bad)}: cannot be rebuilt; the run is interrupted now, and the command that made it goes on "
            f"from step {usable[-1] if usable else 0}"
        )


def _resume(run: Run) -> Iterator[str]:
    """Remove resume points that are not what was written."""
    at = _completion_of(run)
    for step in resume_steps(run):
        if not _readable(run, step):
            drop_resume(run, [step])
            yield f"resume/{file_name(step)}: removed, it does not verify"
    lost = [name for name in (at.resume if at else ()) if not (run.path / "resume" / name).exists()]
    if at and lost:
        at._replace(resume={}).write(run.path)
        yield f"{NAME}: no longer names {', '.join(lost)}, which is lost"


def _completion(run: Run) -> Iterator[str]:
    """Write complete.json again, if the resume point of the last step proves that the records are whole."""
    try:
        if run.completion or not at_its_end(run):
            return
    except DamagedFile:
        pass
    reopen(run)
    end = run.manifest["config"]["schedule"]["steps"]
    if _proven(run, end):
        digest = read_plain(digest_file(run.path / "resume" / file_name(end)), 1000).decode()
        complete(run, "finished", end, {file_name(end): digest}, {})
        yield f"{NAME}: written again, as the resume point of the last step proves"
    else:
        yield f"{NAME}: cannot be proven; the command that made the run completes it"


def _proven(run: Run, end: int) -> bool:
    with contextlib.suppress(DamagedFile):
        note: dict[str, Any] = read_resume(run, end)[1]
        check_records(run, note)
        return all(
            head_at(run.path / f"{name}.jsonl", None, run.first(f"{name}.jsonl")).bytes == note[f"{name}_bytes"]
            for name in CUT_BACK
        )
    return False


def _measured(run: Run) -> Iterator[str]:
    """Cut estimates back to what verifies, and remove tables that do not: all of it can be measured again."""
    for finding in examine(run):
        if finding.good:
            continue
        file = run.path / finding.file
        if file.suffix == ".jsonl" and file.parent.name == "llc":
            count = Estimates(file, run.manifest["hash"]).mend()
            yield f"{finding.file}: {count} estimates kept; measuring again makes the others"
        elif file.suffix in (".parquet", ".csv", ".txt") or finding.file == "llc/calibration.json":
            file.unlink(missing_ok=True)
            digest_file(file).unlink(missing_ok=True)
            yield f"{finding.file}: removed, it does not verify; measuring again makes it"
