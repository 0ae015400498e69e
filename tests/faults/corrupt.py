"""Corrupt a finished run at random, one file at a time, and count what the doctor and the readers find.

    python tests/faults/corrupt.py --count 1000

Every corruption changes the bytes of one file: a bit, a byte, the end, a line that is gone, swapped with another or
edited to other valid JSON, the whole file gone, or the same file of another run of the same shape. A corruption counts
as found by the doctor if a finding names the file, by the reader if whoever reads this file raises a `UserError`, or
says that the run is not finished. Any other exception is a fault of its own.
"""

import argparse
import itertools
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from tiny import tiny

from circuitgrok.canonical import canonical_json
from circuitgrok.errors import UserError
from circuitgrok.faces.doctor import examine
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store.kept import read_vouched, write_vouched
from circuitgrok.store.resume import read_resume
from circuitgrok.store.run import Run
from circuitgrok.table.calibration import calibration_of
from circuitgrok.table.llc import llc_along
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train

HOW = Sampling(step_size=2e-4, localization=1000.0, n_draws=24)
NO_FACTS = (".lock", ".holder")  # who was writing
KINDS = ("bit", "byte", "cut", "line removed", "lines swapped", "edited", "file removed", "file of another run")


class Corruption(NamedTuple):
    """What is done to one file: its bytes afterwards, None if it is removed."""

    file: str
    kind: str
    content: bytes | None


class Outcome(NamedTuple):
    """Who found a corruption, and what else went wrong."""

    doctor: bool
    reader: bool
    fault: str


def made(folder: Path, seed: int) -> Run:
    """A finished run that has every kind of file."""
    config = tiny(seed=seed, steps=12, keep_moments=True, checkpoint_every=4)
    [run] = train([config], folder, names=["run"], save_every_s=0.0)
    llc_along(run, HOW, run.steps[-3:])
    note = {"sampling": HOW.model_dump(mode="json"), "explanation": ["as given"], "table": [{"seed": seed}]}
    write_vouched(run.path / "llc" / "calibration.json", canonical_json(note).encode())
    write_vouched(run.path / "measures.parquet", measure(run, ["polar"]).to_parquet())
    write_vouched(run.path / "summary.txt", f"seed {seed}\nlearned\n".encode())
    return run


def files_with_facts(run: Run) -> dict[str, bytes]:
    """The bytes of each file that says something about the run."""
    return {
        str(file.relative_to(run.path)): file.read_bytes()
        for file in sorted(run.path.rglob("*"))
        if file.is_file() and file.name not in NO_FACTS
    }


def group(name: str) -> str:
    """Files of one kind under one name."""
    return re.sub(r"[0-9a-f]{16}", "*", re.sub(r"step_\d{9}", "step_*", name))


def corruptions(files: dict[str, bytes], others: dict[str, bytes], seed: int) -> Iterator[Corruption]:
    """Random corruptions without end, every kind of file and of corruption in turn."""
    dice = random.Random(seed)
    groups: dict[str, list[str]] = {}
    for name in files:
        groups.setdefault(group(name), []).append(name)
    turns = zip(itertools.cycle(sorted(groups)), itertools.cycle(KINDS), strict=False)  # 19 and 8: every pair comes
    for of_kind, kind in turns:
        name = dice.choice(groups[of_kind])
        changed = _changed(files[name], others.get(name), kind, dice)
        if changed != files[name]:
            yield Corruption(name, kind, changed)


def _changed(content: bytes, other: bytes | None, kind: str, dice: random.Random) -> bytes | None:
    """The bytes after a corruption; unchanged where there is none of this kind."""
    at, lines = dice.randrange(len(content)), content.splitlines(keepends=True)
    text = content.startswith(b"{")
    match kind:
        case "bit":
            return content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :]
        case "byte":
            return content[:at] + dice.randbytes(1) + content[at + 1 :]
        case "cut":
            return content[:at]
        case "line removed" if text and len(lines) > 1:
            del lines[dice.randrange(len(lines))]
            return b"".join(lines)
        case "lines swapped" if text and len(lines) > 1:
            i, j = dice.sample(range(len(lines)), 2)
            lines[i], lines[j] = lines[j], lines[i]
            return b"".join(lines)
        case "edited" if text:
            i = dice.randrange(len(lines))
            said = lines[i].rpartition(b',"seal"')[0]
            places = [digit.start() for digit in re.finditer(rb"(?<=[:\d.])[0-9](?=[\d.,}])", said)]
            if places:
                place = dice.choice(places)
                digit = b"%d" % dice.randrange(1, 10)
                lines[i] = lines[i][:place] + digit + lines[i][place + 1 :]
            return b"".join(lines)
        case "file removed":
            return None
        case "file of another run" if other is not None:
            return other
    return content


