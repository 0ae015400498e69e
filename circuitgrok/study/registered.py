"""What was claimed before anything was trained: a file of claims, its digest and commit, and what each can decide.

An analysis with `--claims` writes the file and stops; it is committed, and then the runs are made. The first of them
records the digest and the commit beside the runs, and the verdict says both. A claim that is not in what was recorded
is *post hoc*; so is every claim of a study whose file was not committed before.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.errors import UserError
from circuitgrok.store.files import write_atomically
from circuitgrok.study.asked import Asked, parser_of
from circuitgrok.study.evidence import ALPHA, Declared, Plan

Announced = Declared | str  # a sentence alone is decided by more than the table, when that is there


class Registered(NamedTuple):
    """What was recorded when the first run of a study began.

    Attributes:
        digest: Of the claims.
        commit: That the file of claims was last changed at; empty if it was not committed.
        at: When, in UTC.
        script: Digest of the analysis' own file then.
        texts: What was claimed.
    """

    digest: str
    commit: str
    at: str
    script: str
    texts: list[str]


def plans(claims: Sequence[Announced], n: int) -> list[Plan | None]:
    """What each claim can decide with so many seeds, each at α over the number of claims (Holm's first step)."""
    alpha = ALPHA / max(1, len(claims))
    return [claim.plan(n, alpha) if isinstance(claim, Declared) and claim.plan else None for claim in claims]


def text_of(claim: Announced) -> str:
    """The sentence."""
    return claim if isinstance(claim, str) else claim.text


def refuse_undecidable(claims: Sequence[Announced], n: int) -> None:
    """Refuse a design with which a claim could not hold, whatever came out.

    Raises:
        UserError: Names the claim, why, and what to do.

    Example:
        >>> from circuitgrok.study.claims import Share, where
        >>> claim = Share(where(), lambda rows: rows["test_acc"] > 0.9).exceeds(0.5, "Most runs generalise.")
        >>> refuse_undecidable([claim], 3)
        Traceback (most recent call last):
        circuitgrok.errors.UserError: 3 seeds cannot decide 'Most runs generalise.' (share of runs > 0.5): even 3 of 3 \
has the interval 1 [0.292, 1]; give the study more seeds (default 10), or make fewer claims
    """
    for claim, plan in zip(claims, plans(claims, n), strict=True):
        if plan and not plan.can_hold and isinstance(claim, Declared):
            raise UserError(
                f"{n} seeds cannot decide {claim.text!r} ({claim.rule}): {plan.words}; give the study more seeds "
                "(default 10), or make fewer claims"
            )


def claims_file(question: str, seeds: Sequence[int], claims: Sequence[Announced]) -> bytes:
    """What the file of claims says: question, seeds; of each claim its sentence, its rule and what it can decide."""
    said = [
        {
            "text": text_of(claim),
            "rule": claim.rule if isinstance(claim, Declared) else "",
            "plan": plan.words if plan else "",
        }
        for claim, plan in zip(claims, plans(claims, len(seeds)), strict=True)
    ]
    content = {"question": question, "seeds": list(seeds), "alpha": ALPHA, "claims": said}
    whole = {"digest": sha256(canonical_json(content).encode()), **content}
    return (json.dumps(whole, ensure_ascii=False, indent=1) + "\n").encode()


def write_claims(given: Asked, question: str, seeds: Sequence[int], claims: Sequence[Announced]) -> None:
    """Write the file of claims, and say so; a claim that the seeds cannot decide is refused."""
    refuse_undecidable(claims, len(seeds))
    given.claims.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(given.claims, claims_file(question, seeds, claims))
    print(f"{given.claims}: {len(claims)} claims; commit it, then train")


def announced(
    question: str, script: str, quick: str, seeds: Sequence[int], claims: Sequence[Announced]
) -> tuple[Asked, Registered]:
    """What was asked for of an analysis that trains nothing, and what is recorded of its claims.

    With `--claims` it ends here, when the file of claims is written.

    Args:
        question: Shown by `--help`.
        script: The analysis' own `__file__`.
        quick: What `--quick` makes smaller.
        seeds: Over which claims are decided.
        claims: What is claimed.
    """
    parser = parser_of(question, script, quick, "")
    parser.add_argument("--claims", action="store_true", help="write the file of claims, to commit it, and stop")
    of = parser.parse_args()
    given = Asked(of.quick, of.out, of.threads, None, Path(script))
    if of.claims:
        write_claims(given, question, seeds, claims)
        sys.exit(0)
    return given, registered(given, question, seeds, claims)


def registered(given: Asked, question: str, seeds: Sequence[int], claims: Sequence[Announced]) -> Registered:
    """What is recorded beside a study's runs; by the first call, which is before any run."""
    record = given.out / "runs" / "claims.json"
    if not record.exists():
        content = claims_file(question, seeds, claims)
        is_committed = given.claims.is_file() and given.claims.read_bytes() == content and _is_clean(given.claims)
        made = Registered(
            json.loads(content)["digest"],
            _git("log", "-1", "--format=%h", "--", str(given.claims)) if is_committed else "",
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            _digest(given.script),
            [text_of(claim) for claim in claims],
        )
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, (json.dumps(made._asdict(), ensure_ascii=False, indent=1) + "\n").encode())
    return Registered(**json.loads(record.read_bytes()))


def in_words(record: Registered, script: Path | None) -> str:
    """When claims were made, for a verdict."""
    claims, first = f"Claims (digest {record.digest[:12]})", f"before the first run ({record.at} UTC)"
    if not record.commit:
        return f"{claims} were not committed {first}."
    changed = "" if _digest(script) == record.script else "; the analysis has been changed since then"
    return f"{claims} committed at {record.commit}, {first}{changed}."


def is_post_hoc(text: str, record: Registered) -> bool:
    """Whether a claim was not made before the first run."""
    return not record.commit or text not in record.texts


def commit() -> str:
    """The checkout's commit, marked if it has uncommitted changes; "unknown" outside a checkout.

    Changed results in analyses/out are no such changes: to write them is what analyses are for.
    """
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)analyses/out")
    head = _git("rev-parse", "--short", "HEAD")
    return (head + (" with uncommitted changes" if changes else "")) if head else "unknown"


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _is_clean(file: Path) -> bool:
    tracked = _git("ls-files", "--", str(file))
    return bool(tracked) and not _git("status", "--porcelain", "--", str(file))


def _digest(script: Path | None) -> str:
    return sha256(script.read_bytes()) if script and script.is_file() else ""
