"""The browser's kernel, run in node: every kind of network and every edit has the numbers of Python."""

import base64
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loops import for_each
from test_last_block import random_params
from test_replaced import MLPS, SHAPES, TASK, random_mlp, transformer
from test_verbs import IN_TURN
from tiny_kinds import tiny_kind
from torch import Tensor

import circuitgrok as cg
from circuitgrok import select
from circuitgrok.errors import UserError
from circuitgrok.inspection.available import parts_of
from circuitgrok.inspection.edits import edits_of
from circuitgrok.inspection.networks import Network
from circuitgrok.inspection.part_names import FILLS, parse
from circuitgrok.measures.spectra.fourier import fourier_basis
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tasks.modular import ANSWERS, ModularAddition, Task
from circuitgrok.tasks.operations import as_addition
from circuitgrok.tree import Params

KERNEL = Path(cg.__file__).parent / "faces" / "web" / "kernel"
SCRIPTS = Path(__file__).parent / "web"
OLDEST = 20  # of node: the first whose modules and WebAssembly have all that the kernel uses
KEYS = (1, 3)


def node() -> str:
    """The path of node, or a skip that says what is missing."""
    found = shutil.which("node")
    if found is None:
        pytest.skip(f"node {OLDEST} or newer runs the kernel outside a browser, and there is none")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST:
        pytest.skip(f"node {OLDEST} or newer runs the kernel outside a browser; found {version}")
    return found


