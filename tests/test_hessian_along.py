"""The spectrum along a run against the dense Hessian of a network small enough for one."""

import pytest
import torch
from loops import for_each
from oracles import dense_hessian, generator
from torch.nn.functional import cross_entropy

from circuitgrok import tree
from circuitgrok.exact.analytic import max_margin_network
from circuitgrok.landscape import hessian_along as module
from circuitgrok.landscape.flat import loss_on
from circuitgrok.landscape.hessian import hessian_operator
from circuitgrok.landscape.hessian_along import Z, spectra, spectrum_columns
from circuitgrok.landscape.lanczos import spectral_density, spectral_sum
from circuitgrok.landscape.positive_part import shares
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tasks.parity import SparseParity
from circuitgrok.tasks.teacher_student import TeacherStudent

MODEL = Transformer(p=5, d_model=4, n_heads=1, d_head=4, d_mlp=6)
TASK = modular_addition(5, 0.6, 0)


@pytest.fixture
def stack():
    return tree.stack(MODEL.init(generator(seed), alpha=1.3) for seed in range(2))


def eigenvalues(network, model=MODEL, task=TASK):
    loss, at, _ = loss_on(model, network, task, task.is_train)
    return torch.linalg.eigvalsh(dense_hessian(loss, at))


def memorised(model, task):
    """A network after 150 steps of AdamW, right on all its training pairs."""
    params = {name: value.requires_grad_(model.is_trainable(name)) for name, value in model.init(generator(0)).items()}
    optimizer = torch.optim.AdamW([value for value in params.values() if value.requires_grad], lr=1e-2)
    inputs, labels = task.inputs[task.is_train], task.labels[task.is_train]
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(model.logits(params, inputs), labels).backward()
        optimizer.step()
    params = {name: value.detach() for name, value in params.items()}
    assert (model.logits(params, inputs).argmax(-1) == labels).all()
    return params


@pytest.fixture(params=["random", "memorised", "solved"])
def point(request):
    """A network of about 500 weights, its model and its task."""
    task = modular_addition(7, 0.6, 0)
    if request.param == "solved":
        return QuadraticMLP(p=7, n_neurons=27), max_margin_network(7), task
    model = Transformer(p=7, d_model=8, n_heads=2, d_head=4, d_mlp=8)
    return model, model.init(generator(1)) if request.param == "random" else memorised(model, task), task


def one_of(params):
    return {name: value[None] for name, value in params.items()}


def test_dense_columns_are_the_spectrum(point):
    model, params, task = point
    exact, columns = eigenvalues(params, model, task), spectrum_columns(one_of(params), model, task)
    assert 400 < len(exact) < 700
    assert columns["sharpness"].item() == pytest.approx(exact[-1].item(), rel=1e-10)
    assert columns["hessian_trace_se"].item() == 0
    share = (exact.clamp(max=0).sum().abs() / exact.abs().sum()).item()
    assert columns["negative_mass"].item() == pytest.approx(share, rel=1e-12)
    dimensions = shares(torch.tensor(Z, dtype=torch.float64))(exact).sum(-1)
    for z, value in zip(Z, dimensions.tolist(), strict=True):
        found = {part: columns[f"effective_dimension{part}[{z:g}]"].item() for part in ("", "_low", "_high")}
        assert found == pytest.approx(dict.fromkeys(found, value), rel=1e-12)
        assert columns[f"effective_dimension_se[{z:g}]"].item() == 0
        assert columns[f"effective_dimension_converged[{z:g}]"].item() == 1


@pytest.mark.parametrize("most", [12, 32, 128])
def test_sampled_columns_are_the_dense_ones_within_four_stated_errors(point, most, monkeypatch):
    model, params, task = point
    exact = spectrum_columns(one_of(params), model, task)
    monkeypatch.setattr(module, "DENSE_MOST", 0)
    monkeypatch.setattr(module, "N_STEPS_MOST", most)
    found = spectrum_columns(one_of(params), model, task)
    sharp = exact["sharpness"].item()
    assert found["sharpness"].item() <= sharp * (1 + 1e-9)
    assert found["sharpness"].item() == pytest.approx(sharp, rel=0.05)
    pairs = [("hessian_trace", "hessian_trace_se"), ("negative_mass", "negative_mass_se")]
    pairs += [(f"effective_dimension[{z:g}]", f"effective_dimension_se[{z:g}]") for z in Z]
    for value, error in pairs:
        assert abs(found[value].item() - exact[value].item()) < 4 * found[error].item() + 1e-9 * sharp, value
    for z in Z:
        value, low, high = (found[f"effective_dimension{part}[{z:g}]"].item() for part in ("", "_low", "_high"))
        near = found[f"effective_dimension_converged[{z:g}]"].item()
        assert near == (high - low <= 6 * module.NEAR * value)


