"""circuitgrok: train grokking networks, checkpoint them densely, take every checkpoint apart.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitgrok.config import TrainConfig as TrainConfig
    from circuitgrok.models.transformer import Transformer as Transformer
    from circuitgrok.runs import Run as Run
    from circuitgrok.runs import load as load
    from circuitgrok.tasks.modular import Task as Task
    from circuitgrok.tasks.modular import modular_addition as modular_addition
    from circuitgrok.training import train as train
    from circuitgrok.version import __version__ as __version__

_HOMES = {
    "TrainConfig": "config",
    "Transformer": "models.transformer",
    "Run": "runs",
    "__version__": "version",
    "load": "runs",
    "Task": "tasks.modular",
    "modular_addition": "tasks.modular",
    "train": "training",
}
_MODULES = {
    "config",
    "figures",
    "landscape",
    "lens",
    "measures",
    "polar",
    "presets",
    "published",
    "runs",
    "sweep",
    "tree",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"circuitgrok.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return import_module(f"circuitgrok.{name}")
    raise AttributeError(f"circuitgrok has no {name!r}; it has {', '.join(sorted({*_HOMES, *_MODULES}))}")


def __dir__() -> list[str]:
    return sorted({*_HOMES, *_MODULES})
