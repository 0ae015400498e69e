"""circuitgrok: train grokking networks, checkpoint them densely, take every checkpoint apart.

Names are loaded when they are first used, so that importing the package costs nothing. Those that matter:

    TrainConfig, train, sweep     what to train, one run or a grid; `until="grokked+500"` stops there
    load, runs, reference         a run from its folder; a table of all runs; the run that comes with the package
    open_checkpoints              networks of other hands: files, folders, state dicts
    measure, columns              a table of numbers along a run; what each of its columns is
    ablate, patch, radial         a checkpoint without a part, with a part of another, at other radii
    edited, parts                 any list of such changes; the parts that there are
    neurons, compare              the neurons by frequency; two checkpoints side by side
    inspect, report               the same to look at: in a notebook, as one offline page
    lens                          TransformerLens: `cg.lens.bridge(run, step)`
    fit_delay                     the time to grok against the norm that is held
    density                       the share of a sphere of weights that fits, and of it that generalises
    local_volume                  the share of the sphere around a checkpoint in which its loss stays low
    susceptibilities              how the loss that each neuron or head causes goes with the loss of each pair
    thinning, thin                fewer checkpoints of a run that is over
    slurm                         who trains a sweep: `cg.sweep(..., executor=cg.slurm("partition=gpu"))`

Rooms are open by their names: `cg.measures.spectra.fourier`, `cg.landscape.llc`, `cg.interventions.penalties`.

Example:
    >>> import circuitgrok as cg
    >>> run = cg.reference()
    >>> cg.runs(run.path)[["alpha", "grokked_by"]].values.tolist()
    [[1.0, 2160.0]]
    >>> cg.measure(run, "polar", [0, 4000])["norm"].round(1).tolist()
    [29.5, 20.7]
    >>> cg.ablate(run, 4000, "freq 5").test_acc.__round__(2), cg.parts(run)[:2]
    (0.85, ['head 0', 'head 1'])
    >>> cg.neurons(run, 4000)["freq"].nunique() < 15, cg.radial(run, 4000, [1.0])["test_acc"].tolist()
    (True, [1.0])
    >>> cg.columns().set_index("name").loc["norm", "file"]
    'polar/path.py'
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
    from circuitgrok.study.delay import fit_delay as fit_delay
    from circuitgrok.study.sweep import sweep as sweep
    from circuitgrok.table.columns import columns as columns
    from circuitgrok.table.density import density as density
    from circuitgrok.table.local_volume import local_volume as local_volume
    from circuitgrok.table.measure import measure as measure
    from circuitgrok.table.susceptibilities import susceptibilities as susceptibilities
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
    "density": "table.density",
    "edited": "inspection.changed",
    "fit_delay": "study.delay",
    "inspect": "faces.inspector.widget",
    "load": "store.run",
    "local_volume": "table.local_volume",
    "measure": "table.measure",
    "reference": "store.reference",
    "runs": "faces.listed",
    "neurons": "inspection.views",
    "parts": "inspection.verbs",
    "patch": "inspection.verbs",
    "radial": "inspection.verbs",
    "open_checkpoints": "foreign.open",
    "report": "faces.inspector.report",
    "susceptibilities": "table.susceptibilities",
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