def test_twelve_nodes_and_the_spread_of_six_probes_would_have_failed_it():
    """How it was measured before."""
    task, model = modular_addition(7, 0.6, 0), Transformer(p=7, d_model=8, n_heads=2, d_head=4, d_mlp=8)
    params = memorised(model, task)
    loss, at, _ = loss_on(model, params, task, task.is_train)
    old = spectral_density(hessian_operator(loss, at), len(at), n_steps=12, n_probes=6, generator=generator(0))
    z = torch.tensor(Z, dtype=torch.float64)
    value, spread = spectral_sum(old, shares(z))
    exact = shares(z)(eigenvalues(params, model, task)).sum(-1)
    assert ((value - exact).abs() / spread).max() > 2 * 4


def test_nodes_are_added_until_the_bounds_are_near_and_no_further(point, monkeypatch):
    model, params, task = point
    monkeypatch.setattr(module, "DENSE_MOST", 0)
    taken = []
    whole = module.lanczos

    def counted(*given):
        found = whole(*given)
        taken.append(found.diagonal.shape[1])
        return found

    monkeypatch.setattr(module, "lanczos", counted)
    wide = spectra(one_of(params), model, task, torch.tensor([10.0]).double())
    fine = spectra(one_of(params), model, task, torch.tensor([1e-4]).double())
    assert taken[0] in module.LOOKED_AT and taken[0] <= taken[1] <= module.N_STEPS_MOST
    for found in (wide, fine):
        [value], _, [low], [high] = found[0].dimensions
        assert taken.pop(0) == module.N_STEPS_MOST or high - low <= 6 * module.NEAR * value


@for_each("dense_most", [0, 3000])
def test_curvature_along_the_ray_and_across_it_is_that_of_the_dense_hessian(point, dense_most, monkeypatch):
    monkeypatch.setattr(module, "DENSE_MOST", dense_most)
    monkeypatch.setattr(module, "N_STEPS_MOST", 4)
    model, params, task = point
    loss, at, _ = loss_on(model, params, task, task.is_train)
    u = at / at.norm()
    along = dense_hessian(loss, at) @ u
    columns = spectrum_columns(one_of(params), model, task)
    radial = along @ u
    size = along.norm().item()
    assert columns["curvature_radial"].item() == pytest.approx(radial.item(), abs=1e-10 * size)
    assert columns["curvature_mixed"].item() == pytest.approx((along - radial * u).norm().item(), abs=1e-10 * size)


def test_a_network_without_weights_has_no_ray(stack):
    nothing = {name: torch.zeros_like(value) for name, value in stack.items()}
    columns = spectrum_columns(nothing, MODEL, TASK)
    assert columns["curvature_radial"].isnan().all() and columns["curvature_mixed"].isnan().all()
    assert columns["sharpness"].isfinite().all()


def test_half_the_dimension_at_gamma_over_nbeta_is_the_coefficient_of_the_quadratic(stack):
    """The identity that ties samplers and spectra: (1/2) sum nbeta h / (nbeta h + gamma), for positive h."""
    exact = eigenvalues(tree.unstack(stack)[0]).clamp(min=0)
    nbeta, gamma = 30.0, 3.0
    ideal = 0.5 * (nbeta * exact / (nbeta * exact + gamma)).sum().item()
    [dimension] = shares(torch.tensor([gamma / nbeta], dtype=torch.float64))(exact).sum(-1).tolist()
    assert dimension / 2 == pytest.approx(ideal, rel=1e-12)


def test_a_network_has_the_same_spectrum_whatever_is_measured_beside_it(stack, monkeypatch):
    monkeypatch.setattr(module, "DENSE_MOST", 0)
    monkeypatch.setattr(module, "N_STEPS_MOST", 20)
    together, alone = (
        spectrum_columns(stack, MODEL, TASK),
        spectrum_columns({k: v[1:] for k, v in stack.items()}, MODEL, TASK),
    )
    assert all(torch.equal(together[name][1:], alone[name]) for name in alone)


def test_columns_of_an_mlp_on_features_are_those_of_autograds_own_hessian():
    model, task = (
        DenseMLP(n_in=4, n_out=2, width=4, depth=1, act="tanh"),
        SparseParity(n_bits=4, n_train=8, n_test=4).draw(),
    )
    params = model.init(generator(0), alpha=2.0)
    inputs, labels = task.inputs[task.is_train], task.labels[task.is_train]

    def loss(vector):
        return cross_entropy(model.logits(tree.unravel(vector, params), inputs), labels)

    dense = torch.autograd.functional.hessian(loss, tree.ravel(params))
    assert isinstance(dense, torch.Tensor)
    exact = torch.linalg.eigvalsh(dense)
    columns = spectrum_columns(one_of(params), model, task)
    assert columns["sharpness"].item() == pytest.approx(exact[-1].item(), rel=1e-9)
    assert columns["hessian_trace"].item() == pytest.approx(exact.sum().item(), rel=1e-9)


def test_a_regression_is_refused():
    model, task = DenseMLP(n_in=5, n_out=5, width=4), TeacherStudent(n_train=20, n_test=5).draw()
    params = {name: value[None] for name, value in model.init(generator(0)).items()}
    with pytest.raises(ValueError, match="needs classes; the answers of this task are real numbers"):
        spectrum_columns(params, model, task)
