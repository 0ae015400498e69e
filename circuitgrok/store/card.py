"""A run at first sight: one line for a prompt, and a card with its curves for a notebook. Never an error.

Whatever is wrong with a folder, looking at its name must not fail: what cannot be read is said in the line.
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from circuitgrok.measures.learning.crossings import events

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.store.run import Run

WIDTH, HEIGHT = 220, 48  # of the curves, in pixels
CURVES = {"train_acc": "#0072b2", "test_acc": "#d55e00"}  # of Okabe and Ito, told apart by all eyes
POINTS = 200  # of a curve, at most


def line(run: "Run") -> str:
    """A run in one line.

    Example:
        >>> import circuitgrok as cg
        >>> cg.load("checkpoints/reference")
        Run('checkpoints/reference': a + b mod 29, finished after 4000 steps, 26 checkpoints; grokked at step 2150–2160)
    """
    return f"Run({str(run.path)!r}: {_said(run)})"


def card(run: "Run") -> str:
    """The same as HTML, with both accuracies over the logarithm of the step."""
    head = f"<b>{escape(run.name)}</b> <code>{escape(str(run.path))}</code><br>{escape(_said(run))}"
    try:
        curves = _curves(run.history)
    except Exception:  # the line says what cannot be read
        curves = ""
    return f'<div style="font:13px/1.5 system-ui,sans-serif">{head}{curves}</div>'


def _said(run: "Run") -> str:
    try:
        state, config = run.state, run.config
        parts = f"{config.task.formula}, {state}"
        if state == "new":
            return parts
        last = run.history
        n_checkpoints = len(run.steps)
        parts += f" after {last.index[-1]} steps, {n_checkpoints} checkpoint{'s' * (n_checkpoints != 1)}"
        happened = [f"{name} at {event}" for name, event in events(last).items() if event.by is not None]
        return parts + (f"; {happened[-1]}" if happened else "")
    except Exception as error:  # nobody asked for anything but a name
        return f"cannot be read: {error}"


def _curves(history: "pd.DataFrame") -> str:
    """Both accuracies as an SVG picture; nothing where they are not known."""
    import numpy as np

    known = {name: history[name] for name in CURVES if name in history and history[name].notna().all()}
    if not known or len(history) < 2:
        return ""
    chosen = np.unique(np.geomspace(1, len(history), POINTS).astype(int) - 1)
    steps = np.log1p(history.index.to_numpy()[chosen].astype(float))
    across = (WIDTH - 4) * steps / steps[-1] + 2
    lines = "".join(
        f'<polyline fill="none" stroke="{CURVES[name]}" stroke-width="1.5" points="{_points(across, values[chosen])}"/>'
        for name, values in ((name, column.to_numpy()) for name, column in known.items())
    )
    legend = " ".join(f'<span style="color:{CURVES[name]}">{name}</span>' for name in known)
    return (
        f'<br><svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="accuracies over the logarithm of the step">'
        f"{lines}</svg> {legend}, 0 to 1, over log(1 + step)"
    )


def _points(across: Sequence[float], values: Sequence[float]) -> str:
    height = HEIGHT - 4
    return " ".join(f"{x:.1f},{2 + height * (1 - y):.1f}" for x, y in zip(across, values, strict=True))
