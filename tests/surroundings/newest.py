"""The newest versions that pyproject.toml allows: the suite on them here, and whether later Pythons find ours.

    .venv/bin/python tests/surroundings/newest.py                     # in a new environment, newest but for torch
    .venv/bin/python tests/surroundings/newest.py --torch             # torch too: gigabytes, where it is a CUDA build
    .venv/bin/python tests/surroundings/newest.py --later 3.12 3.13   # are all versions there for these, and the types?

The environment lies in a temporary folder. A table says which version the suite ran on by constraints.txt and which
is the newest; the tests' exit code is the script's. `-- tests/test_tree.py` runs those instead of the suite.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPU = "https://download.pytorch.org/whl/cpu"


def constraints() -> dict[str, str]:
    """What the suite ran on: version by name, in small letters and with hyphens."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def print_table(found: dict[str, str]) -> None:
    """A line for each package: what the suite ran on, what is here."""
    known = constraints()
    for name in sorted({*found, *known}):
        tried, here = known.get(name, "-"), found.get(name, "-")
        print(f"{name:<40} {tried:<16} {here:<16}" + ("" if tried == here.split("+")[0] else " other"))


def environment(folder: str) -> tuple[str, list[str]]:
    """A new environment's Python, and its pip: the newest, which resolves without downloading what it resolves."""
    venv.create(folder, with_pip=True)
    python = str(Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)
    return python, pip


def on_the_newest(with_torch: bool, given: list[str]) -> int:
    """A new environment, its table, and the exit code of the tests in it."""
    with tempfile.TemporaryDirectory(prefix="newest-") as folder:
        python, pip = environment(folder)
        held = Path(folder) / "held.txt"
        held.write_text("" if with_torch else f"torch=={constraints()['torch']}\n", encoding="utf-8")
        if not with_torch:
            build = f"torch=={constraints()['torch']}" + ("+cpu" if platform.system() == "Linux" else "")
            if subprocess.run([*pip, "install", build], capture_output=True).returncode:
                subprocess.run([*pip, "install", build, "--extra-index-url", CPU], check=True)
        subprocess.run([*pip, "install", "-c", str(held), "-e", f"{ROOT}[dev]"], check=True)
        listing = [
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "list",
            "--format",
            "json",
        ]  # quiet lists nothing
        listed = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
        print_table({one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(listed)})
        return subprocess.run([python, "-m", "pytest", *given], cwd=ROOT).returncode


def resolved(later: str) -> int:
    """Whether every version of constraints.txt is there for a Python, and the types are right by its library.

    Without dependencies, which the file holds all: pip resolves those for another Python from wheels alone, and
    transformers-stream-generator, which TransformerLens needs, has none.
    """
    with tempfile.TemporaryDirectory(prefix="later-") as folder:
        _, pip = environment(folder)
        asked = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--target", folder]
        which = ["--python-version", later, "-r", str(ROOT / "constraints.txt")]
        found = subprocess.run([*pip, *asked, *which]).returncode
    typed = subprocess.run([sys.executable, "-m", "pyright", "--pythonversion", later], cwd=ROOT).returncode
    print(f"Python {later}: {'not all' if found else 'all'} found; pyright ends with {typed}", flush=True)
    return found or typed


def main() -> int:
    """The newest here, or later Pythons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", action="store_true", help="the newest torch too")
    parser.add_argument("--later", nargs="+", metavar="PYTHON", help="look and type-check for these Pythons instead")
    parser.add_argument("given", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    if options.later:
        return max(resolved(later) for later in options.later)
    return on_the_newest(options.torch, options.given)


if __name__ == "__main__":
    sys.exit(main())
