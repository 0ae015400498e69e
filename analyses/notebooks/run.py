"""Runs notebooks from top to bottom and keeps what they show: `python analyses/notebooks/run.py [NAME ...]`.

What differs from one run to the next and says nothing is left out: times, progress, counts and version of the kernel,
warnings.
"""

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def shown(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with outputs, and with nothing else that running it leaves there."""
    where = {"metadata": {"path": str(HERE)}}
    NotebookClient(notebook, timeout=600, resources=where, coalesce_streams=True).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr" and not is_progress(out)]
            for out in cell.outputs:
                out.pop("execution_count", None)
                out.pop("metadata", None)
                if out.output_type == "execute_result":
                    out.output_type = "display_data"
                if out.output_type == "display_data":
                    out.metadata = {}
                    if "image/png" in out.data:
                        out.data.pop("text/plain", None)
    return notebook


def is_progress(out: Any) -> bool:
    """Whether an output is a line of progress: how many there are depends on the machine."""
    return re.match(r"[^\n]+: step \d+/\d+", str(out.get("data", {}).get("text/plain", ""))) is not None


if __name__ == "__main__":
    for file in sorted(HERE.glob("*.ipynb")):
        if file.stem in sys.argv[1:] or not sys.argv[1:]:
            content = shown(nbformat.read(file, as_version=4))
            nbformat.validate(content)
            nbformat.write(content, file)
            print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB")
