"""Conformance kits: everything of the package passes in a line or two, and every rule finds a planted fault."""

from functools import partial

import pytest
import torch
from oracles import generator, noise

from circuitgrok import tree
from circuitgrok.interventions.gradients import GrokfastEMA, GrokfastMA, OrthoGrad, OrthoGradPerTensor
from circuitgrok.interventions.penalties import PENALTIES
from circuitgrok.kits.interventions import check_penalty, check_transform
from circuitgrok.kits.measures import check_measure
from circuitgrok.kits.models import check_model
from circuitgrok.kits.samplers import check_sampler
from circuitgrok.measures.spectra.fourier import fourier_gini, frequency_power
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import orbit_minimal_norm, part_norms
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.mala import mala
from circuitgrok.samplers.preconditioned import preconditioned_sgld
from circuitgrok.samplers.sghmc import sghmc
from circuitgrok.samplers.sgld import sgld

P = 7
PAIRS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
SMALL = Transformer(p=P, d_model=8, n_heads=2, d_head=4, d_mlp=9)
MODELS = {
    "transformer": SMALL,
    "two layers, GELU, LayerNorm": SMALL.model_copy(update={"n_layers": 2, "act": "gelu", "normalization": "LN"}),
    "embedding MLP": EmbeddingMLP(p=P, d_embed=4, d_hidden=9),
    "quadratic MLP": QuadraticMLP(p=P, n_neurons=6),
    "dense MLP": DenseMLP(n_in=2 * P, n_out=P, width=9),
}


def networks(n=3, model=SMALL):
    return tree.stack({k: v.double() for k, v in model.init(generator(seed)).items()} for seed in range(n))


# --- all there is ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_model_conforms(name):
    check_model(MODELS[name], PAIRS)


def test_every_penalty_conforms():
    for penalty in PENALTIES.values():
        check_penalty(penalty.function)


def test_every_gradient_transform_conforms():
    check_transform(lambda runs: GrokfastEMA(torch.full((runs,), 2.0), torch.full((runs,), 0.9)))
    check_transform(lambda runs: GrokfastMA(torch.full((runs,), 5.0), window=2))
    check_transform(lambda runs: OrthoGrad(torch.ones(runs, dtype=torch.bool)))
    check_transform(lambda runs: OrthoGradPerTensor(torch.zeros(runs, dtype=torch.bool)))


@pytest.mark.parametrize(
    ("make", "steps", "virial"),
    [
        (partial(sgld, step_size=0.2), 60, lambda a: 1 / (1 - 0.2 * a / 4)),
        (partial(mala, step_size=0.5), 40, lambda a: 1.0),
        (partial(hmc, step_size=0.1, n_leapfrog=3), 30, lambda a: 1.0),
    ],
    ids=["sgld", "mala", "hmc"],
)
def test_samplers_conform(make, steps, virial):
    check_sampler(make, steps=steps, virial=virial)


def test_measures_conform():
    check_measure(lambda w: fourier_gini(w["embed.W_E"][:, :P]), networks())
    check_measure(lambda w: frequency_power(w["embed.W_E"][:, :P]), networks())
    check_measure(lambda w: orbit_minimal_norm(w, SMALL), networks())
    check_measure(lambda w: part_norms(w, SMALL), networks())


# --- planted faults ----------------------------------------------------------------------------------


def changing(params):
    params["embed.W_E"].mul_(2)
    return tree.norm(params, axes=1)


COUNT = iter(range(100))
WRONG_MEASURES = {
    "axis of the 3 networks in front": tree.norm,
    "depends on what is measured beside it": lambda w: tree.norm(w, axes=1) - tree.norm(w, axes=1).mean(),
    "must leave the weights as they are": changing,
    "another number when asked twice": lambda w: tree.norm(w, axes=1) + next(COUNT),
}


@pytest.mark.parametrize("said", WRONG_MEASURES)
def test_a_measure_that_breaks_a_rule_is_found(said):
    with pytest.raises(AssertionError, match=said):
        check_measure(WRONG_MEASURES[said], networks())


def squares(weights, anchor):
    return tree.dot(weights, weights, axes=1)


def shared(weights, anchor):
    return squares(weights, anchor) / len(next(iter(weights.values())))


def not_its_slope(weights, anchor):
    return squares(weights, anchor) - (squares(weights, anchor) / 2).detach()


def scaling(weights, anchor):
    for value in weights.values():
        value.data.mul_(2)
    return squares(weights, anchor)


WRONG_PENALTIES = {
    "one float64 number for each": lambda w, anchor: squares(w, anchor).sum(),
    "float64 number": lambda w, anchor: squares(w, anchor).float(),
    "must be finite": lambda w, anchor: squares(w, anchor) * torch.inf,
    "another penalty alone": shared,
    "finite differences": not_its_slope,
}


@pytest.mark.parametrize("said", WRONG_PENALTIES)
def test_a_penalty_that_breaks_a_rule_is_found(said):
    with pytest.raises(AssertionError, match=said):
        check_penalty(WRONG_PENALTIES[said])


def test_a_penalty_is_judged_by_its_own_size():
    for size in (1e-8, 1.0, 1e8):
        check_penalty(lambda weights, anchor, size=size: size * squares(weights, anchor).square())
        with pytest.raises(AssertionError, match="finite differences"):
            check_penalty(lambda weights, anchor, size=size: size * not_its_slope(weights, anchor))


class Halved:
    """A transform by hand: half the gradient."""

    def __init__(self, runs):
        self.runs = runs

    def start(self, gradients):
        return {"seen": torch.zeros(self.runs)}

    def __call__(self, gradients, weights, state):
        for value in gradients.values():
            value.mul_(0.5)
        return {"seen": state["seen"] + 1}


