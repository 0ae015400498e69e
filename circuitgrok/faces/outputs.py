"""Where a command writes its table: checked before the work begins, written whole under its name or not at all."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from circuitgrok.errors import UserError
from circuitgrok.store.kept import write_vouched
from circuitgrok.text import show

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.study.swept import Sweep

FORMATS = (".parquet", ".csv")


def table_path(given: str, default: Path) -> Path:
    """Where a table will be written, which must be possible.

    Raises:
        UserError: The name ends on neither of `FORMATS`, or its folder is not there.
        OSError: The folder cannot be written to.
    """
    path = Path(given).expanduser() if given else default
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--out must end on {' or '.join(FORMATS)}, which say what is written; got {path}")
    if path.is_dir():
        raise UserError(f"--out must be a file, and {path} is a folder")
    check_folder(path.parent)
    return path


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there, or that nothing can be written to."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: make it first, or choose another --out")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        error.filename = str(folder)  # not the name that was only tried
        raise


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table in the format that its name says, and its digest beside it."""
    if path.suffix.lower() == ".csv":
        content = table.to_csv(index=table.index.name is not None, lineterminator="\n").encode()
    else:
        content = table.to_parquet(None)
    write_vouched(path, content)


def write_sweep(sweep: "Sweep") -> list[Path]:
    """Write `sweep.parquet`, `sweep.csv` and, where a field takes several values, `phases.png` and `phases.svg`.

    Args:
        sweep: All or some of whose runs are there; the files go into its folder. One that cannot be drawn on a sheet
            has its table alone, and that is said.

    Returns:
        The files.
    """
    from circuitgrok.figures import save

    table = sweep.table
    written = [sweep.out / f"sweep{suffix}" for suffix in FORMATS]
    for path in written:
        write_table(table, path)
    if sweep.swept and table["steps"].notna().any():
        try:
            written += save(sweep.plot(), sweep.out / "phases")
        except UserError as error:
            show(f"no figure: {error}")
    return written
