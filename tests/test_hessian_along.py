"""The spectrum along a run against the dense Hessian of a network small enough for one."""

import pytest
import torch
from oracles import generator
from torch.nn.functional import cross_entropy

from circuitgrok import tree
from circuitgrok.landscape import hessian_along as module
from circuitgrok.landscape.flat import loss_on
from circuitgrok.landscape.hessian import dense_hessian
from circuitgrok.landscape.hessian_along import Z, densities, effective_dimensions, spectrum_columns
from circuitgrok.landscape.spectra import effective_dimension
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tasks.parity import SparseParity
from circuitgrok.tasks.teacher_student import TeacherStudent

MODEL = Transformer(p=5, d_model=4, n_heads=1, d_head=4, d_mlp=6)
TASK = modular_addition(5, 0.6, 0)


@pytest.fixture
def stack():
    return tree.stack(MODEL.init(generator(seed), alpha=1.3) for seed in range(2))


def eigenvalues(network):
    loss, at, _ = loss_on(MODEL, network, TASK, TASK.is_train)
    return torch.linalg.eigvalsh(dense_hessian(loss, at))


def test_columns_are_those_of_the_dense_spectrum_within_their_errors(stack, monkeypatch):
    monkeypatch.setattr(module, "N_PROBES", 60)
    monkeypatch.setattr(module, "N_STEPS", 60)
    columns = spectrum_columns(stack, MODEL, TASK)
    for i, network in enumerate(tree.unstack(stack)):
        exact = eigenvalues(network)
        assert columns["sharpness"][i].item() == pytest.approx(exact[-1].item(), rel=1e-6)
        trace, error = columns["hessian_trace"][i], columns["hessian_trace_se"][i]
        assert (trace - exact.sum()).abs() < 4 * error
        dimensions = effective_dimension(exact, torch.tensor(Z, dtype=torch.float64)).curve
        for z, value in zip(Z, dimensions.tolist(), strict=True):
            found = {
                name: columns[f"effective_dimension{name}[{z:g}]"][i].item() for name in ("", "_se", "_low", "_high")
            }
            slack = 4 * found["_se"]
            assert found["_low"] - slack < value < found["_high"] + slack, z
            assert found["_low"] <= found[""] <= found["_high"]
        share = (exact.clamp(max=0).sum().abs() / exact.abs().sum()).item()
        # a share of two sums over 60 probes, each of which errs by a few per cent
        assert columns["negative_mass"][i].item() == pytest.approx(share, rel=0.2)


def test_half_the_dimension_at_gamma_over_nbeta_is_the_coefficient_of_the_quadratic(stack):
    """The identity that ties samplers and spectra: (1/2) sum nbeta h / (nbeta h + gamma), for positive h."""
    exact = eigenvalues(tree.unstack(stack)[0]).clamp(min=0)
    nbeta, gamma = 30.0, 3.0
    ideal = 0.5 * (nbeta * exact / (nbeta * exact + gamma)).sum().item()
    [dimension] = effective_dimension(exact, torch.tensor([gamma / nbeta], dtype=torch.float64)).curve.tolist()
    assert dimension / 2 == pytest.approx(ideal, rel=1e-12)


def test_a_network_has_the_same_spectrum_whatever_is_measured_beside_it(stack):
    together, alone = densities(stack, MODEL, TASK), densities({k: v[1:] for k, v in stack.items()}, MODEL, TASK)
    assert torch.equal(together[1].nodes, alone[0].nodes)
    z = torch.tensor([0.1, 1.0], dtype=torch.float64)
    assert effective_dimensions(together, z).value.shape == (2, 2)


def test_columns_of_an_mlp_on_features_are_those_of_autograds_own_hessian(monkeypatch):
    monkeypatch.setattr(module, "N_PROBES", 60)
    monkeypatch.setattr(module, "N_STEPS", 40)
    model, task = (
        DenseMLP(n_in=4, n_out=2, width=4, depth=1, act="tanh"),
        SparseParity(n_bits=4, n_train=8, n_test=4).task(),
    )
    params = model.init(generator(0), alpha=2.0)
    inputs, labels = task.inputs[task.is_train], task.labels[task.is_train]

    def loss(vector):
        return cross_entropy(model.logits(tree.unravel(vector, params), inputs), labels)

    dense = torch.autograd.functional.hessian(loss, tree.ravel(params))
    assert isinstance(dense, torch.Tensor)
    exact = torch.linalg.eigvalsh(dense)
    columns = spectrum_columns({name: value[None] for name, value in params.items()}, model, task)
    assert columns["sharpness"].item() == pytest.approx(exact[-1].item(), rel=1e-6)
    assert (columns["hessian_trace"] - exact.sum()).abs() < 4 * columns["hessian_trace_se"]


def test_a_regression_is_refused():
    model, task = DenseMLP(n_in=5, n_out=5, width=4), TeacherStudent(n_train=20, n_test=5).task()
    params = {name: value[None] for name, value in model.init(generator(0)).items()}
    with pytest.raises(ValueError, match="needs classes; the answers of this task are real numbers"):
        spectrum_columns(params, model, task)
