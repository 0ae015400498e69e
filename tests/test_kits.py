"""Conformance kits: everything of the package passes in a line or two, and every rule finds a planted fault."""

from functools import partial
from itertools import count
from typing import Any

import pytest
import torch
from oracles import generator, noise

from circuitgrok import tree
from circuitgrok.interventions.base import KINDS
from circuitgrok.interventions.batch_noise import BatchNoise
from circuitgrok.interventions.batches import Batches
from circuitgrok.interventions.constraints import Constraint, Kick, RescaleOnce
from circuitgrok.interventions.dropout_parts import DropoutParts
from circuitgrok.interventions.fixed_norm import FixedNorm
from circuitgrok.interventions.gradients import GradientNoise, GradientTransform, GrokfastEMA, GrokfastMA, OrthoGrad
from circuitgrok.interventions.limits import FixedDirection, NormCap
from circuitgrok.interventions.logits import OnLogits, Temperature
from circuitgrok.interventions.noise import (
    AfterStep,
    DropoutRate,
    LabelNoise,
    OnForward,
    OnLabels,
    WalkNoise,
    WeightNoise,
)
from circuitgrok.interventions.penalties import (
    L1,
    L2,
    AntiDecay,
    Coefficient,
    Nuclear,
    Penalty,
    Repulsion,
    SpectralEntropy,
    TargetNorm,
)
from circuitgrok.kits.interventions import check_intervention
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


INTERVENTIONS = [
    L1(l1=1.0), L2(l2=1.0), Nuclear(nuclear=1.0), SpectralEntropy(spectral_entropy=1.0), AntiDecay(anti_decay=1.0),
    TargetNorm(target_norm=1.0, target_radius=9.0), Repulsion(repulsion=1.0, repel_bound=0.5),
    GradientNoise(gradient_noise=0.5), GradientNoise(gradient_noise=0.5, noise_tangential=True),
    GrokfastEMA(grokfast_ema=2.0), GrokfastMA(grokfast_ma=5.0, grokfast_window=2), OrthoGrad(orthograd="global"),
    OrthoGrad(orthograd="tensor", orthograd_rescale=False), BatchNoise(batch_noise="isotropic"),
    BatchNoise(batch_noise="sized", batch_noise_times=3.0), RescaleOnce(rescale_factor=2.0), Kick(kick=-3.0),
    NormCap(norm_cap=0.9), FixedDirection(), FixedNorm(), FixedNorm(norm_grain="neuron", norm_factor=0.5),
    FixedNorm(norm_motion="geodesic", norm_transport=True, norm_grain="tensor"), Temperature(temperature=2.0),
    LabelNoise(label_noise=0.5), WeightNoise(weight_noise=0.5), WalkNoise(walk_noise=0.5),
    WalkNoise(walk_noise=0.5, noise_tangential=True),
]  # fmt: skip


def test_every_intervention_conforms():
    for one in INTERVENTIONS:
        check_intervention(one)
    elsewhere = {
        kind for kind, cls in KINDS.items() if issubclass(cls, (DropoutRate, DropoutParts, Batches))
    }  # in networks and data
    assert {one.kind for one in INTERVENTIONS} | elsewhere == set(KINDS)


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


def planted(family, rule, **more):
    """An intervention of a family with this rule; the next one takes its name."""
    own = {"kind": "planted", "__annotations__": {"planted": Coefficient}}
    own |= {"formula": "", "source": ""} if family is Penalty else {}
    names = {"__module__": __name__, "__qualname__": "Planted", "rule": staticmethod(rule)}
    made: Any = type(family)
    return made("Planted", (family,), own | names | {n: staticmethod(f) for n, f in more.items()})(planted=1.0)


@pytest.fixture(autouse=True)
def _no_kind_is_left():
    yield
    KINDS.pop("planted", None)


def squares(weights):
    return tree.dot(weights, weights, axes=1)


def shared(weights):
    return squares(weights) / len(next(iter(weights.values())))


def not_its_slope(weights):
    return squares(weights) - (squares(weights) / 2).detach()


def scaling(weights):
    for value in weights.values():
        value.data.mul_(2)
    return squares(weights)


