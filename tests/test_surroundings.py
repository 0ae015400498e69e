"""Whatever the caller set for torch and numpy: entry points give the bits of a plain process, and leave it set."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from loops import for_each
from tiny import copied, files_of, tiny

from circuitgrok.faces.summary import summary_lines
from circuitgrok.figures import run_figure
from circuitgrok.foreign.imported import write_run
from circuitgrok.foreign.lens import to_bridge
from circuitgrok.foreign.reading import read_published
from circuitgrok.landscape.exploration import explore
from circuitgrok.landscape.hessian import extreme_eigenpairs, hessian_operator
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.models.transformer import Transformer
from circuitgrok.store.run import Run
from circuitgrok.surroundings import in_plain_surroundings, plain_surroundings
from circuitgrok.table.calibration import step_bias
from circuitgrok.table.explore import explore_run
from circuitgrok.table.llc import llc_along, llc_of
from circuitgrok.table.measure import measure
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.training.loop import train

HOW = Sampling(step_size=1e-5, localization=100.0, n_draws=8, n_burnin=2, n_chains=2)


@contextlib.contextmanager
def for_all(get, put, value):
    """A global setting, set for the time of the test."""
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


SETTINGS = {
    "grad off": lambda: for_all(torch.is_grad_enabled, torch.set_grad_enabled, False),
    "inference mode": torch.inference_mode,
    "default device": lambda: for_all(lambda: None, torch.set_default_device, "meta"),
    "device in a with": lambda: torch.device("meta"),
    "float64": lambda: for_all(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "bfloat16": lambda: for_all(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "coarse products": lambda: for_all(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "deterministic": lambda: for_all(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "numpy raises": lambda: np.errstate(all="raise"),
    "numpy prints one digit": lambda: np.printoptions(precision=1),
}


def state() -> tuple[object, ...]:
    """What a caller can see of the settings, and of the generator that all share."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_device(),
        torch.zeros(1).device,
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_num_threads(),
        tuple(sorted(np.geterr().items())),
        np.get_printoptions()["precision"],
        torch.random.get_rng_state().numpy().tobytes(),
    )


def trained(run: Run) -> object:
    with tempfile.TemporaryDirectory() as out:
        [one] = train([tiny(steps=9, dropout_mlp=0.1)], out)
        return {name: content for name, content in files_of(one.path).items() if name.endswith("safetensors")}


def measured(run: Run) -> object:
    table = measure(run, ["polar", "circuits", "forms", "orbits", "neurons", "ablations", "hessian"], [0, 24])
    return table.to_dict("list"), table.attrs


def llc(run: Run) -> object:
    with contextlib.suppress(FileNotFoundError):
        (run.path / "llc").rename(Path(tempfile.mkdtemp()) / "llc")  # else it would be read back
    return llc_along(run, HOW, [24]).to_dict("list")


def llc_of_weights(run: Run) -> object:
    return llc_of({name: value[None] for name, value in run.at(24).items()}, run.config.model, run.task, HOW).mean_loss


def explored(run: Run) -> object:
    return explore_run(run, 24, HOW).table.to_dict("list")


def explored_from_its_own_task(run: Run) -> object:
    """Weights and a task that were made in the caller's surroundings, where these can make them at all."""
    with plain_surroundings() if torch.zeros(1).is_meta else contextlib.nullcontext():
        model, task = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16), modular_addition(5, 0.5, 0)
        weights = {name: torch.full(shape, 0.1, dtype=torch.float32) for name, shape in model.shapes().items()}
    return explore(weights, model, task, HOW).table.to_dict("list")


def bias(run: Run) -> object:
    return step_bias(run, HOW, [24]).to_dict("list")


def hessian(run: Run) -> object:
    with plain_surroundings():
        at, draws = torch.tensor([0.5, 2.0], dtype=torch.float64), torch.Generator().manual_seed(0)
        operator = hessian_operator(lambda w: w.square().prod().cos() + torch.ones(2).sum(), at)
    return extreme_eigenpairs(operator, 2, n_top=1, n_bottom=0, generator=draws)


def weights(run: Run) -> object:
    return {**run.at(24), **{f"all {name}": value for name, value in run.stack().items()}}


def bridged(run: Run) -> object:
    return dict(to_bridge(run.at(24), run.config.transformer).state_dict())


def imported(run: Run) -> object:
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "old.pth"
        with plain_surroundings():
            torch.save(run.at(24), file)
        told = {"frac_train": 0.5, "data_seed": 0, "split": "nanda"}
        one = write_run(read_published(file, "hooked-transformer", steps=24, **told), Path(out) / "run")
        return {**files_of(one.path), "config.json": None}


def summed_up(run: Run) -> object:
    table = measure(run, ["polar", "circuits", "fourier"])
    return summary_lines(run, table), [text.get_text() for ax in run_figure(run, table).axes for text in ax.texts]


ENTRIES = {
    entry.__name__: entry
    for entry in (
        trained, measured, llc, llc_of_weights, explored, explored_from_its_own_task, bias, hessian, weights, bridged,
        imported, summed_up,
    )
}  # fmt: skip


# All entries under what breaks most, one entry under everything; the rest of the table is slow.
QUICK = [(entry, setting) for entry in ENTRIES for setting in ("inference mode", "bfloat16")]
QUICK += [("trained", setting) for setting in SETTINGS]
PAIRS = [
    pytest.param(entry, setting, marks=() if (entry, setting) in QUICK else pytest.mark.slow)
    for entry in ENTRIES
    for setting in SETTINGS
]


def as_bytes(value: object) -> object:
    """For comparison by bits: nan is nan, and tensors are what they hold."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), str(value.device), tuple(value.shape), value.detach().numpy().tobytes())
    if isinstance(value, dict):
        return {name: as_bytes(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_bytes(one) for one in value]
    return float(value).hex() if isinstance(value, float) else value


@pytest.fixture(scope="module")
def own(finished, tmp_path_factory) -> Run:
    """A run of this file's own, for some entry points write into it."""
    return copied(finished, tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def plain() -> dict[str, object]:
    """What each entry point gives in a plain process."""
    return {}


@pytest.mark.parametrize(("entry", "setting"), PAIRS)
def test_entry_points_give_the_same_bits_and_leave_the_setting(entry, setting, own, plain):
    if entry not in plain:
        plain[entry] = as_bytes(ENTRIES[entry](own))
    with SETTINGS[setting]():
        before = state()
        found = ENTRIES[entry](own)
        assert state() == before
    assert as_bytes(found) == plain[entry]


@for_each("setting", SETTINGS)
def test_a_refusal_leaves_the_setting_too(setting, own):
    with SETTINGS[setting]():
        before = state()
        with pytest.raises(ValueError, match="unknown measures"):
            measure(own, "polr")  # pyright: ignore
        with pytest.raises(ValueError, match="every run needs a name"):
            train([tiny()], names=["one", "two"])
        assert state() == before


@for_each("entry", ENTRIES)
def test_threads_are_the_callers_afterwards(entry, own):
    with for_all(torch.get_num_threads, torch.set_num_threads, 2):
        ENTRIES[entry](own)
        assert torch.get_num_threads() == 2


def test_weights_that_were_read_in_inference_mode_can_be_trained_on(own):
    with torch.inference_mode():
        read, made = own.at(0), torch.ones(2)
    assert not any(value.is_inference() for value in read.values()) and made.is_inference()

    @in_plain_surroundings
    def square(x):
        return x.requires_grad_().square().sum()

    square(made).backward()
    assert made.grad is None  # a copy has it
