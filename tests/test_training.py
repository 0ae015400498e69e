"""The loop: a stack is its runs, an update is AdamW's, what is recorded at a step belongs to that step."""

import json
import math
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import files_of, json_lines, tiny
from torch.nn.functional import cross_entropy as torch_cross_entropy

import circuitgrok.training.beginning
import circuitgrok.training.loop
import circuitgrok.training.steps
from circuitgrok import tree
from circuitgrok.config.bounds import size_of
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import Interrupted
from circuitgrok.interventions.losses import accuracy, cross_entropy
from circuitgrok.store import writer
from circuitgrok.store.run import Run
from circuitgrok.training.loop import train
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.progress import LiveProgress, Silent, usual_progress
from circuitgrok.training.stack import new_stack, put_state, state_of
from circuitgrok.training.step import ForwardPass, forward, update
from circuitgrok.tree import Params


class Watched(Silent):
    """Remembers which runs trained together."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []

    def begin(self, runs, start, steps) -> None:
        self.groups.append([run.name for run in runs])


def trained(folder: Path, **leaves: Any) -> Run:
    return train([tiny(**leaves)], folder, names=["run"], save_every_s=math.inf)[0]


def files_alone_and_together(folder: Path, configs: dict[str, TrainConfig]) -> tuple[dict, dict]:
    """Every file of every run, trained one after the other and as one stack."""
    for name, config in configs.items():
        train([config], folder / "alone", names=[name], save_every_s=math.inf)
    watched = Watched()
    train(list(configs.values()), folder / "together", names=list(configs), progress=watched, save_every_s=math.inf)
    assert watched.groups == [list(configs)]
    return files_of(folder / "alone"), files_of(folder / "together")


def test_no_resume_points_are_asked_for_while_others_are_being_written(tmp_path, monkeypatch):
    go, written, write = threading.Event(), [], writer.write_resume

    def slow(run, step, *more):
        written.append(step)
        assert go.wait(60)
        return write(run, step, *more)

    class Releasing(Silent):
        def at(self, step, records) -> None:
            if step == 30:
                go.set()

    monkeypatch.setattr(writer, "write_resume", slow)
    train([tiny(steps=40, eval_every=1)], tmp_path, names=["run"], progress=Releasing(), save_every_s=1e-9)
    assert written[0] < 30 and min(written[1:]) >= 30 and written[-1] == 40


# --- stacks -----------------------------------------------------------------------------------------

MIXTURE: dict[str, dict[str, Any]] = {
    "plain": {},
    "small": {"alpha": 0.3, "alpha_unembed": 2.0},
    "other-seeds": {"seed": 3, "data_seed": 4, "split": "randperm", "scheme": "bridge"},
    "no-decay": {"weight_decay": 0.0},
    "held": {"fixed_norm": True, "weight_decay": 0.3},
    "held-later": {"fixed_norm": True, "norm_from_step": 7, "norm_radius": 5.0},
}


@pytest.mark.parametrize(
    "shared",
    [{}, {"precision": "float64"}, {"n_layers": 2}, {"act": "gelu", "train_biases": ("attention", "mlp", "unembed")}],
    ids=["float32", "float64", "two-layers", "gelu-biases"],
)
@pytest.mark.bits
def test_run_of_a_stack_has_the_bits_of_the_run_alone(tmp_path, shared):
    configs = {name: tiny(**{"steps": 12} | shared | own) for name, own in MIXTURE.items()}
    alone, together = files_alone_and_together(tmp_path, configs)
    assert alone == together
    assert len({alone[f"{name}/step_000000012.safetensors"] for name in configs}) == len(configs)


@pytest.mark.bits
def test_run_of_a_stack_has_the_bits_of_the_run_alone_where_threads_would_matter(tmp_path):
    shape = {"p": 60, "frac_train": 0.3, "d_model": 128, "n_heads": 4, "d_head": 32, "d_mlp": 512}
    configs = {f"{seed}": tiny(**shape, seed=seed, steps=3, eval_every=1, warmup=0) for seed in range(3)}
    assert configs["0"].task.draw().n_train >= 1000
    alone, together = files_alone_and_together(tmp_path, configs)
    assert alone == together


@pytest.mark.bits
def test_same_config_twice_gives_the_same_bits(tmp_path):
    for folder in ("one", "two"):
        trained(tmp_path / folder)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_configs_of_different_shape_train_apart_and_come_back_in_order(tmp_path):
    configs = {"a": tiny(), "b": tiny(d_mlp=8), "c": tiny(seed=1)}
    watched = Watched()
    runs = train(list(configs.values()), tmp_path, names=list(configs), progress=watched)
    assert watched.groups == [["a", "c"], ["b"]]
    assert [run.name for run in runs] == ["a", "b", "c"]
    assert [run.config for run in runs] == list(configs.values())


@pytest.mark.bits
def test_large_stacks_are_split_and_keep_their_bits(tmp_path, monkeypatch):
    configs = {f"{seed}": tiny(seed=seed) for seed in range(3)}
    train(list(configs.values()), tmp_path / "whole", names=list(configs), save_every_s=math.inf)
    size = size_of(configs["0"])
    monkeypatch.setattr(circuitgrok.training.beginning, "STACK_NUMBERS", 2 * max(size.neurons, size.state))
    watched = Watched()
    train(list(configs.values()), tmp_path / "split", names=list(configs), progress=watched, save_every_s=math.inf)
    assert watched.groups == [["0", "1"], ["2"]]
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "split")


def test_run_without_a_name_of_its_own_is_refused(tmp_path):
    with pytest.raises(ValueError, match="every run needs a name of its own"):
        train([tiny(), tiny(seed=1)], tmp_path, names=["a", "a"])
    with pytest.raises(ValueError, match="every run needs a name of its own"):
        train([tiny(), tiny(seed=1)], tmp_path, names=["a"])
    assert list(tmp_path.iterdir()) == []


def test_fewer_than_one_thread_is_refused(tmp_path):
    with pytest.raises(ValueError, match="threads must be at least 1; got 0"):
        train([tiny()], tmp_path, threads=0)
    assert list(tmp_path.iterdir()) == []


def test_threads_are_set_while_training_and_put_back(tmp_path, monkeypatch):
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(
        circuitgrok.training.steps, "forward", lambda *now: (seen.append(torch.get_num_threads()), forward(*now))[1]
    )
    train([tiny(steps=2)], tmp_path, names=["run"], threads=2)
    assert set(seen) == {2} and torch.get_num_threads() == before


# --- the update -------------------------------------------------------------------------------------


def plain_adamw(config: TrainConfig, steps: int) -> Params:
    """The weights after some steps of torch's own AdamW on autograd of the plain forward."""
    model, task, optimizer = config.transformer, config.task.draw(), config.optimizer
    params = {name: value.clone() for name, value in initial_weights(config).items()}
    trained = [value.requires_grad_() for name, value in params.items() if model.is_trainable(name)]
    adam = torch.optim.AdamW(
        trained, 1.0, (optimizer.beta1, optimizer.beta2), optimizer.eps, optimizer.weight_decay, foreach=False
    )
    for step in range(steps):
        adam.param_groups[0]["lr"] = optimizer.lr * min(step / max(optimizer.warmup, 1), 1.0)
        adam.zero_grad()
        logits = model.activations(params, task.inputs[task.is_train])["logits"][:, -1]
        torch_cross_entropy(logits, task.labels[task.is_train]).backward()
        adam.step()
    return {name: value.detach() for name, value in params.items()}


