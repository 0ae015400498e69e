"""Every run of a stack is computed as it is alone: by the same calls, on numbers that begin on the same places."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from calls import Calls, calls_of, ends_of
from loops import for_each
from oracles import noise
from tiny import tiny
from tiny_kinds import tiny_kind

from circuitgrok.apart import APART, LINE, PLAIN, bmm, each, exp, placed, product, room
from circuitgrok.config.train_config import TrainConfig

BATCHED = {"bmm", "baddbmm"}
RUNS = 5  # no other axis of the cases has this length
ARC = {"fixed_norm": True, "norm_motion": "geodesic", "norm_transport": True}
SHAPE = {"p": 7, "d_model": 6, "n_heads": 2, "d_head": 3, "d_mlp": 9, "warmup": 0}
PAIRS = {"p": 7, "frac_train": 0.6}
CASES: dict[str, dict[str, Any]] = {
    "relu": {},
    "float64": {"precision": "float64"},
    "gelu": {"act": "gelu", "train_biases": ("attention", "mlp", "unembed")},
    "2-layers": {"n_layers": 2, "act": "gelu"},
    "layernorm": {"n_layers": 2, "normalization": "LN"},
    "acausal": {"n_layers": 2, "causal": False, "equals": False, "own_tokens": True},
    "heads-of-1": {"n_heads": 6, "d_head": 1},
    "dropout": {"dropout_embed": 0.1, "dropout_attention": 0.1, "dropout_mlp": 0.1},
    "stablemax": {"loss": "stablemax"},
    "float16-loss": {"loss_precision": "float16"},
    "penalties": {"nuclear": 0.01, "spectral_entropy": 0.1, "repulsion": 0.1},
    "muon": {"rule": "muon"},
    "rmsprop": {"rule": "rmsprop", "momentum": 0.9},
    "orthograd": {"orthograd": "tensor", "grokfast_ema": 2.0},
    "geodesic": ARC,
    "geodesic-neurons": {**ARC, "norm_grain": "neuron"},
    "noise": {"weight_noise": 0.02, "walk_noise": 0.02, "noise_tangential": True},
    "embedding": {"kind": "embedding", "d_embed": 6, "d_hidden": 9, **PAIRS},
    "summed": {"kind": "summed", "d_embed": 6, "d_hidden": 9, **PAIRS},
    "quadratic": {"kind": "quadratic", "n_neurons": 9, **PAIRS},
    "dense": {"kind": "dense", "width": 9, **PAIRS},
    "parity": {"kind": "parity"},
    "digits": {"kind": "digits", "width": 9, "n_train": 49, "n_test": 21},
}
every_case = pytest.mark.parametrize("case", CASES)


def runs_of(case: str, n: int) -> list[TrainConfig]:
    leaves = dict(CASES[case])
    kind = leaves.pop("kind", None)
    made = [tiny_kind(kind, **leaves, seed=i) if kind else tiny(**SHAPE | leaves, seed=i) for i in range(n)]
    assert len({config.stack_key for config in made}) == 1
    return made


# --- while training ---------------------------------------------------------------------------------


@pytest.mark.bits
@every_case
def test_every_run_begins_where_it_would_alone_in_every_product_and_function(case):
    together, alone = calls_of(runs_of(case, RUNS)), calls_of(runs_of(case, 1))
    assert not [fault for call in together for fault in call.faults]
    ours, theirs = ({(c.name, c.operands) for c in calls if c.name in BATCHED} for calls in (together, alone))
    assert ours and ours == theirs


@pytest.mark.bits
@every_case
def test_run_of_a_stack_has_the_bits_of_the_run_alone(case):
    """Of so many runs that numbers of one per run fill a register, and leave a rest."""
    configs = runs_of(case, 17)
    together, records = ends_of(configs)
    for i in (0, 7, 16):
        alone, [record] = ends_of(configs[i : i + 1])
        assert torch.equal(together[i], alone[0])
        assert {name: value for name, value in records[i].items() if value == value} == {
            name: value for name, value in record.items() if value == value
        }


def test_a_product_of_runs_in_one_piece_is_found():
    a, b = noise(RUNS, 7, 9), noise(RUNS, 9, 3)
    with Calls(RUNS) as calls:
        torch.matmul(a, b)
        bmm(a, b)
        product(a, b)
        torch.exp(a)
        exp(a)
    lengths = [len(call.faults) for call in calls.seen]
    assert [call.name for call in calls.seen] == ["bmm", "bmm", "bmm", "exp", "exp"]
    assert lengths == [4, 2, 0, 1, 0]  # two operands, the result, and one piece; bmm wants its operands placed


def test_a_training_step_with_a_plain_product_is_found(monkeypatch):
    monkeypatch.setattr("circuitgrok.models.mlp.APART", APART._replace(product=PLAIN.product))
    assert [fault for call in calls_of(runs_of("quadratic", RUNS)) for fault in call.faults]


# --- the pieces -------------------------------------------------------------------------------------


@for_each("dtype", [torch.float32, torch.float64, torch.float16])
@for_each("shape", [(5, 7), (4, 16), (1, 1), (3,), (2, 3, 5)])
def test_runs_in_a_room_begin_on_a_line_apart_from_each_other(shape, dtype):
    like = torch.empty(0, dtype=dtype)
    rows = room(like, RUNS, *shape)
    assert rows.shape == (RUNS, *shape) and rows[0].is_contiguous() and not rows.is_contiguous()
    assert {row.data_ptr() % LINE for row in rows} == {0}
    alone = room(like, 1, *shape)
    assert alone.is_contiguous() and alone.data_ptr() % LINE == 0


@for_each("transposed", [False, True])
def test_placed_keeps_numbers_and_the_strides_of_a_run(transposed):
    dense = noise(RUNS, 7, 9).mT if transposed else noise(RUNS, 7, 9)
    moved = placed(dense)
    assert torch.equal(moved, dense) and moved.stride()[1:] == dense.stride()[1:]
    assert {row.data_ptr() % LINE for row in moved} == {0} and placed(moved) is moved
    assert placed(dense[:1]).data_ptr() == dense.data_ptr()


def test_placed_gives_repeated_numbers_a_place_each():
    moved = placed(noise(RUNS, 1, 9).expand(-1, 7, -1))
    assert torch.equal(moved, moved.contiguous()) and moved.stride()[1:] == (9, 1)


@for_each("name", ["product", "affine", "exp", "gelu", "tanh"])
@for_each("runs", [1, 3])
def test_derivatives_are_those_that_differences_say(name, runs):
    x, w, b = (noise(runs, *shape, seed=i).requires_grad_() for i, shape in enumerate(((4, 5), (5, 3), (3,))))
    f, given = {
        "product": (APART.product, (x, w)),
        "affine": (APART.affine, (x, w, b)),
        "exp": (APART.exp, (x,)),
        "gelu": (APART.activations["gelu"], (x,)),
        "tanh": (APART.activations["tanh"], (x,)),
    }[name]
    assert torch.autograd.gradcheck(f, given)
    plain = PLAIN.activations.get(name) or getattr(PLAIN, name)
    torch.testing.assert_close(f(*given), plain(*given), rtol=1e-15, atol=1e-15)


def test_a_second_derivative_in_a_stack_is_refused_instead_of_wrong():
    x = noise(3, 4).requires_grad_()
    [slope] = torch.autograd.grad(exp(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiable|to not have been used"):
        torch.autograd.grad(slope.sum(), x)


def test_each_gives_a_function_one_run_at_a_time_and_takes_a_single_number():
    seen = []
    each(lambda run: seen.append(run.data_ptr() % LINE) or run, noise(3, 5))
    assert seen == [0, 0, 0]
    assert each(torch.cos, torch.tensor(0.0)) == 1


# --- below torch ------------------------------------------------------------------------------------

IN_A_PROCESS = """
import sys; sys.path.insert(0, sys.argv[1])
import test_apart, torch
torch.set_num_threads(1)
from calls import calls_of
for case in sys.argv[2].split(","):
    for n in (1, 3):
        print("---", case, n, flush=True)
        calls_of(test_apart.runs_of(case, n), steps=1)
