"""The inspector in a notebook: the same page as the report's, with the weights of any checkpoint on demand.

It needs the extra `notebook`: `pip install 'circuitgrok[notebook]'`.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from circuitgrok.errors import UserError
from circuitgrok.faces.inspector.packing import packed
from circuitgrok.faces.inspector.payload import payload, weights_of
from circuitgrok.faces.inspector.report import KERNEL, PROGRAM

if TYPE_CHECKING:
    from circuitgrok.store.run import Run


def inspect(*runs: "Run") -> Any:
    """An inspector of one run, or of several beside each other, in Jupyter or VS Code.

    Its `selected` is what is selected in the page, both ways: `run` (0 is the first), `step`, and the `neurons` and
    `frequencies` that are switched off.

    Args:
        runs: One or more, of any kind.

    Returns:
        A widget (anywidget), which a cell shows if it is its last value.

    Raises:
        UserError: No run, a run without checkpoints, or anywidget is not installed.

    Example:
        >>> import circuitgrok as cg
        >>> inspector = cg.inspect(cg.load("checkpoints/reference"))
        >>> inspector.selected
        {'run': 0, 'step': 4000, 'neurons': [], 'frequencies': []}
        >>> inspector.selected = {**inspector.selected, "step": 1500, "frequencies": [5]}
    """
    content, arrays = payload(runs, weights=0)
    first = {"run": 0, "step": int(arrays["0/steps"][-1]), "neurons": [], "frequencies": []}
    kernel = KERNEL.read_bytes() if KERNEL.exists() else b""
    return _widget_class()(runs, payload=packed(content, arrays), kernel=kernel, selected=first)


@cache
def _widget_class() -> Any:
    """The class of the widget, made when it is first needed: anywidget is an extra, and slow to import."""
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise UserError("cg.inspect needs anywidget: pip install 'circuitgrok[notebook]'") from None

    class Inspector(anywidget.AnyWidget):
        """The widget; weights are sent when the page asks for them."""

        _esm = PROGRAM.read_text("utf-8")
        payload = traitlets.Bytes(b"").tag(sync=True)
        kernel = traitlets.Bytes(b"").tag(sync=True)
        selected = traitlets.Dict().tag(sync=True)

        def __init__(self, runs: "tuple[Run, ...]", **values: Any) -> None:
            super().__init__(**values)
            self.runs = runs
            self.on_msg(self._answer)

        def _answer(self, widget: Any, message: Any, buffers: Any) -> None:
            if not isinstance(message, dict) or message.get("kind") != "weights":
                return
            index, step = int(message["run"]), int(message["step"])
            arrays = weights_of(self.runs[index].at(step))
            self.send({"kind": "weights", "run": index, "step": step}, [packed({}, arrays)])

    return Inspector