def distance(one: Params, other: Params) -> float:
    """Relative, over all tensors."""
    return (tree.norm(tree.combine(torch.sub, one, other)) / tree.norm(other)).item()


@pytest.mark.parametrize(
    "leaves",
    [
        {},
        {"n_layers": 2, "act": "gelu", "normalization": "LN", "train_biases": ("mlp", "unembed")},
        {"weight_decay": 0.0, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
    ],
    ids=["one-layer", "two-layers-LN", "other-settings"],
)
def test_thirty_updates_are_those_of_torch_adamw_on_the_plain_forward(tmp_path, leaves):
    """Float64, through the warm-up: rounding of 1e-16 a step, amplified by Adam's quotient, stays below 1e-12."""
    run = trained(tmp_path, precision="float64", steps=30, warmup=10, **leaves)
    expected = plain_adamw(run.config, 30)
    assert distance(run.at(30), expected) < 1e-12
    assert distance(run.at(0), expected) > 0.01


def weightless(ahead: ForwardPass) -> ForwardPass:
    """A pass whose gradient is zero."""
    return ahead._replace(objective=0 * ahead.objective)


def test_runs_of_a_stack_decay_each_at_its_own_rate():
    """With a zero gradient Adam's step is 0 / (0 + eps) and only decay is left: a factor and a product."""
    stack = new_stack([tiny(precision="float64", weight_decay=decay, lr=0.1) for decay in (0.0, 0.5, 2.0)])
    before = stack.flat.clone()
    update(stack, weightless(forward(stack, 100)), step=100)
    expected = torch.stack([before[i] * (1 - 0.1 * decay) for i, decay in enumerate((0.0, 0.5, 2.0))])
    torch.testing.assert_close(stack.flat, expected, rtol=4 * 2**-52, atol=0)
    assert not torch.equal(before[1], expected[1])


def test_a_forward_pass_in_float64_has_its_logits_and_slopes_and_leaves_weights_and_moments_in_float32():
    """Against autograd in float64 at the same float32 weights."""
    stack = new_stack([tiny(forward_precision="float64", n_layers=2), tiny(forward_precision="float64", n_layers=2)])
    config, pairs = stack.configs[0], stack.train_pairs
    exact = {name: value.detach()[0].double().requires_grad_() for name, value in stack.weights.items()}
    logits = config.model.logits(exact, pairs.inputs[0])
    ahead = forward(stack, 0)
    torch.testing.assert_close(ahead.logits[0], logits, rtol=1e-12, atol=1e-12)
    loss = torch_cross_entropy(logits, pairs.labels[0])
    slopes = dict(zip(exact, torch.autograd.grad(loss, list(exact.values()), allow_unused=True), strict=True))
    update(stack, ahead, 0)
    for name, found in stack.gradients.items():
        expected = slopes[name]
        assert expected is not None
        torch.testing.assert_close(found[0].double(), expected, rtol=2**-24, atol=1e-15)
    assert {value.dtype for value in stack.weights.values()} == {stack.flat.dtype} == {torch.float32}
    assert stack.optimizer.state["exp_avg"].dtype == torch.float32


def test_decay_follows_the_warm_up():
    stack = new_stack([tiny(precision="float64", weight_decay=2.0, lr=0.1, warmup=10)])
    before = stack.flat.clone()
    update(stack, weightless(forward(stack, 3)), step=3)
    torch.testing.assert_close(stack.flat, before * (1 - 0.03 * 2.0), rtol=1e-15, atol=0)


def test_first_step_of_a_warm_up_changes_nothing(tmp_path):
    warm, cold = (
        trained(tmp_path / name, warmup=warmup, checkpoint_every=1) for name, warmup in {"warm": 10, "cold": 0}.items()
    )
    assert all(torch.equal(value, warm.at(1)[name]) for name, value in warm.at(0).items())
    assert any(not torch.equal(value, warm.at(2)[name]) for name, value in warm.at(0).items())
    assert any(not torch.equal(value, cold.at(1)[name]) for name, value in cold.at(0).items())


@pytest.mark.parametrize("biases", [(), ("mlp",), ("attention", "unembed")])
def test_what_does_not_train_stays_at_zero_and_the_rest_moves(tmp_path, biases):
    run = trained(tmp_path, train_biases=biases)
    start, end = run.at(0), run.at(24)
    for name in start:
        fixed = tree.is_bias(name) and tree.role(name) not in biases
        unused = name in ("blocks.0.attn.b_K",)  # softmax does not see a shift of all scores
        if fixed:
            assert not start[name].any() and not end[name].any()
        elif not unused:
            assert not torch.equal(start[name], end[name])


@pytest.mark.bits
def test_state_taken_and_put_back_goes_on_with_the_same_bits():
    configs = [tiny(fixed_norm=True, norm_from_step=2), tiny(seed=1)]
    whole, again = new_stack(configs), new_stack(configs)
    for step in range(4):
        update(whole, forward(whole, step), step)
    put_state(again, [state_of(whole, i) for i in range(2)], 4)
    for step in range(4, 8):
        for stack in (whole, again):
            update(stack, forward(stack, step), step)
    assert torch.equal(whole.flat, again.flat)


# --- what is recorded -------------------------------------------------------------------------------


def test_history_at_a_step_belongs_to_the_weights_after_that_many_updates(tmp_path):
    run = trained(tmp_path, precision="float64", eval_every=1, checkpoint_every=4, n_layers=2)
    task, history = run.task, run.history
    assert history.index.tolist() == list(range(25))
    for step in run.steps:
        logits = run.config.transformer.activations(run.at(step), task.inputs)["logits"][:, -1]
        row = history.loc[[step]].iloc[0].to_dict()
        for split, where in {"train": task.is_train, "test": ~task.is_train}.items():
            loss = torch_cross_entropy(logits[where], task.labels[where]).item()
            right = int((logits.argmax(-1) == task.labels)[where].sum())
            assert row[f"{split}_loss"] == pytest.approx(loss, rel=1e-11)
            assert row[f"{split}_acc"] == right / int(where.sum())
        assert row["norm"] == pytest.approx(tree.norm(run.at(step)).item(), rel=1e-14)
    assert history["train_loss"].nunique() == 24  # the first step, at rate 0, repeats a loss


def test_evaluations_are_those_that_were_asked_for(tmp_path):
    run = trained(tmp_path, steps=40, eval_every=7, checkpoint_every=20, checkpoints_per_decade=0)
    assert run.history.index.tolist() == [0, 7, 14, 20, 21, 28, 35, 40]
    assert run.steps == [0, 20, 40]


@pytest.mark.parametrize("on_move", [0.01, 0.02])
def test_extra_checkpoints_appear_where_the_test_loss_moved(tmp_path, on_move):
    leaves = {"checkpoint_every": 24, "checkpoints_per_decade": 0, "eval_every": 2, "checkpoint_on_move": on_move}
    run = trained(tmp_path, **leaves)
    expected, saved = [], math.inf
    for step, loss in run.history["test_loss"].items():
        if step in (0, 24) or abs(math.log(loss) - saved) > on_move:
            expected, saved = [*expected, step], math.log(loss)
    assert run.steps == expected
    assert 2 < len(expected) < len(run.history)


def test_manifest_says_the_norms_behind_alpha_and_the_split(tmp_path):
    run = trained(tmp_path, alpha=0.5, alpha_mlp=3.0)
    start, weights = run.manifest["start"], run.at(0)
    assert start["norm"] == pytest.approx(tree.norm(weights).item(), rel=1e-12)
    assert start["n_train"] == run.task.n_train and start["split_hash"] == run.task.split_hash
    for role, norm in start["norm_by_role"].items():
        part = {name: value for name, value in weights.items() if tree.role(name) == role}
        assert norm == pytest.approx(tree.norm(part).item(), rel=1e-12)
    assert set(start["norm_by_role"]) == {"embed", "attention", "mlp", "unembed"}


def test_progress_sees_every_step_and_the_records_of_the_history(tmp_path):
    class Recording(Silent):
        def __init__(self) -> None:
            self.steps, self.records, self.ends = [], [], 0

        def at(self, step, records) -> None:
            self.steps.append(step)
            self.records += records or []

        def end(self) -> None:
            self.ends += 1

    seen = Recording()
    [run] = train([tiny()], tmp_path, names=["run"], progress=seen)
    assert seen.steps == list(range(25)) and seen.ends == 1
    assert seen.records == list(json_lines(run.path / "history.jsonl"))


# --- losses and accuracies --------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 1.0, 25.0, 700.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_of_a_margin_is_its_closed_form_also_where_float32_says_zero(margin, dtype):
    logits = torch.zeros(2, 5, 114, dtype=dtype)
    logits[..., 7] = margin
    losses = cross_entropy(logits, torch.full((5,), 7))
    assert losses.dtype == torch.float64 and losses.shape == (2, 5)
    expected = math.log1p(113 * math.exp(-margin))
    # one rounding of a sum near 1, and of a maximum of this size
    assert losses.flatten().tolist() == pytest.approx([expected] * 10, abs=4e-16 * max(margin, 5.0))


def test_float32_would_say_zero_at_a_margin_of_25():
    logits = torch.tensor([[25.0, 0.0, 0.0]])
    assert torch_cross_entropy(logits, torch.tensor([0])).item() == 0.0
    assert cross_entropy(logits, torch.tensor([0])).item() > 2e-11


def test_accuracy_is_a_count_over_a_count():
    """k / n as one division of integers, for every k; a mean of float32 would miss some of them."""
    n = 83
    labels = torch.zeros(n, dtype=torch.long)
    for right in range(n + 1):
        logits = torch.zeros(1, n, 3)
        logits[0, :right, 0] = 1
        logits[0, right:, 1] = 1
        assert accuracy(logits, labels).tolist() == [right / n]


def test_labels_are_shared_or_each_network_has_its_own():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 4, generator=generator)
    labels = torch.randint(4, (2, 6), generator=generator)
    for measure in (cross_entropy, accuracy):
        own = measure(logits, labels)
        for i in range(2):
            assert torch.equal(own[i], measure(logits[i], labels[i]))
            assert torch.equal(measure(logits, labels[0])[i], measure(logits[i], labels[0]))