WRONG_PENALTIES = {
    "one float64 number for each": lambda weights: squares(weights).sum(),
    "float64 number": lambda weights: squares(weights).float(),
    "must be finite": lambda weights: squares(weights) * torch.inf,
    "another penalty alone": shared,
    "finite differences": not_its_slope,
}


@pytest.mark.parametrize("said", WRONG_PENALTIES)
def test_a_penalty_that_breaks_a_rule_is_found(said):
    with pytest.raises(AssertionError, match=said):
        check_intervention(planted(Penalty, WRONG_PENALTIES[said]))


def test_a_penalty_is_judged_by_its_own_size():
    for size in (1e-8, 1.0, 1e8):
        check_intervention(planted(Penalty, lambda weights, size=size: size * squares(weights).square()))
        with pytest.raises(AssertionError, match="finite differences"):
            check_intervention(planted(Penalty, lambda weights, size=size: size * not_its_slope(weights)))


def counted(like):
    return {"seen": torch.zeros(len(like["embed.W_E"]))}


COUNTED = count(1)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda weights: squares(weights) * float(next(COUNTED)), "does not do the same"),
        (lambda weights: squares(weights) + (next(COUNTED) % 2 and squares(weights)), "does not do the same"),
        (lambda weights: squares(weights) * squares(weights).sum().item(), "looks at numbers"),
        (lambda weights: squares(weights) if bool((squares(weights) > 1).any()) else -squares(weights), "looks at"),
        (lambda weights: squares(weights) + (weights["embed.W_E"] > 0).nonzero().sum(), "looks at numbers"),
    ],
)
def test_an_intervention_that_says_that_it_can_be_captured_and_cannot_is_found(rule, said):
    one = planted(Penalty, rule)
    type(one).capturable = True
    with pytest.raises(AssertionError, match=f"planted says that it can be captured, and {said}"):
        check_intervention(one)


def halved(gradients, weights, state):
    for value in gradients.values():
        value.mul_(0.5)
    return {"seen": state["seen"] + 1}


def of_the_stack(gradients, weights, state):
    for value in gradients.values():
        value.div_(len(value))
    return state


def forgetful(gradients, weights, state, last=[]):  # noqa: B006  remembers outside of its state
    calls = len(last) if last and last[-1] is state else 0
    for value in gradients.values():
        value.mul_(calls)
    last[calls:] = [{"seen": state["seen"] + 1}]
    return last[-1]


def on_weights(gradients, weights, state):
    return halved(weights, gradients, state)


def held_before_its_turn(moved, weights, state):
    return halved(weights, {}, state)


def of_its_neighbours(weights):
    return {name: value + value.mean() for name, value in weights.items()}


def in_place(weights):
    return {name: value.mul_(2) for name, value in weights.items()}


WRONG = [
    (GradientTransform, of_the_stack, counted, "another gradient alone than in a stack"),
    (GradientTransform, halved, lambda like: {"seen": torch.zeros(4)}, "must have the axis of the 3 runs in front"),
    (GradientTransform, forgetful, counted, "goes on from its saved state"),
    (GradientTransform, on_weights, counted, "must leave the weights as they are"),
    (Constraint, held_before_its_turn, counted, "a run that is not held must keep its weights"),
    (OnForward, of_its_neighbours, None, "another weights alone than in a stack"),
    (OnForward, in_place, None, "must be new tensors"),
    (AfterStep, lambda weights: of_the_stack(weights, {}, {}), None, "another weights alone"),
    (OnLabels, lambda labels, n_classes: labels + n_classes, None, "labels must be classes, 0 to 4"),
    (OnLogits, lambda logits: logits - logits.mean(), None, "another logits alone"),
]


@pytest.mark.parametrize(("family", "rule", "start", "said"), WRONG)
def test_an_intervention_that_breaks_a_rule_is_found(family, rule, start, said):
    with pytest.raises(AssertionError, match=said):
        check_intervention(planted(family, rule, **({"start": start} if start else {})))


def test_a_transform_by_hand_conforms():
    check_intervention(planted(GradientTransform, halved, start=counted))


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
