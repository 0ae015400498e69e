"""Every intervention in the loop: it changes the weights, alone, in a stack and resumed it has the same bits, and what
it promises is seen in the record."""

import signal
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest
import torch
from tiny import bits_of, kinds_of, tiny

from circuitgrok import tree
from circuitgrok.config.leaves import leaf_fields
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import Interrupted
from circuitgrok.interventions.base import KINDS, applied
from circuitgrok.interventions.penalties import Coefficient, Penalty, Repulsion
from circuitgrok.store.resume import drop_resume
from circuitgrok.store.run import Run
from circuitgrok.training.loop import train
from circuitgrok.training.progress import Silent
from circuitgrok.training.stack import Stack, new_stack, put_state, state_of, subset
from circuitgrok.training.step import forward, update, watched_update

SECTIONS = ("objective", "optimizer", "batches", "penalties", "transforms", "constraint", "noise")
FIELDS = {name: field for section, name, field in leaf_fields() if section in SECTIONS}
STEPS, STOPPED = 12, 6


class Case(NamedTuple):
    """A leaf at a value that is not its default.

    Attributes:
        leaf: Its name.
        value: What it is set to.
        also: Leaves that it cannot be set without.
        beside: Leaves that the run without it has too.
    """

    leaf: str
    value: Any
    also: dict[str, Any] = {}
    beside: dict[str, Any] = {}

    @property
    def leaves(self) -> dict[str, Any]:
        """All that the run with it has."""
        return self.beside | self.also | {self.leaf: self.value}

    def __str__(self) -> str:
        return "-".join([f"{self.leaf}={self.value}", *map(str, self.beside)])


HELD, ARC = {"fixed_norm": True}, {"fixed_norm": True, "norm_motion": "geodesic"}
RESCALED = {"rescale_factor": 0.5, "rescale_at_step": 4}
LATER = {"norm_from_step": 8, **HELD, **RESCALED}
FINISHED = "FINISHED@24"  # the checkpoint of a run that is there when the tests run