# --- constraints ------------------------------------------------------------------------------------

PRECISION = [("float32", 1e-6), ("float64", 1e-12)]


@pytest.mark.parametrize(("precision", "tolerance"), PRECISION)
def test_held_norm_is_the_initial_one_at_every_checkpoint(tmp_path, precision, tolerance):
    run = trained(tmp_path, fixed_norm=True, precision=precision, checkpoint_every=1, weight_decay=0.3)
    radius = tree.norm(run.at(0)).item()
    assert [tree.norm(run.at(s)).item() for s in run.steps] == pytest.approx([radius] * 25, rel=tolerance)
    assert run.history["norm"].tolist() == pytest.approx([radius] * len(run.history), rel=tolerance)
    free = trained(tmp_path / "free", precision=precision, weight_decay=0.3)
    assert abs(tree.norm(free.at(24)).item() / radius - 1) > 0.01


@pytest.mark.parametrize(("precision", "tolerance"), PRECISION)
@pytest.mark.parametrize("grain", ["global", "tensor"])
def test_norm_is_held_from_the_step_that_was_asked_for(tmp_path, precision, tolerance, grain):
    leaves = {"precision": precision, "checkpoint_every": 1, "steps": 12, "warmup": 0}
    free = trained(tmp_path / "free", **leaves)
    held = trained(tmp_path / "held", **leaves, fixed_norm=True, norm_from_step=5, norm_grain=grain)
    norms = {step: tree.norm(held.at(step)).item() for step in held.steps}
    assert all(norms[step] == tree.norm(free.at(step)).item() for step in range(5))
    assert norms[5] == pytest.approx(tree.norm(free.at(5)).item(), rel=tolerance)
    assert [norms[step] for step in range(5, 13)] == pytest.approx([norms[5]] * 8, rel=tolerance)
    assert abs(norms[4] / norms[5] - 1) > 1e-4