class OfTheStack(Halved):
    def __call__(self, gradients, weights, state):
        for value in gradients.values():
            value.div_(len(value))
        return state


class NoAxis(Halved):
    def start(self, gradients):
        return {"seen": torch.zeros(self.runs + 1)}


class Forgetful(Halved):
    def __init__(self, runs):
        super().__init__(runs)
        self.calls = 0

    def __call__(self, gradients, weights, state):
        self.calls = self.calls + 1 if state is getattr(self, "last", state) else 0
        for value in gradients.values():
            value.mul_(self.calls)
        self.last = {"seen": state["seen"] + 1}
        return self.last


class OnWeights(Halved):
    def __call__(self, gradients, weights, state):
        for value in weights.values():
            value.mul_(0.5)
        return state


def test_a_transform_by_hand_conforms():
    check_transform(Halved)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (OfTheStack, "another gradient alone than in a stack"),
        (NoAxis, "must have the axis of the 3 runs in front"),
        (Forgetful, "goes on from its saved state"),
        (OnWeights, "must leave the weights as they are"),
    ],
)
def test_a_transform_that_breaks_a_rule_is_found(make, said):
    with pytest.raises(AssertionError, match=said):
        check_transform(make)


def changed(step):
    """A sampler with another step."""

    def make(target):
        made = mala(target, step_size=0.5)
        return made._replace(step=lambda state, generators: step(made, state, generators))

    return make


def impure(made, state, generators):
    new, info = made.step(state, generators)
    state["position"].add_(1.0)
    return new, info


def too_wide(made, state, generators):
    new, info = made.step(state, generators)
    return new | {"position": new["position"] * 1.1}, info


def still(made, state, generators):
    return state, made.step(state, generators)[1]


def told_before(made, state, generators):
    new, info = made.step(state, generators)
    return new, info._replace(loss=info.loss + 1)


def coupled(made, state, generators):
    new, info = made.step(state, generators)
    centred = new["position"] - new["position"].mean(0) if len(new["position"]) < 5 else new["position"]
    return new | {"position": centred}, info


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (impure, "must be pure"),
        (too_wide, "must be that of the position|must keep its law"),
        (still, "must move"),
        (told_before, "must be that of the position"),
        (coupled, "goes another way alone"),
    ],
)
def test_a_sampler_that_breaks_a_rule_is_found(step, said):
    with pytest.raises(AssertionError, match=said):
        check_sampler(changed(step), steps=40)


def test_a_sampler_of_another_law_or_one_that_has_not_forgotten_is_found():
    with pytest.raises(AssertionError, match="must keep its law"):
        check_sampler(partial(sgld, step_size=0.5), steps=30)  # too wide by 1 / (1 - e a / 4): twice at a = 4
    with pytest.raises(AssertionError, match="must have forgotten"):
        check_sampler(partial(mala, step_size=0.05), steps=5)
    with pytest.raises(AssertionError, match="must have forgotten"):  # five leapfrogs are half a turn at a = 4
        check_sampler(partial(hmc, step_size=0.1, n_leapfrog=5), steps=30)


class Wrong(DenseMLP):
    """A dense network with something wrong; the sizes of the others."""

    fault: str = ""

    def init(self, generator, scheme="torch", alpha=1.0, alpha_by_role=None):
        if self.fault == "draws":
            generator = torch.Generator().manual_seed(0)
        found = super().init(generator, scheme, 1.0 if self.fault == "alpha" else alpha, alpha_by_role)
        return {name: value for name, value in found.items() if self.fault != "shapes" or name != "unembed.b_U"}

    def logits(self, params, inputs):
        if self.fault == "weights":
            params["unembed.b_U"].add_(1.0)
        found = super().logits(params, inputs)
        if self.fault == "stack" and found.ndim == 3:
            return found - found.mean(0)
        if self.fault == "slope":
            return found + (found - found.detach())
        return found[..., :-1] if self.fault == "classes" else found


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("shapes", "shapes says"),
        ("draws", "every seed draws the same"),
        ("alpha", "alpha must multiply"),
        ("weights", "must leave the weights as they are"),
        ("stack", "other logits in a stack than alone"),
        ("slope", "finite differences"),
        ("classes", "logits must be"),
    ],
)
def test_a_model_that_breaks_a_rule_is_found(fault, said):
    features = noise(6, 5, seed=1)
    check_model(Wrong(n_in=5, n_out=3, width=7), features)
    with pytest.raises(AssertionError, match=said):
        check_model(Wrong(n_in=5, n_out=3, width=7, fault=fault), features)


def test_a_network_of_small_logits_is_judged_by_its_own_size():
    class Faint(Wrong):
        def logits(self, params, inputs):
            return 1e-6 * super().logits(params, inputs)

    features = noise(6, 5, seed=1)
    check_model(Faint(n_in=5, n_out=3, width=7), features)
    with pytest.raises(AssertionError, match="finite differences"):
        check_model(Faint(n_in=5, n_out=3, width=7, fault="slope"), features)


def test_preconditioned_and_momentum_steps_conform_as_far_as_their_law_is_known():
    # their step sizes are a little different from those they are named by: a small step, where the law is nearly exact
    check_sampler(partial(sghmc, step_size=0.02, friction=0.3), steps=400, virial=lambda a: 1 + 0.02 * a / 8)
    with pytest.raises(AssertionError, match="must keep its law"):
        check_sampler(partial(preconditioned_sgld, step_size=2.0, stability=1.0, n_adapt=2), steps=60)
