"""The newest versions that pyproject.toml allows: the suite on them here, and whether later Pythons find any.

    .venv/bin/python tests/surroundings/newest.py                     # in a new environment, newest but for torch
    .venv/bin/python tests/surroundings/newest.py --torch             # torch too: gigabytes, where it is a CUDA build
    .venv/bin/python tests/surroundings/newest.py --later 3.12 3.13   # resolved and type-checked for these, no tests

The environment lies in a temporary folder. A table says which version the suite ran on by constraints.txt and which
is the newest; the tests' exit code is the script's. `-- tests/test_tree.py` runs those instead of the suite.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPU = "https://download.pytorch.org/whl/cpu"


def constraints() -> dict[str, str]:
    """What the suite ran on: version by name, in small letters and with hyphens."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def requirements(*extras: str) -> list[str]:
    """The project's own, and those of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def print_table(found: dict[str, str]) -> None:
    """A line for each package: what the suite ran on, what is here."""
    known = constraints()
    for name in sorted({*found, *known}):
        tried, here = known.get(name, "-"), found.get(name, "-")
        print(f"{name:<40} {tried:<16} {here:<16}" + ("" if tried == here.split("+")[0] else " other"))


def on_the_newest(with_torch: bool, given: list[str]) -> int:
    """A new environment, its table, and the exit code of the tests in it."""
    with tempfile.TemporaryDirectory(prefix="newest-") as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)
        held = Path(folder) / "held.txt"
        held.write_text("" if with_torch else f"torch=={constraints()['torch']}\n", encoding="utf-8")
        if not with_torch:
            build = f"torch=={constraints()['torch']}" + ("+cpu" if platform.system() == "Linux" else "")
            if subprocess.run([*pip, "install", build], capture_output=True).returncode:
                subprocess.run([*pip, "install", build, "--extra-index-url", CPU], check=True)
        subprocess.run([*pip, "install", "-c", str(held), "-e", f"{ROOT}[dev]"], check=True)
        listed = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, text=True, check=True).stdout
        print_table({one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(listed)})
        return subprocess.run([python, "-m", "pytest", *given], cwd=ROOT).returncode


def resolved(later: str) -> int:
    """Whether pip finds wheels of all requirements for a Python, and whether the types are right by its library."""
    with tempfile.TemporaryDirectory(prefix="later-") as folder:
        report = Path(folder) / "report.json"
        found = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"),
                *("install", "--dry-run", "--ignore-installed", "--target", folder, "--report", str(report)),
                *("--python-version", later, "--only-binary", ":all:", *requirements("dev")),
            ]
        ).returncode
        if found == 0:
            print(f"Python {later}:")
            metadata = [one["metadata"] for one in json.loads(report.read_text("utf-8"))["install"]]
            print_table({one["name"].lower().replace("_", "-"): one["version"] for one in metadata})
    typed = subprocess.run([sys.executable, "-m", "pyright", "--pythonversion", later], cwd=ROOT).returncode
    print(f"Python {later}: {'not ' if found else ''}resolved; pyright ends with {typed}", flush=True)
    return found or typed


def main() -> int:
    """The newest here, or later Pythons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", action="store_true", help="the newest torch too")
    parser.add_argument("--later", nargs="+", metavar="PYTHON", help="resolve and type-check for these Pythons instead")
    parser.add_argument("given", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    if options.later:
        return max(resolved(later) for later in options.later)
    return on_the_newest(options.torch, options.given)


if __name__ == "__main__":
    sys.exit(main())