@pytest.mark.parametrize(("precision", "tolerance"), PRECISION)
@pytest.mark.parametrize("from_step", [0, 5])
def test_given_radius_is_held(tmp_path, precision, tolerance, from_step):
    leaves = {"precision": precision, "checkpoint_every": 1, "steps": 12, "norm_from_step": from_step}
    run = trained(tmp_path, **leaves, fixed_norm=True, norm_radius=3.25)
    norms = [tree.norm(run.at(step)).item() for step in run.steps]
    assert norms[from_step:] == pytest.approx([3.25] * (13 - from_step), rel=tolerance)
    assert all(abs(norm - 3.25) > 0.1 for norm in norms[:from_step])


@pytest.mark.parametrize("radius", [None, 3.25])
def test_every_tensor_keeps_its_own_norm_and_fresh_biases_are_free(tmp_path, radius):
    leaves = {"precision": "float64", "norm_grain": "tensor", "norm_radius": radius, "checkpoint_every": 1}
    run = trained(tmp_path, **leaves, fixed_norm=True, steps=12)
    initial = initial_weights(run.config)
    share = 1.0 if radius is None else radius / tree.norm(initial).item()
    for step in run.steps:
        for name, value in run.at(step).items():
            if initial[name].any():
                assert value.norm().item() == pytest.approx(share * initial[name].norm().item(), rel=1e-12)
    assert run.at(12)["blocks.0.mlp.b_in"].norm() > 1e-3  # zero at the start: no direction to keep