"""


def blas_calls(text: str) -> Counter[str]:
    """How often the library tells of a call, with addresses as places on a line."""
    found = []
    for name, arguments in re.findall(r"^MKL_VERBOSE (\w*GEMM\w*)\(([^)]*)\)", text, re.MULTILINE):
        letters, m, n, k, _, a, lda, b, ldb, _, c, ldc = re.fullmatch(r"(\w,\w)" + r",(\w+)" * 11, arguments).groups()  # pyright: ignore
        places = [int(address, 16) % LINE for address in (a, b, c)]
        found.append(f"{name} {letters} {m} {n} {k} {lda} {ldb} {ldc} {places}")
    return Counter(found)


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="only Intel's library tells of its calls")
def test_the_library_is_called_for_a_run_of_a_stack_exactly_as_for_the_run_alone():
    cases = ["relu", "2-layers", "summed", "dense", "digits"]
    arguments = [sys.executable, "-c", IN_A_PROCESS, str(Path(__file__).parent), ",".join(cases)]
    done = subprocess.run(arguments, env=os.environ | {"MKL_VERBOSE": "1"}, capture_output=True, text=True, check=True)
    parts = dict(re.findall(r"^--- (.*)\n((?:(?!---).*\n)*)", done.stdout, re.MULTILINE))
    for case in cases:
        alone, together = blas_calls(parts[f"{case} 1"]), blas_calls(parts[f"{case} 3"])
        assert alone and together == {call: 3 * times for call, times in alone.items()}