def run(script: str, document: Any) -> Any:
    """What a script prints about a document."""
    command = [node(), str(SCRIPTS / script)]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, encoding="utf-8")
    assert not done.stderr and done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def results(
    networks: list[dict[str, Any]], tried: list[Any], *, compiled: bool = True, keep: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """What the kernel makes of the first network under each list of edits; the second is their source."""
    sources = {"source": 1} if len(networks) > 1 else {}
    jobs = [{"network": 0, "edits": edits, "sources": sources, "keep": keep} for edits in tried]
    return run("edits.mjs", {"kernel": str(KERNEL), "compiled": compiled, "networks": networks, "jobs": jobs})


def functions(*calls: tuple[Any, ...]) -> list[Any]:
    """What functions of the kernel's modules give: (module, name, arguments...)."""
    return run("functions.mjs", {"kernel": str(KERNEL), "calls": calls})


def weights_of(params: Params) -> dict[str, Any]:
    return {name: {"shape": [*value.shape], "data": value.flatten().tolist()} for name, value in params.items()}


def task_of(task: Dataset) -> dict[str, Any]:
    if not isinstance(task, Task):
        given = "features" if task.inputs.is_floating_point() else "inputs"
        rest = {"labels": task.labels.tolist(), "is_train": task.is_train.tolist()}
        return {given: task.inputs.flatten().tolist(), **rest}
    return {
        "p": task.p,
        "operation": task.operation,
        "inputs": task.inputs.tolist(),
        "labels": task.labels.tolist(),
        "is_train": task.is_train.tolist(),
    }


def document_of(one: Network) -> dict[str, Any]:
    model = one.model.model_dump(mode="json")
    return {"model": model, "task": task_of(one.task), "weights": weights_of(one.params)}


def opened(name: str, dtype: torch.dtype, seed: int = 0) -> Network:
    model = transformer(name) if name in SHAPES else MLPS[name]
    params = random_params(transformer(name), seed) if name in SHAPES else random_mlp(model)
    return Network(model, TASK, {name: value.to(dtype) for name, value in params.items()})


def every_ablation(one: Network) -> list[list[dict[str, str]]]:
    """Each part with each fill, some neurons, and several parts at once."""
    parts = [*parts_of(one.model, KEYS), "neuron 2,5", "cluster 1,3"]
    single = [[{"kind": "ablate", "part": part, "fill": fill}] for part in parts for fill in FILLS[parse(part).what]]
    many = [{"kind": "ablate", "part": part} for part in ("waves 1", "neuron 0", "excluded 3")]
    if one.model.has_heads:
        many += [{"kind": "ablate", "part": "head 1", "fill": "mean"}, {"kind": "ablate", "part": "skip"}]
    return [[], *single, many]


SCORES = ("train_loss", "test_loss", "train_acc", "test_acc")


def agree(ours: dict[str, Any], one: Network, edits: Any, sources: dict[str, Params], loss: float, logit: float):
    """Losses to `loss` times (1 + theirs), logits to `logit` times the largest; accuracies where no answer is a tie."""
    assert "error" not in ours, (edits, ours)
    theirs = one.after(edits_of(edits), sources)
    expected = one.scores(theirs.logits)
    largest = theirs.logits.abs().max().item()
    logits = torch.tensor(ours["logits"], dtype=torch.float64).view(theirs.logits.shape)
    assert (logits - theirs.logits).abs().max().item() <= logit * largest, edits
    assert ours["classes"] == theirs.logits.shape[1]
    for name in SCORES[:2]:
        assert abs(ours[name] - getattr(expected, name)) <= loss * (1 + abs(getattr(expected, name))), (edits, name)
    best = theirs.logits.topk(2).values
    if bool((best[:, 0] - best[:, 1] > 4 * logit * largest).all()):
        assert [ours[name] for name in SCORES[2:]] == [getattr(expected, name) for name in SCORES[2:]], edits


# Compiled: float32, whose rounding is 6e-8; sums of a hundred terms and products of some matrices lose two digits.
# Plain: float64 throughout; only the error function's series and Python's own rounding differ.
ARITHMETICS = {"compiled": (True, torch.float32, 1e-5, 1e-5), "plain": (False, torch.float64, 1e-11, 1e-11)}


@for_each(("name", "arithmetic"), [(name, kind) for name in (*SHAPES, *MLPS) for kind in ARITHMETICS])
def test_every_kind_and_every_ablation_has_the_numbers_of_python(name, arithmetic):
    compiled, dtype, loss, logit = ARITHMETICS[arithmetic]
    one = opened(name, dtype)
    tried = every_ablation(one)
    for edits, ours in zip(tried, results([document_of(one)], tried, compiled=compiled), strict=True):
        agree(ours, one, edits, {}, loss, logit)


WEIGHTS = [
    {"kind": "scale", "factor": 1.25},
    {"kind": "scale", "factor": 0.5, "weights": "attention"},
    {"kind": "scale", "factor": 0.5, "weights": "blocks.*.attn.W_[!QK]"},
    {"kind": "patch", "weights": "head 1"},
    {"kind": "patch", "weights": "layer 0 head 0"},
    {"kind": "patch", "weights": "blocks.0"},
    {"kind": "patch", "weights": "blocks.1.attn.head.1"},
    {"kind": "patch", "weights": "neuron 3,7"},
    {"kind": "move", "t": 0.3},
    {"kind": "move", "t": 0.3, "path": "great_circle", "weights": "mlp"},
    *(
        {"kind": "patch", "what": what, "grain": grain}
        for what in ("radius", "direction")
        for grain in ("global", "role", "tensor", "head", "part", "neuron")
    ),
]


@for_each("arithmetic", ARITHMETICS)
def test_every_edit_of_weights_has_the_numbers_of_python(arithmetic):
    compiled, dtype, loss, logit = ARITHMETICS[arithmetic]
    one, other = opened("two layers", dtype), opened("two layers", dtype, seed=100)
    tried = [[edit] for edit in WEIGHTS] + [[*WEIGHTS[:4], {"kind": "ablate", "part": "head 0"}]]
    found = results([document_of(one), document_of(other)], tried, compiled=compiled)
    for edits, ours in zip(tried, found, strict=True):
        agree(ours, one, edits, {"source": other.params}, loss, logit)


@for_each("name", ["embedding", "dense"])
def test_edits_of_weights_of_dense_layers(name):
    one, other = opened(name, torch.float32), opened(name, torch.float32)
    other = other._replace(params={name: value.flip(0) for name, value in other.params.items()})
    tried = [[{"kind": "patch", "weights": "neuron 2,5"}], [{"kind": "patch", "what": "radius", "grain": "neuron"}]]
    for edits, ours in zip(tried, results([document_of(one), document_of(other)], tried), strict=True):
        agree(ours, one, edits, {"source": other.params}, 1e-5, 1e-5)


@for_each("operation", [*ANSWERS, "random"])
def test_every_operation_has_its_pairs_labels_and_hidden_addition(operation):
    task = ModularAddition(p=11, frac_train=0.5, operation=operation).draw()
    hidden = as_addition(task)
    full = task_of(task)
    mask = base64.b64encode(np.packbits(task.is_train.numpy(), bitorder="little").tobytes()).decode()
    short = {"p": 11, "operation": operation, "train_mask": mask}
    if operation == "random":
        short["labels"] = task.labels.tolist()
    flat = full | {"inputs": task.inputs.flatten().tolist()}
    for found in functions(*(("task", "Task", g) for g in (full, short, flat))):
        assert found["a"] == task.inputs[:, 0].tolist() and found["b"] == task.inputs[:, 1].tolist()
        assert found["labels"] == task.labels.tolist()
        assert found["isTrain"] == task.is_train.int().tolist()
        assert found["m"] == hidden.m and found["order"] == hidden.pairs.tolist()
        residue = torch.arange(hidden.m)
        sums = torch.tensor(found["sums"])[hidden.pairs]
        assert torch.equal(sums, ((residue[:, None] + residue) % hidden.m).flatten())


@for_each("operation", ["multiply", "divide", "subtract"])
def test_ablations_of_frequencies_under_other_operations(operation):
    task = ModularAddition(p=7, frac_train=0.5, operation=operation).draw()
    one = opened("one layer", torch.float32)._replace(task=task)
    tried = [[{"kind": "ablate", "part": part}] for part in ("waves 2", "excluded 2", "restricted 1,3", "no cluster 1")]
    for edits, ours in zip(tried, results([document_of(one)], tried), strict=True):
        agree(ours, one, edits, {}, 1e-5, 1e-5)


@for_each("name", ["composition", "dihedral", "parity", "digits"])
def test_tasks_without_numbers_have_their_losses_and_no_frequencies(name):
    config = tiny_kind(name)
    params = config.model.init(torch.Generator().manual_seed(0))
    one = Network(config.model, config.task.draw(), {name: value.float() for name, value in params.items()})
    tried = [[], *([{"kind": "ablate", "part": part}] for part in ("neuron 0,3", *parts_of(one.model, ())))]
    *found, refused = results([document_of(one)], [*tried, [{"kind": "ablate", "part": "freq 1"}]])
    assert "frequencies are of tasks on all pairs of numbers" in refused["error"]
    for edits, ours in zip(tried, found, strict=True):
        agree(ours, one, edits, {}, 1e-5, 1e-5)


def test_a_trained_network_has_its_losses_and_clusters():
    run = cg.load("checkpoints/reference")
    tried = [[], *([{"kind": "ablate", "part": part}] for part in cg.parts(run))]
    tried += [
        [{"kind": "ablate", "part": "cluster 5,6,9", "fill": "polynomial"}],
        *IN_TURN,
        *(e[::-1] for e in IN_TURN),
    ]
    for step in (500, 4000):
        one = Network(run.config.model, run.task, run.at(step))
        for edits, ours in zip(tried, results([document_of(one)], tried), strict=True):
            expected = one.scores(one.after(edits_of(edits)).logits)
            for name in SCORES:
                # Losses to 1e-5; accuracies to one answer of 420, where two logits are all but the same.
                bound = 1e-5 if "loss" in name else 1.01 / 420
                assert getattr(expected, name) == pytest.approx(ours[name], rel=1e-5, abs=bound), (step, edits)


@for_each("name", ["two layers", "without =", "summed"])
def test_what_a_network_holds_can_be_looked_at(name):
    one = opened(name, torch.float32)
    tried = [[], [{"kind": "ablate", "part": "neuron 2,5", "fill": "mean"}]]
    found = results([document_of(one)], tried, keep=("neurons", "reads", "pattern"))
    for edits, ours in zip(tried, found, strict=True):
        theirs = one.after(edits_of(edits))
        for held in ("neurons", "reads", "pattern"):
            value: Tensor | None = getattr(theirs, held)
            if value is None:
                assert held not in ours
            else:
                difference = torch.tensor(ours[held]).view(value.shape) - value
                assert difference.abs().max() <= 1e-5 * max(1.0, value.abs().max().item()), (edits, held)


BAD = {
    "head 2": "there are 2 heads",
    "neuron 12": "there are 12 neurons",
    "freq 4": r"frequencies must be in 1\.\.3",
    "layer 1 mlp": "there are 1 layers",
    "hed 0": "no part 'hed 0'",
    "waves": "no part",
}


def test_what_is_no_edit_is_refused_in_the_browser_too():
    one = document_of(opened("one layer", torch.float32))
    edits = [[{"kind": "ablate", "part": part}] for part in BAD]
    others = {
        "no tensor matches 'atention'": {"kind": "scale", "factor": 2, "weights": "atention"},
        "under the name 'source'": {"kind": "patch"},
        "no edit 'cut'": {"kind": "cut"},
        "zero or mean": {"kind": "ablate", "part": "mlp", "fill": "uniform"},
    }
    found = results([one], [*edits, *([other] for other in others.values())])
    for words, ours in zip([*BAD.values(), *others], found, strict=True):
        with pytest.raises(ValueError, match=words):
            raise ValueError(ours.get("error", "nothing was refused"))
    mlp = document_of(opened("quadratic", torch.float32))
    [ours] = results([mlp], [[{"kind": "ablate", "part": "head 0"}]])
    assert "has neurons alone" in ours["error"]


def test_the_grammar_of_parts_is_the_same():
    texts = ["head 0", "freq 8, 5", "only freq 5", "layer 1", "layer 0 head 2", "neuron 3,3,1", "no cluster 2", "mlp"]
    texts += ["", "head", "head 0,1", "layer 0 waves 3", "skip 1", "layer"]
    found = functions(*(("parts", "parsePart", text) for text in texts))
    for text, ours in zip(texts, found, strict=True):
        try:
            part = parse(text)
        except ValueError:
            assert "error" in ours, text
            continue
        assert (ours["what"], tuple(ours["numbers"]), ours["layer"]) == part, text


def test_patterns_choose_the_same_tensors():
    there = [*transformer("LayerNorm").shapes()]
    patterns = [
        "*",
        "attention",
        "normalization",
        "blocks.0",
        "blocks.*.attn",
        "*.W_[QK]",
        "*.b_[!QKV]",
        "*.W_?",
        "embed",
    ]
    patterns += [
        "*.W_[A-O]",
        "[be]*.?_E",
        "blocks.[1-9].*",
        "*[.]w",
        "unembed.W_U",
        "gone",
        "*.W_[",
        "W_E",
        "b+",
        "*.(W_E)",
    ]
    calls = [("weights", "names", there, pattern) for pattern in patterns]
    for pattern, ours in zip(patterns, functions(*calls), strict=True):
        try:
            assert ours == select.names(there, pattern), pattern
        except UserError:
            assert "error" in ours, pattern


@for_each("m", [3, 8, 13])
def test_bases_and_spectra_of_pictures(m):
    picture = torch.randn(m, m, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    calls = [("waves", "fourierBasis", m), ("waves", "spectrum2d", picture.flatten().tolist(), m)]
    basis, spectrum = functions(*calls)
    ours = fourier_basis(m)
    torch.testing.assert_close(torch.tensor(basis, dtype=torch.float64).view(m, m), ours, rtol=0, atol=1e-15 * m)
    expected = ours @ picture @ ours.T
    torch.testing.assert_close(torch.tensor(spectrum, dtype=torch.float64).view(m, m), expected, rtol=0, atol=1e-13)


def test_plain_error_function():
    points = [0.0, 1e-8, 0.3, -1.0, 2.49, 2.51, -4.0, 7.0]
    found = functions(*(("plain", "erf", x) for x in points))
    assert found == pytest.approx([math.erf(x) for x in points], rel=1e-14)


def test_compiled_activations_to_rounding():
    """Through one hidden neuron that reads x and writes to one class: GELU and tanh on a grid of both signs."""
    from circuitgrok.models.dense import DenseMLP

    p = 201
    grid = torch.linspace(-8, 8, p)
    for act, exact in (("gelu", torch.nn.functional.gelu), ("tanh", torch.tanh)):
        model = DenseMLP(n_in=2 * p, n_out=p, width=1, depth=1, act=act)  # pyright: ignore
        params = {name: torch.zeros(shape) for name, shape in model.shapes().items()}
        params["blocks.0.mlp.W_in"][:p, 0] = grid
        params["unembed.W_U"][0, 0] = 1.0
        inputs = torch.stack([torch.arange(p), torch.zeros(p).long(), torch.full((p,), p)], dim=1)
        task = {"p": p, "inputs": inputs.tolist(), "labels": [0] * p, "is_train": [True] * p}
        network = {"model": model.model_dump(mode="json"), "task": task, "weights": weights_of(params)}
        [ours] = results([network], [[]])
        found = torch.tensor(ours["logits"]).view(p, p)[:, 0].double()
        # The table of the error function is exact to 1e-9, below half a unit in the last place of float32.
        torch.testing.assert_close(found, exact(grid.double()), rtol=2**-23, atol=1e-8)


def test_source_compiles_to_the_committed_bytes(tmp_path):
    clang = shutil.which("clang")
    said = subprocess.run([clang, "--version"], capture_output=True, text=True).stdout if clang else ""
    if "version 14.0.6" not in said or not shutil.which("wasm-ld"):
        pytest.skip("kernel.wasm is made by clang and wasm-ld 14.0.6, which are not here")
    built = tmp_path / "kernel.wasm"
    subprocess.run(["sh", str(KERNEL / "build.sh"), str(built)], check=True, capture_output=True)
    assert built.read_bytes() == (KERNEL / "kernel.wasm").read_bytes()


def test_module_is_small_and_asks_for_nothing():
    content = (KERNEL / "kernel.wasm").read_bytes()
    assert content[:8] == b"\0asm\1\0\0\0" and len(content) < 60_000
    sections, at = [], 8
    while at < len(content):
        sections.append(content[at])
        size, shift, at = 0, 0, at + 1
        while True:  # a number of seven bits a byte
            size, shift, at = size | (content[at] & 127) << shift, shift + 7, at + 1
            if content[at - 1] < 128:
                break
        at += size
    assert 2 not in sections  # no import section


def test_kernel_is_in_the_wheel():
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel, and is not here")
    builder = wheel.WheelBuilder(str(Path(__file__).parent.parent))
    packed = {file.distribution_path for file in builder.recurse_included_files()}
    assert {f"circuitgrok/faces/web/kernel/{file.name}" for file in KERNEL.iterdir()} <= packed