def test_constraint_leaves_the_direction_of_the_step_and_discards_its_radial_part():
    free, held = (new_stack([tiny(precision="float64", warmup=0, fixed_norm=on)]) for on in (False, True))
    radius = tree.norm(held.views, axes=1)
    for stack in (free, held):
        update(stack, forward(stack, 0), step=0)
    by_hand = free.flat * (radius / tree.norm(free.views, axes=1))[:, None]
    torch.testing.assert_close(held.flat, by_hand, rtol=1e-15, atol=0)
    assert not torch.allclose(held.flat, free.flat, rtol=1e-4)


def test_constraint_leaves_the_direction_of_every_tensor():
    leaves = {"precision": "float64", "warmup": 0}
    free = new_stack([tiny(**leaves)])
    held = new_stack([tiny(**leaves, fixed_norm=True, norm_grain="tensor")])
    start = {name: value.norm().item() for name, value in held.views.items()}
    for stack in (free, held):
        update(stack, forward(stack, 0), step=0)
    for name, value in held.views.items():
        factor = start[name] / free.views[name].norm() if start[name] else 1.0
        torch.testing.assert_close(value, free.views[name] * factor, rtol=1e-14, atol=0)


# --- divergence -------------------------------------------------------------------------------------


def with_nan(kind: str, run: int, at_call: int) -> Any:
    """`forward` that spoils one run of the stack at one call."""
    calls = iter(range(10**6))

    def spoiled(stack, step):
        now = next(calls) == at_call
        if now and kind == "weight":
            with torch.no_grad():
                stack.flat[run, 0] = math.nan
        ahead = forward(stack, step)
        poison = torch.zeros_like(ahead.objective)
        if now and kind == "loss":
            poison[run] = math.nan
        if now and kind == "gradient":  # the value is 0, its derivative 0 * inf
            poison[run] = (stack.leaves["embed.W_E"][run].sum() * 0).sqrt()
        return ahead._replace(objective=ahead.objective + poison)

    return spoiled