CASES = [
    Case("loss", "stablemax"),
    Case("loss", "mse"),
    Case("loss_precision", "float32"),
    Case("loss_precision", "float16"),
    Case("label_smoothing", 0.1),
    Case("temperature", 3.0),
    Case("rule", "sgd"),
    Case("rule", "rmsprop"),
    Case("rule", "lion"),
    Case("rule", "muon"),
    Case("lr", 0.02),
    Case("lr_rest", 0.002, beside={"rule": "muon"}),
    Case("beta1", 0.5),
    Case("beta1", 0.5, beside={"rule": "lion"}),
    Case("beta2", 0.9),
    Case("eps", 1e-3),
    Case("momentum", 0.9, beside={"rule": "sgd"}),
    Case("momentum", 0.9, beside={"rule": "rmsprop"}),
    Case("momentum", 0.9, beside={"rule": "muon"}),
    Case("warmup", 0),
    Case("weight_decay", 3.0),
    Case("decay_roles", ("mlp", "embed")),
    Case("decay_to_init", True),
    Case("l1", 0.01),
    Case("l2", 0.1),
    Case("nuclear", 0.01),
    Case("spectral_entropy", 0.1),
    Case("target_norm", 0.1, also={"target_radius": 9.0}),
    Case("anti_decay", 0.1),
    Case("repulsion", 0.1),
    Case("target_radius", 9.0, beside={"target_norm": 0.1, "target_radius": 1.0}),
    Case("repel_from", FINISHED, beside={"repulsion": 0.1}),
    Case("repel_bound", 0.2, beside={"repulsion": 0.1}),
    Case("grokfast_ema", 2.0),
    Case("grokfast_decay", 0.5, beside={"grokfast_ema": 2.0}),
    Case("grokfast_ma", 5.0, also={"grokfast_window": 4}),
    Case("grokfast_window", 3, beside={"grokfast_ma": 5.0, "grokfast_window": 8}),
    Case("orthograd", "tensor"),
    Case("orthograd", "global"),
    Case("orthograd_rescale", False, beside={"orthograd": "tensor"}),
    Case("orthograd_rescale", False, beside={"orthograd": "global"}),
    Case("fixed_norm", True),
    Case("norm_grain", "tensor", beside=HELD),
    Case("norm_grain", "neuron", beside=HELD),
    Case("norm_grain", "neuron", beside={"norm_cap": 0.9}),
    Case("norm_grain", "tensor", beside=ARC),
    Case("norm_radius", 3.0, beside=HELD),
    Case("norm_from_step", 4, beside=HELD),
    Case("norm_from_step", 8, beside=HELD),
    Case("norm_factor", 0.5, beside=HELD),
    Case("norm_motion", "geodesic", beside=HELD),
    Case("norm_transport", True, beside=ARC),
    Case("norm_transport", True, beside={**ARC, "rule": "lion"}),
    Case("norm_transport", True, beside={**ARC, "rule": "sgd", "momentum": 0.9}),
    Case("fixed_direction", True),
    Case("direction_from_step", 4, beside={"fixed_direction": True}),
    Case("direction_from_step", 8, beside={"fixed_direction": True}),
    Case("hold_from_train_acc", 0.14, beside=HELD),
    Case("hold_from_train_acc", 0.14, beside={"fixed_direction": True}),
    Case("norm_cap", 0.9),
    Case("rescale_factor", 0.5),
    Case("rescale_at_step", 4, beside={"rescale_factor": 0.5}),
    Case("rescale_at_step", 8, beside={"rescale_factor": 0.5}),
    Case("kick", 0.3, also={"kick_at_step": 4}),
    Case("kick_at_step", 8, beside={"kick": -0.2}),
    Case("kick_scrambled", True, beside={"kick": 0.2, "kick_at_step": 4}),
    Case("weight_noise", 0.02),
    Case("walk_noise", 0.02),
    Case("gradient_noise", 0.02),
    *(Case("noise_tangential", True, beside={kind: 0.02}) for kind in ("weight_noise", "walk_noise", "gradient_noise")),
    Case("label_noise", 0.3),
    Case("batch_size", 16),
    Case("batch_size", 1),
    Case("batch_replacement", True, beside={"batch_size": 16}),
    Case("batch_noise", "isotropic", beside={"batch_size": 16}),
    Case("batch_noise", "sized", beside={"batch_size": 16}, also={"batch_noise_times": 3.0}),
    Case("batch_noise_times", 2.0, beside={"batch_size": 16, "batch_noise": "isotropic"}),
    Case("batch_noise_times", 0.0, beside={"batch_size": 16, "batch_noise": "sized"}),
    Case("dropout_embed", 0.2),
    Case("dropout_attention", 0.2),
    Case("dropout_mlp", 0.2),
    Case("dropout_parts", "averaged", beside={"dropout_mlp": 0.2}),
    Case("dropout_parts", "noise", beside={"dropout_mlp": 0.2}),
    Case("dropout_masks", 3, beside={"dropout_mlp": 0.2, "dropout_parts": "averaged"}),
    *(
        Case("noise_seed", 5, beside={kind: 0.2})
        for kind in ("weight_noise", "walk_noise", "gradient_noise", "label_noise", "dropout_mlp")
    ),
    Case("noise_seed", 5, beside={"batch_size": 16}),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_leaf_that_intervenes_has_a_line_here_and_so_has_every_choice():
    assert {case.leaf for case in CASES} == set(FIELDS)
    for name, field in FIELDS.items():
        if get_origin(field.annotation) is Literal:
            tried = {case.value for case in CASES if case.leaf == name}
            assert tried == {*get_args(field.annotation)} - {field.default}


@pytest.fixture(scope="module")
def config(finished) -> Callable[..., TrainConfig]:
    """A tiny config, with the finished run where one is named."""

    def made(**leaves: Any) -> TrainConfig:
        there = {name: f"{finished.path}@24" if value == FINISHED else value for name, value in leaves.items()}
        return tiny(**{"steps": STEPS, "warmup": 2, "checkpoint_every": STOPPED, "checkpoints_per_decade": 0} | there)

    return made


def advance(stack: Stack, steps: range, watched: int | None = None) -> Stack:
    """Take these steps; one of them may be taken apart."""
    for step in steps:
        step_of = watched_update if step == watched else update
        step_of(stack, forward(stack, step), step)
    return stack


@pytest.fixture(scope="module")
def alone() -> Callable[[TrainConfig], tree.Params]:
    """A run's last weights and all else that its next step would need, trained alone, once for all tests here."""
    there: dict[str, tree.Params] = {}

    def trained(config: TrainConfig) -> tree.Params:
        if config.hash not in there:
            there[config.hash] = state_of(advance(new_stack([config]), range(STEPS)), 0)
        return there[config.hash]

    return trained


def same(one: tree.Params, other: tree.Params) -> bool:
    """Bit for bit; what is not held yet is NaN on both sides."""
    return one.keys() == other.keys() and all(torch.equal(one[n].nan_to_num(), other[n].nan_to_num()) for n in one)


@every_case
def test_intervention_leads_to_other_weights(config, alone, case):
    ends = [alone(config(**leaves))["flat"] for leaves in (case.beside, case.leaves)]
    assert all(bool(end.isfinite().all()) for end in ends)
    assert not torch.equal(*ends)


@every_case
@pytest.mark.bits
def test_intervention_in_a_stack_has_the_bits_that_it_has_alone_also_resumed_half_way(config, alone, case):
    """Its neighbours have other seeds, and are without it where a stack may differ in it."""
    first, without = config(**case.leaves), config(**case.beside)
    configs = [config(**case.leaves, seed=1, data_seed=1), first]
    if without.stack_key == first.stack_key:
        configs.append(without)
    broken, resumed = advance(new_stack(configs), range(STOPPED), watched=3), new_stack(configs)
    put_state(resumed, [state_of(broken, i) for i in range(len(configs))], STOPPED)
    advance(resumed, range(STOPPED, STEPS))
    assert all(same(state_of(resumed, i), alone(each)) for i, each in enumerate(configs) if i)


HOLDS: dict[str, dict[str, Any]] = {
    "rescaled": {"rescale_factor": 0.5, "rescale_at_step": 8},
    "kicked": {"kick": 0.2, "kick_at_step": 8},
    "capped": {"norm_cap": 0.9},
    "direction": {"fixed_direction": True, "direction_from_step": 3},
    "norm": {"fixed_norm": True, "norm_from_step": 4},
    "norm of each": {"fixed_norm": True, "norm_grain": "neuron", "norm_from_step": 4},
    "free": {},
}


@pytest.mark.bits
def test_what_holds_a_run_goes_with_it_from_a_stack_of_runs_that_are_held_otherwise(config, alone):
    """Resumed alone, or beside one other: what a constraint remembers is the run's own, whoever trained beside it."""
    configs = {name: config(**leaves) for name, leaves in HOLDS.items()}
    together = [name for name in HOLDS if name != "norm of each"]
    assert len({configs[name].stack_key for name in together}) == 1 != configs["norm of each"].stack_key
    broken = advance(new_stack([configs[name] for name in together]), range(STOPPED))
    states = {name: state_of(broken, i) for i, name in enumerate(together)}
    for names in [[name] for name in together] + [["norm", "rescaled"], ["capped", "norm"], ["free", "direction"]]:
        resumed = new_stack([configs[name] for name in names])
        put_state(resumed, [states[name] for name in names], STOPPED)
        advance(resumed, range(STOPPED, STEPS))
        assert all(same(state_of(resumed, i), alone(configs[name])) for i, name in enumerate(names)), names


def test_noise_is_added_to_the_gradient_before_it_is_transformed(config):
    """What is left after OrthoGrad is across the weights, the noise in it too."""
    stack = new_stack([config(gradient_noise=1.0, orthograd="global", precision="float64")])
    before = {name: view.clone() for name, view in stack.views.items()}
    update(stack, forward(stack, 0), 0)
    size = tree.norm(stack.gradients, axes=1) * tree.norm(before, axes=1)
    assert (tree.dot(stack.gradients, before, axes=1).abs() <= 1e-13 * size).all() and tree.norm(stack.gradients) > 10


class Stopping(Silent):
    """Asks the training to stop half-way, as a signal does."""

    def at(self, step, records) -> None:
        if step == STOPPED:
            signal.raise_signal(signal.SIGTERM)


MEMORIES: dict[str, dict[str, Any]] = {
    "window": {"grokfast_ma": 5.0, "grokfast_window": 8, "grokfast_ema": 2.0, "norm_cap": 0.9, **LATER},
    "no window yet": {"grokfast_ma": 5.0, "grokfast_window": 100, "walk_noise": 0.01, "noise_tangential": True},
    "muon": {"rule": "muon", "momentum": 0.9, "decay_to_init": True, "norm_grain": "neuron", **HELD},
    "transport": {"rule": "sgd", "momentum": 0.9, "norm_transport": True, "hold_from_train_acc": 0.14, **ARC},
    "ray": {"rule": "rmsprop", "momentum": 0.9, "fixed_direction": True, "direction_from_step": 8, "repulsion": 0.1},
}


@pytest.mark.parametrize("leaves", MEMORIES.values(), ids=MEMORIES)
def test_what_interventions_remember_survives_on_the_disk(config, tmp_path, leaves):
    configs, names = [config(**leaves), config(**leaves, seed=1)], ["one", "other"]
    unbroken = train(configs, tmp_path / "unbroken", names=names)
    with pytest.raises(Interrupted, match=f"stopped at step {STOPPED}"):
        train(configs, tmp_path / "broken", names=names, progress=Stopping())
    resumed = train(configs, tmp_path / "broken", names=names)
    for run, other in zip(unbroken, resumed, strict=True):
        drop_resume(other, [STOPPED])
        assert bits_of(run.path) == bits_of(other.path)


# --- what it promises -------------------------------------------------------------------------------


@pytest.fixture
def run(config, tmp_path) -> Callable[..., Run]:
    """A run of the leaves in float64, with a line of history at every step."""

    def trained(**leaves: Any) -> Run:
        chosen = config(**{"precision": "float64", "eval_every": 1} | leaves)
        [done] = train([chosen], tmp_path, names=[chosen.hash])
        assert done.state == "finished"
        return done

    return trained


def norms(run: Run) -> torch.Tensor:
    return torch.tensor(run.history["norm"].to_numpy())


@pytest.mark.parametrize(
    ("leaves", "radius"),
    [({}, 1.0), ({"norm_factor": 0.5}, 0.5), ({"norm_motion": "geodesic"}, 1.0), ({"norm_grain": "tensor"}, None)],
)
def test_norm_that_is_held_stays(run, leaves, radius):
    """Rounding of float64, accumulated over a dozen steps."""
    held = run(**HELD, **leaves, train_biases=())  # a bias that is zero at first has no norm to hold
    assert (norms(held) / norms(held)[0] - 1).abs().max() < 1e-13
    if radius:
        assert norms(held)[0].item() == pytest.approx(radius * held.manifest["start"]["norm"], rel=1e-13)


def test_norm_is_held_from_its_step_on_and_not_before(run):
    found = norms(run(**HELD, norm_from_step=4))
    assert (found[4:] / found[4] - 1).abs().max() < 1e-13
    assert (found[2:5].diff().abs() > 1e-6).all()


def test_hold_begins_with_the_weights_after_the_first_step_that_reaches_the_accuracy(run):
    held = run(**HELD, hold_from_train_acc=0.14)
    reached = int(held.history.index[held.history["train_acc"] >= 0.14][0]) + 1
    found = norms(held)
    assert 2 < reached < STEPS - 2
    assert (found[reached:] / found[reached] - 1).abs().max() < 1e-13
    assert (found[2 : reached + 1].diff().abs() > 1e-6).all()


def test_direction_that_is_held_stays_while_the_norm_moves(run):
    held = run(fixed_direction=True, direction_from_step=4, checkpoint_every=4)
    first, last = (tree.ravel(held.at(step)) for step in (4, STEPS))
    assert torch.nn.functional.cosine_similarity(first, last, dim=0).item() == pytest.approx(1, abs=1e-14)
    assert abs(norms(held)[STEPS] / norms(held)[4] - 1) > 1e-4


def test_cap_is_never_exceeded_and_is_no_floor(run):
    held = run(norm_cap=0.9, weight_decay=0.0)
    found = norms(held) / held.manifest["start"]["norm"]
    assert found.max() <= 0.9 * (1 + 1e-13) and found[0].item() == pytest.approx(0.9, rel=1e-13)


def test_single_rescaling_happens_once(run):
    free, scaled = run(checkpoint_every=1), run(checkpoint_every=1, **RESCALED)
    assert all(torch.equal(value, free.at(3)[name]) for name, value in scaled.at(3).items())
    assert all(torch.equal(value, 0.5 * free.at(4)[name]) for name, value in scaled.at(4).items())
    assert norms(scaled)[5] > 0.9 * norms(scaled)[4]


@pytest.mark.parametrize("name", kinds_of(Penalty))
def test_penalty_on_record_is_its_coefficient_times_its_function_of_the_weights(run, name):
    penal = run(**{name: 0.1} | ({"target_radius": 9.0} if name == "target_norm" else {}))
    start = {key: value[None] for key, value in penal.at(0).items() if penal.config.model.is_trainable(key)}
    for step in (STOPPED, STEPS):
        weights = {key: penal.at(step)[key][None] for key in start}
        rule, beside = applied(penal.config.interventions), {"start": start} if name == Repulsion.kind else {}
        expected = 0.1 * rule(weights, **beside).item()
        assert penal.history["penalty"].loc[step] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["weight_noise", "label_noise", "dropout_embed", "dropout_attention", "dropout_mlp"])
