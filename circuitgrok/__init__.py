"""circuitgrok: train grokking networks, checkpoint them densely, take every checkpoint apart.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from circuitgrok.rooms import doors

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig as TrainConfig
    from circuitgrok.faces.inspector.report import report as report
    from circuitgrok.faces.inspector.widget import inspect as inspect
    from circuitgrok.faces.listed import runs as runs
    from circuitgrok.foreign.open import open_checkpoints as open_checkpoints
    from circuitgrok.inspection.changed import edited as edited
    from circuitgrok.inspection.verbs import ablate as ablate
    from circuitgrok.inspection.verbs import parts as parts
    from circuitgrok.inspection.verbs import patch as patch
    from circuitgrok.inspection.verbs import radial as radial
    from circuitgrok.inspection.views import compare as compare
    from circuitgrok.inspection.views import neurons as neurons
    from circuitgrok.models.transformer import Transformer as Transformer
    from circuitgrok.store.checkpoints import Checkpoints as Checkpoints
    from circuitgrok.store.reference import reference as reference
    from circuitgrok.store.run import Run as Run
    from circuitgrok.store.run import load as load
    from circuitgrok.store.thinning import thin as thin
    from circuitgrok.store.thinning import thinning as thinning
    from circuitgrok.study.sweep import sweep as sweep
    from circuitgrok.table.columns import columns as columns
    from circuitgrok.table.measure import measure as measure
    from circuitgrok.tasks.modular import Task as Task
    from circuitgrok.tasks.modular import modular_addition as modular_addition
    from circuitgrok.training.loop import train as train
    from circuitgrok.training.slurm import slurm as slurm
    from circuitgrok.version import __version__ as __version__

_HOMES = {
    "Checkpoints": "store.checkpoints",
    "TrainConfig": "config.train_config",
    "Transformer": "models.transformer",
    "Run": "store.run",
    "__version__": "version",
    "ablate": "inspection.verbs",
    "columns": "table.columns",
    "compare": "inspection.views",
    "edited": "inspection.changed",
    "inspect": "faces.inspector.widget",
    "load": "store.run",
    "measure": "table.measure",
    "reference": "store.reference",
    "runs": "faces.listed",
    "neurons": "inspection.views",
    "parts": "inspection.verbs",
    "patch": "inspection.verbs",
    "radial": "inspection.verbs",
    "open_checkpoints": "foreign.open",
    "report": "faces.inspector.report",
    "sweep": "study.sweep",
    "thin": "store.thinning",
    "thinning": "store.thinning",
    "Task": "tasks.modular",
    "modular_addition": "tasks.modular",
    "train": "training.loop",
    "slurm": "training.slurm",
}
_DOORS = {"lens": "foreign.lens"}  # modules that are called by a shorter name
_inside, _names = doors(__name__)


def __getattr__(name: str) -> Any:
    if name in _DOORS:
        return import_module(f"circuitgrok.{_DOORS[name]}")
    if name not in _HOMES:
        return _inside(name)
    value = getattr(import_module(f"circuitgrok.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_HOMES, *_DOORS, *_names()})