@pytest.mark.parametrize("kind", ["loss", "gradient", "weight"])
@pytest.mark.parametrize("at", [0, 13, 20])
@pytest.mark.bits
def test_nan_ends_its_run_within_a_step_and_leaves_its_neighbours_their_bits(tmp_path, monkeypatch, kind, at):
    """At 13 nothing is due: the neighbours' histories must not tell that something happened."""
    configs = {"a": tiny(), "ill": tiny(seed=1), "c": tiny(alpha=0.7, fixed_norm=True, norm_from_step=3)}
    train([configs["a"], configs["c"]], tmp_path / "healthy", names=["a", "c"], save_every_s=math.inf)
    monkeypatch.setattr(circuitgrok.training.steps, "forward", with_nan(kind, run=1, at_call=at))
    runs = train(list(configs.values()), tmp_path / "mixed", names=list(configs), save_every_s=math.inf)
    assert [run.state for run in runs] == ["finished", "diverged", "finished"]
    mixed = files_of(tmp_path / "mixed")
    assert {name: content for name, content in mixed.items() if not name.startswith("ill/")} == files_of(
        tmp_path / "healthy"
    )
    *lines, last = json_lines(runs[1].path / "history.jsonl")
    assert last["step"] == at + (kind == "gradient") and "train_loss is nan" in last["diverged"]
    assert all(step < last["step"] for step in runs[1].steps)
    assert [line["step"] for line in lines] == [s for s in runs[0].history.index if s < last["step"]]
    for step in runs[1].steps:
        assert all(bool(value.isfinite().all()) for value in runs[1].at(step).values())