def test_history_is_that_of_the_weights_without_the_noise(run, kind):
    noisy = run(**{kind: 0.3})
    task, model = noisy.task, noisy.config.model
    logits = model.logits(noisy.at(STEPS), task.inputs)
    for split in ("train", "test"):
        where = task.where(split)
        loss = torch.nn.functional.cross_entropy(logits[where], task.labels[where]).item()
        assert noisy.history[f"{split}_loss"].loc[STEPS] == pytest.approx(loss, rel=1e-11)


def test_walk_across_the_weights_keeps_the_norm_that_a_step_found(run):
    still, walked = {"lr": 1e-12, "weight_decay": 0.0}, 0.02
    free, across = (norms(run(**still, walk_noise=walked, noise_tangential=on)) for on in (False, True))
    assert (across / across[0] - 1).abs().max() < 1e-9 < (free / free[0] - 1).abs().max()


def test_decay_of_chosen_roles_is_all_that_a_step_without_gradient_does(run):
    """Adam's steps are of length lr; with lr tiny and lr * decay of order one only decay is left."""
    decayed = run(lr=1e-9, warmup=0, weight_decay=1e8, decay_roles=("mlp",))
    for name, value in decayed.at(0).items():
        share = 0.9**STEPS if tree.role(name) == "mlp" else 1.0
        torch.testing.assert_close(decayed.at(STEPS)[name], share * value, rtol=1e-12, atol=2e-9 * STEPS)