def readers(run: Run, name: str) -> list[Callable[[], Any]]:
    """Who reads a file."""
    step = int(found[1]) if (found := re.search(r"step_(\d{9})", name)) else 0
    by_name: dict[str, Callable[[], Any]] = {
        "config.json": lambda: run.config,
        "history.jsonl": lambda: run.history,
        "index.jsonl": lambda: run.index,
        "updates.jsonl": lambda: run.updates,
        "events.jsonl": lambda: run.events,
        "summary.txt": lambda: read_vouched(run.path / "summary.txt"),
        "measures.parquet": lambda: read_vouched(run.path / "measures.parquet"),
        "llc/calibration.json": lambda: calibration_of(run),
    }
    base = name.removesuffix(".sha256").removesuffix(".head")
    folder = name.partition("/")[0]
    if base in by_name:
        return [by_name[base]]
    if folder in ("resume", "moments"):
        return [lambda: read_resume(run, step, folder)]
    if folder == "llc":
        return [lambda: llc_along(run, HOW, run.steps[-3:])]
    return [lambda: run.at(step)] if found else []


def tried(run: Run, corruption: Corruption, whole: bytes) -> Outcome:
    """Corrupt the run, ask the doctor and the readers, and put the file back."""
    file = run.path / corruption.file
    if corruption.content is None:
        file.unlink()
    else:
        file.write_bytes(corruption.content)
    doctor = reader = False
    fault = ""
    try:
        base = Path(corruption.file).name.removesuffix(".sha256").removesuffix(".head")
        bad = [finding for finding in examine(Run(run.path)) if not finding.good]
        doctor = any(base in finding.file or base in finding.note for finding in bad)
        opened = Run(run.path)
        for read in readers(opened, corruption.file):
            try:
                read()
            except UserError:
                reader = True
        try:
            reader |= opened.state != "finished"
        except UserError:
            reader = True
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    finally:
        file.write_bytes(whole)
    return Outcome(doctor, reader, fault)


def attack(folder: Path, count: int, seed: int) -> list[tuple[Corruption, Outcome]]:
    """Make a run and another of the same shape in a folder, and corrupt the first so many times."""
    run, other = made(folder / "one", 0), made(folder / "other", 1)
    files, others = files_with_facts(run), files_with_facts(other)
    assert all(finding.good for finding in examine(run))
    stream = corruptions(files, others, seed)
    found = [(one, tried(run, one, files[one.file])) for one in itertools.islice(stream, count)]
    assert files_with_facts(run) == files and all(finding.good for finding in examine(run))
    return found


def main() -> int:
    """Print how many corruptions of each file and kind there were, and how many nobody found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = attack(Path(folder), options.count, options.seed)
    for title, key in (("file", lambda c: group(c.file)), ("kind", lambda c: c.kind)):
        tries = Counter(key(corruption) for corruption, _ in found)
        print(f"{title:42s} tried  doctor  reader")
        for name, number in sorted(tries.items()):
            seen = [outcome for corruption, outcome in found if key(corruption) == name]
            print(f"{name:42s} {number:5d}  {sum(o.doctor for o in seen):6d}  {sum(o.reader for o in seen):6d}")
    missed = [(c, o) for c, o in found if not (o.doctor and o.reader) or o.fault]
    for corruption, outcome in missed:
        print(f"MISSED {corruption.file}, {corruption.kind}: {outcome}")
    print(f"{len(found) - len(missed)} of {len(found)} found by the doctor and by the reader")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