def test_diverged_run_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(circuitgrok.training.steps, "forward", with_nan("loss", run=0, at_call=13))
    run = trained(tmp_path)
    monkeypatch.undo()
    before = files_of(run.path)
    again = trained(tmp_path)
    assert again.state == "diverged" and files_of(run.path) == before
    assert again.history.index.tolist() == [0, 1, 2, 4, 5, 8, 10, 12] and again.steps[-1] == 10


def test_decay_that_explodes_stops_only_its_own_run_and_without_any_nan_on_disk(tmp_path):
    runs = train([tiny(), tiny(weight_decay=1e30)], tmp_path, names=["calm", "wild"])
    assert [run.state for run in runs] == ["finished", "diverged"]
    for line in (runs[1].path / "history.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON


def test_loop_ends_when_every_run_has_diverged(tmp_path):
    """A hundred million steps would not end within the test's time."""
    configs = [tiny(steps=10**8, checkpoint_every=10**7, lr=1e6, seed=seed) for seed in range(2)]
    runs = train(configs, tmp_path, names=["a", "b"])
    assert [run.state for run in runs] == ["diverged", "diverged"]
    for run in runs:
        *_, last = json_lines(run.path / "history.jsonl")
        assert 0 < last["step"] < 200 and run.steps[-1] < last["step"]


def test_weights_that_are_infinite_at_the_start_leave_no_checkpoint(tmp_path):
    run = trained(tmp_path, alpha=1e30)
    assert run.state == "diverged" and run.steps == []


def test_who_is_told_without_a_name_is_nobody_but_in_a_notebook_a_bar(monkeypatch):
    assert isinstance(usual_progress(), Silent)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(usual_progress(), LiveProgress)
    del shell.kernel  # IPython in a terminal
    assert isinstance(usual_progress(), Silent)


def test_a_run_that_goes_on_says_from_where(tmp_path, capsys):
    class Told(Silent):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

        def at(self, step, records):
            if step == 3 and not self.notes:
                signal.raise_signal(signal.SIGTERM)

    told = Told()
    with pytest.raises(Interrupted):
        train(tiny(steps=6), tmp_path, names=["run"], progress=told)
    told.notes.append("again")
    train(tiny(steps=6), tmp_path, names=["run"], progress=told)
    assert told.notes == ["again", "run: resuming at step 3"]
