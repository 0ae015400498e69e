"""A report: one HTML file that opens offline in any browser, with data, program and kernel inside.

Nothing is fetched: its content security policy allows what is written in it and no address. What a run is called comes
into the page as data or escaped.
"""

import base64
import gzip
import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Union

from circuitgrok.errors import UserError
from circuitgrok.faces.inspector.choosing import KEPT
from circuitgrok.faces.inspector.packing import packed
from circuitgrok.faces.inspector.payload import payload
from circuitgrok.faces.inspector.sweep_page import sweep_payload
from circuitgrok.store.files import write_atomically
from circuitgrok.study.swept import Sweep
from circuitgrok.text import plain

if TYPE_CHECKING:
    from circuitgrok.store.run import Run

WEB = Path(__file__).parents[1] / "web"
PROGRAM = WEB / "inspector.js"
KERNEL = WEB / "kernel" / "kernel.wasm"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>body {{ margin: 0; }} #root {{ min-height: 100vh; }}</style>
</head>
<body>
<div id="root"><noscript>This report draws itself: allow JavaScript. It needs no network.</noscript></div>
<script type="text/plain" id="circuitgrok-payload">{payload}</script>
{kernel}<script type="module">
{program}
</script>
</body>
</html>
"""


def report(
    runs: Union["Run", Sequence["Run"], "Sweep"],
    path: str | os.PathLike[str],
    *,
    weights: int = KEPT,
    tick: Callable[[int, int], None] | None = None,
) -> Path:
    """Write runs as one HTML file to look at, and to lay hands on: `circuitgrok report` on the command line.

    Args:
        runs: One run or several, of any kind; or a sweep, whose phase diagram and curves are written.
        path: The file, ending on .html; `~` is the home folder.
        weights: Weights of at most so many checkpoints of each run are in the page, chosen by what happened in it, and
            fewer where they are large: of one run at p = 113 there is room for six.
        tick: Called with (checkpoints measured, all).

    Returns:
        Where it was written.

    Raises:
        UserError: No run, a run without checkpoints, or a path that is no .html file.

    Example:
        >>> import circuitgrok as cg
        >>> cg.report(cg.load("checkpoints/reference"), "reference.html", weights=1).stat().st_size < 2_000_000
        True
    """
    file = report_path(path)
    if isinstance(runs, Sweep):
        content, arrays = sweep_payload(runs)
        return write_page(file, content["sweep"]["name"], packed(content, arrays))
    given = list(runs) if isinstance(runs, Sequence) else [runs]
    content, arrays = payload(given, weights, tick)
    title = ", ".join(one["name"] for one in content["runs"])
    return write_page(file, title, packed(content, arrays))


def report_path(path: str | os.PathLike[str]) -> Path:
    """Where a report will be written.

    Raises:
        UserError: The name does not end on .html, or it is a folder.
    """
    file = Path(os.path.expanduser(path))
    if file.suffix.lower() not in (".html", ".htm") or file.is_dir():
        raise UserError(f"a report is a file that ends on .html; got {file}")
    return file


def write_page(file: Path, title: str, content: bytes) -> Path:
    """A page with this content, which `web/src/main.js` reads."""
    kernel = KERNEL.read_bytes() if KERNEL.exists() else b""
    wasm = f'<script type="text/plain" id="circuitgrok-kernel">{_text(kernel)}</script>\n' if kernel else ""
    page = PAGE.format(
        policy=POLICY,
        title=escape(plain(title, 200)),
        payload=_text(content),
        kernel=wasm,
        program=PROGRAM.read_text("utf-8").replace("</script", "<\\/script"),
    )
    write_atomically(file, page.encode())
    return file


def _text(content: bytes) -> str:
    """Bytes as a page holds them: compressed, in base64; the same for the same."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")
