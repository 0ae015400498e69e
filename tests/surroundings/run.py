"""The tests in other surroundings: other arithmetic, orders, locales and folders, each in a process of its own.

    .venv/bin/python tests/surroundings/run.py                         # the tests marked `bits`, in all surroundings
    .venv/bin/python tests/surroundings/run.py --only plain read-only  # in these
    .venv/bin/python tests/surroundings/run.py --all-tests             # the whole suite, in all: an hour and more
    .venv/bin/python tests/surroundings/run.py -- tests/test_mlp.py    # other arguments for pytest

A line for each: what it is, how many tests passed and failed, seconds, pytest's exit code; the failed ones below it.
Ends with 1 if anything failed. What this machine cannot do is skipped, with a line that says why.
"""

import argparse
import contextlib
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from not_intel import not_intel

ROOT = Path(__file__).resolve().parents[2]


class Skipped(Exception):
    """This machine cannot do it."""


@dataclass(frozen=True)
class Surroundings:
    """What differs from an ordinary run of the tests."""

    what: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    folder: str = ""  # a copy of the checkout, under this name
    read_only: bool = False
    preload: bool = False  # not_intel.c


SEED = random.randrange(2**16)
TABLE = {
    "plain": Surroundings("as everywhere"),
    "aten-default": Surroundings("torch's kernels without vectors", {"ATEN_CPU_CAPABILITY": "default"}),
    "aten-avx2": Surroundings("torch's kernels for AVX2", {"ATEN_CPU_CAPABILITY": "avx2"}),
    "mkl-compatible": Surroundings("MKL's oldest path", {"MKL_CBWR": "COMPATIBLE"}),
    "mkl-avx2": Surroundings("MKL's kernels for AVX2", {"MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
    "onednn-sse41": Surroundings("oneDNN's kernels for SSE4.1", {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "not-intel": Surroundings("MKL's and torch's kernels on an AMD", {"ATEN_CPU_CAPABILITY": "avx2"}, preload=True),
    "threads-1": Surroundings("one thread", {"OMP_NUM_THREADS": "1"}),
    # one worker: two of them on two cores would wait for each other's threads, seven times as long
    "threads-2": Surroundings("two threads", {"OMP_NUM_THREADS": "2"}, ("-n", "0")),
    "threads-4": Surroundings("four threads", {"OMP_NUM_THREADS": "4"}, ("-n", "0")),
    "shuffled": Surroundings(
        f"another order of tests and sets, by seed {SEED}", {"PYTHONHASHSEED": str(SEED)}, ("--shuffle", str(SEED))
    ),
    "c-locale": Surroundings("LC_ALL=C", {"LC_ALL": "C"}),
    "read-only": Surroundings("a checkout that nobody may write to", folder="read-only", read_only=True),
    "odd-folder": Surroundings("a folder with a space and an umlaut", folder="Ein Ördner"),
}


def preloaded(scratch: Path) -> str:
    """The library made of not_intel.c."""
    library = not_intel(scratch)
    if library is None:
        raise Skipped("needs Linux, a C compiler, and a torch with Intel's BLAS")
    return str(library)


@contextlib.contextmanager
def checkout(at: Surroundings, scratch: Path) -> Iterator[tuple[Path, list[str]]]:
    """Where the tests run, and the words before their command."""
    if not at.folder:
        yield ROOT, []
        return
    copy = scratch / at.folder
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        raise Skipped("what belongs to the checkout is git's to say, and git does not")
    for name in filter(None, listed.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    if not at.read_only:
        yield copy, []
    elif getattr(os, "geteuid", lambda: 1)():
        subprocess.run(["chmod", "-R", "a-w", copy], check=True)
        try:
            yield copy, []
        finally:
            subprocess.run(["chmod", "-R", "u+w", copy], check=True)
    else:  # permission bits do not stop root: a mount does, which only the process and its children see
        mount = ["unshare", "--mount", "sh", "-c", 'mount --bind -o ro "$0" "$0" && cd "$0" && exec "$@"', str(copy)]
        if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
            raise Skipped("root, who may not mount here, cannot make a folder read-only")
        yield copy, mount


def command_of(at: Surroundings, given: list[str], all_tests: bool) -> list[str]:
    """The tests, without what the machine would have to be for."""
    chosen = [] if all_tests or given else ["-m", "bits and not slow and not gpu", "tests"]
    return [sys.executable, "-m", "pytest", "--tb=short", "-rfE", *at.arguments, *chosen, *given]


def tried(name: str, given: list[str], all_tests: bool) -> int | None:
    """Run the tests in these surroundings, print what came of it; pytest's exit code, none if it was skipped."""
    at, begun = TABLE[name], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="surroundings-", ignore_cleanup_errors=True) as scratch:
        try:
            differs = at.environment | ({"LD_PRELOAD": preloaded(Path(scratch))} if at.preload else {})
            with checkout(at, Path(scratch)) as (folder, before):
                command = command_of(at, given, all_tests)
                said = shlex.join([*(f"{key}={value}" for key, value in differs.items()), "python", *command[1:]])
                print(f"{name}: {at.what}\n    {said}", flush=True)
                environment = {**os.environ, **differs, "PYTHONPATH": str(folder)}
                said_by = {"capture_output": True, "text": True, "encoding": "utf-8", "errors": "replace"}
                done = subprocess.run([*before, *command], cwd=folder, env=environment, **said_by)
        except Skipped as why:
            print(f"{name}: skipped: {why}", flush=True)
            return None
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|error)", done.stdout[-300:])}
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(f"    {line}")
    if not counts:
        print(done.stdout[-2000:], done.stderr[-2000:])
    passed, failed = counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0)
    print(
        f"    {passed} passed, {failed} failed, {time.monotonic() - begun:.0f} s, exit code {done.returncode}",
        flush=True,
    )
    return done.returncode


def main() -> int:
    """All that are asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TABLE, default=list(TABLE), metavar="NAME", help=", ".join(TABLE))
    parser.add_argument("--all-tests", action="store_true", help="the whole suite, not only the tests marked `bits`")
    parser.add_argument("given", nargs="*", help="arguments for pytest instead, after --")
    options = parser.parse_args()
    codes = {name: tried(name, options.given, options.all_tests) for name in options.only}
    bad, green = [name for name, code in codes.items() if code], [name for name, code in codes.items() if code == 0]
    print(f"{len(green)} of {len(codes)} surroundings are green" + (f"; not {', '.join(bad)}" if bad else ""))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
