"""Prints the path of a library that, preloaded, makes Intel's BLAS take the path of other makers' processors.

Nothing is printed where it cannot be: there is no C compiler, the system is not Linux, or torch has another BLAS.

    library=$(python tests/surroundings/not_intel.py [FOLDER])
    LD_PRELOAD=$library pytest tests/test_apart.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def not_intel(folder: Path) -> Path | None:
    """The library, compiled into a folder; None where it cannot be."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None or sys.platform != "linux" or not _has_mkl():
        return None
    library = folder / "not_intel.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(Path(__file__).with_suffix(".c"))]
    done = subprocess.run(command, capture_output=True)
    return library if done.returncode == 0 else None


def _has_mkl() -> bool:
    import torch

    return torch.backends.mkl.is_available()


if __name__ == "__main__":
    into = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    print(not_intel(into) or "")