def test_decay_to_the_start_returns_there(run):
    decayed = run(lr=1e-9, warmup=0, weight_decay=1e8, decay_to_init=True)
    for name, value in decayed.at(0).items():
        torch.testing.assert_close(decayed.at(STEPS)[name], value, rtol=0, atol=2e-9 * STEPS)


def test_penalties_that_measure_from_a_start_each_have_their_own(config, finished):
    """One from the weights of step 0, where it is zero, one from a checkpoint: their sum is the slow one's."""

    class Drift(Penalty):
        """Half the squared distance from step 0."""

        kind = "drift"
        formula = "|w - w0|^2 / 2"
        from_start = True
        drift: Coefficient

        @staticmethod
        def rule(weights, start):
            away = tree.combine(torch.sub, weights, start)
            return tree.dot(away, away, axes=1) / 2

    try:
        stack = new_stack([config(drift=0.5, repulsion=0.25, repel_from=FINISHED, precision="float64")])
        assert forward(stack, 0).penalty is not None and stack.starts.keys() == {"drift", "repulsion"}
        advance(stack, range(3))
        there = {name: value[None] for name, value in finished.at(24).items() if name in stack.leaves}
        begun = new_stack([config(precision="float64")]).leaves
        expected = 0.5 * Drift.rule(stack.leaves, begun) + 0.25 * Repulsion.rule(
            stack.leaves, there, torch.ones(1).double()
        )
        torch.testing.assert_close(forward(stack, 3).penalty, expected, rtol=1e-12, atol=0)
        assert forward(subset(stack, [0], 3), 3).penalty == forward(stack, 3).penalty
    finally:
        del KINDS["drift"]
