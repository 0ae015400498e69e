"""What is written last: how long each record of a complete run is, the seals they end in, where training can go on.

    complete.json    outcome, last step, config.json's seal, lines, bytes and last seal of each record, resume point

A run is finished, diverged or imported if and only if this file is there and fits the others: a kill before it leaves
an interrupted run that the same command completes. Events may be added later; the other records are as long as it says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from circuitgrok.canonical import canonical_json, from_json
from circuitgrok.errors import DamagedFile
from circuitgrok.store.files import open_plain, read_plain, write_atomically
from circuitgrok.store.lines import Head
from circuitgrok.store.records import is_digest, is_step
from circuitgrok.store.sealed import first_seal, open_line, seal_line

NAME = "complete.json"
OUTCOMES = ("finished", "diverged", "imported")
GROWING = "events.jsonl"


class Completion(NamedTuple):
    """The content of complete.json."""

    run: str  # hash of the config
    config: str  # seal of config.json
    outcome: str
    step: int
    records: Mapping[str, Head]
    resume: Mapping[str, str]  # file name -> digest

    def write(self, path: Path) -> None:
        """Put it into the run's folder."""
        text = canonical_json(self._asdict())
        write_atomically(path / NAME, seal_line(text, first_seal(self.run, NAME))[0] + b"\n")

    def check(self, path: Path, name: str, found: Head, half: int = 0) -> None:
        """Compare a record, wholly read, with what is written here.

        Raises:
            DamagedFile: It has lost lines, or has others or more.
        """
        if name not in self.records:
            if found.bytes or half:
                raise DamagedFile(f"{path / name} is damaged: {NAME} knows no such record")
            return
        said = self.records[name]
        if found.lines < said.lines or ((found != said or half) and name != GROWING):
            raise DamagedFile(
                f"{path / name} is damaged: {found.lines} whole lines{' and a half one' * bool(half)}, ending in "
                f"{found.seal[:8]}…, but {said.lines} ending in {said.seal[:8]}… had been written when the run was "
                f"{self.outcome}"
            )

    def glance(self, path: Path) -> None:
        """Compare the ends of the records with what is written here; reads a few bytes of each.

        Raises:
            DamagedFile: A record is missing, has another length or ends in another seal.
        """
        for name, head in self.records.items():
            try:
                with open_plain(path / name) as file:
                    size = file.seek(0, 2)
                    file.seek(max(0, head.bytes - len(head.seal) - 3))
                    end = file.read(len(head.seal) + 3)
            except FileNotFoundError:
                raise DamagedFile(f"{path / name} is missing though {NAME} lists it") from None
            long = size >= head.bytes if name == GROWING else size == head.bytes
            if not long or (head.lines and end != head.seal.encode() + b'"}\n'):
                raise DamagedFile(
                    f"{path / name} is damaged: {size} bytes, and not the {head.bytes} that had been written when the "
                    f"run was {self.outcome}"
                )


def read_completion(path: Path, run: str, config: str) -> Completion | None:
    """The completion of a run, None if it is not complete.

    Args:
        path: The run's folder.
        run: Hash of its config.
        config: Seal of its config.json.

    Raises:
        DamagedFile: The file is not what was written for this run.
    """
    file = path / NAME
    try:
        content = read_plain(file)
    except FileNotFoundError:
        return None
    try:
        if not content.endswith(b"\n"):
            raise ValueError("does not end where it should")
        found = from_json(open_line(content[:-1], first_seal(run, NAME))[0])
        completion = Completion(**found)
        completion = completion._replace(records={name: Head(*head) for name, head in completion.records.items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedFile(f"{file} is damaged, or config.json is of another run: it {error}") from None
    if completion.config != config:
        raise DamagedFile(f"{file} is damaged: it belongs to another config.json (or config.json was changed)")
    right = (
        completion.run == run
        and completion.outcome in OUTCOMES
        and is_step(completion.step)
        and all(
            isinstance(head.seal, str) and head.lines >= 0 and head.bytes >= 0 for head in completion.records.values()
        )
        and all(is_digest(digest) for digest in completion.resume.values())
    )
    if not right:
        raise DamagedFile(f"{file} is damaged: it says what no run can be")
    return completion
