"""Batches: what a step sees by rule and by chance, its gradient by hand, the size of its noise over all batches."""

import itertools
import math

import pytest
import torch
from oracles import noise
from tiny import tiny
from tiny_kinds import tiny_kind

from circuitgrok.interventions.base import applied
from circuitgrok.interventions.batches import MiniBatch, noise_columns
from circuitgrok.training.loop import train
from circuitgrok.training.moment import moment
from circuitgrok.training.pairs import seen_pairs
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import forward

EPS = torch.finfo(torch.float64).eps


def places(step: int, seeds=(0,), n: int = 23, batch_size: int = 5, batch_replacement: bool = False) -> torch.Tensor:
    one = MiniBatch(batch_size=batch_size, batch_replacement=batch_replacement)
    return applied([one] * len(seeds))(seeds, n_pairs=n, step=step)


@pytest.mark.parametrize(("n", "size"), [(23, 5), (20, 5), (7, 6), (3, 1), (9, 8)])
def test_an_epoch_goes_through_all_pairs_once_and_its_last_batch_has_what_is_left(n, size):
    steps = math.ceil(n / size)
    for epoch in range(3):
        batches = [places(epoch * steps + i, n=n, batch_size=size)[0] for i in range(steps)]
        assert sorted(torch.cat(batches).tolist()) == list(range(n))
        assert [len(batch) for batch in batches] == [size] * (n // size) + ([n % size] if n % size else [])


def test_orders_differ_by_epoch_and_seed_and_are_the_same_when_asked_again():
    epochs = [torch.cat([places(5 * epoch + i, (seed,))[0] for i in range(5)]) for epoch in (0, 1) for seed in (0, 1)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(epochs, 2))
    assert torch.equal(places(7), places(7))
    several = places(7, (4, 0, 2))
    assert torch.equal(several[1], places(7)[0]) and not torch.equal(several[0], several[1])


def test_every_pair_is_as_often_in_the_first_batch_and_every_two_as_often_together():
    """Without replacement: 5 of 23, and two pairs together with probability 5 * 4 / (23 * 22)."""
    trials = 4000
    first = torch.stack([places(5 * epoch)[0] for epoch in range(trials)])
    counts = torch.bincount(first.flatten(), minlength=23) / trials
    share = 5 / 23
    assert (counts - share).abs().max() < 4.5 * math.sqrt(share * (1 - share) / trials)  # the largest of 23
    together = ((first == 0).any(1) & (first == 1).any(1)).double().mean().item()
    expected = 5 * 4 / (23 * 22)
    assert abs(together - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)


def test_with_replacement_every_place_is_drawn_from_all_pairs():
    trials = 4000
    drawn = torch.stack([places(step, batch_replacement=True)[0] for step in range(trials)])
    assert drawn.shape == (trials, 5)
    counts = torch.bincount(drawn.flatten(), minlength=23) / drawn.numel()
    assert (counts - 1 / 23).abs().max() < 4.5 * math.sqrt(1 / 23 * 22 / 23 / drawn.numel())
    twice = (drawn[:, 0] == drawn[:, 1]).double().mean().item()
    assert abs(twice - 1 / 23) < 4 * math.sqrt(1 / 23 * 22 / 23 / trials)
    assert places(3, batch_size=40, batch_replacement=True).shape == (1, 40)  # more than there are


@pytest.mark.parametrize("size", [61, 60])
def test_a_batch_of_all_pairs_is_refused_and_says_how_many_there_are(size):
    with pytest.raises(ValueError, match=f"below the number of training pairs, 60: leave it out.*got {size}"):
        tiny(batch_size=size)
    assert tiny(batch_size=size, batch_replacement=True).interventions == (
        MiniBatch(batch_size=size, batch_replacement=True),
    )


@pytest.mark.parametrize("replacement", [True, False])
def test_noise_has_in_the_mean_over_all_batches_the_covariance_of_the_pairs(replacement):
    """Every batch of 2 of 5 pairs, each with a gradient of its own: the mean of the estimates is the trace, exactly."""
    n, size = 5, 2
    of_pairs = noise(n, 4, seed=3) + 1
    full = of_pairs.mean(0)
    trace = (of_pairs - full).square().sum(-1).mean()
    batches = list(itertools.product(range(n), repeat=2) if replacement else itertools.combinations(range(n), 2))
    weights = {"w": noise(len(batches), 4, seed=4)}
    seen = torch.stack([of_pairs[list(batch)].mean(0) for batch in batches])
    every = full.expand(len(batches), 4)
    found = noise_columns(weights, {"w": every}, {"w": seen}, n, size, replacement)
    scale = (trace / full.square().sum()).item()
    assert found["noise_scale"].mean().item() == pytest.approx(scale, rel=16 * EPS)
    difference = seen - every
    torch.testing.assert_close(found["batch_noise_norm"], difference.norm(dim=-1), rtol=8 * EPS, atol=0)
    radial = (difference * weights["w"]).sum(-1) / weights["w"].norm(dim=-1)
    torch.testing.assert_close(found["batch_noise_radial"], radial, rtol=0, atol=16 * EPS)
    assert found["full_gradient_norm"].tolist() == pytest.approx([full.norm().item()] * len(batches), rel=8 * EPS)


def test_a_gradient_of_zero_has_no_scale():
    at, none = {"w": torch.ones(1, 2)}, {"w": torch.zeros(1, 2)}
    assert noise_columns(at, none, at, 9, 3, False)["noise_scale"].isnan().all()


# In training


CONFIGS = {
    "transformer": tiny(batch_size=16, precision="float64"),
    "images": tiny_kind("digits", batch_size=16, loss="cross_entropy", temperature=1.0, precision="float64"),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_step_sees_the_gradient_of_its_batch(config):
    stack = new_stack([config, config.with_(noise_seed=1, seed=1)])
    task, step = config.task.draw(), 9  # in another epoch than the first: of 60 pairs the second batch of the third
    train_side = torch.as_tensor(task.is_train).nonzero()[:, 0]
    ahead = forward(stack, step)
    found = torch.autograd.grad(ahead.objective.sum(), list(stack.leaves.values()))
    for run, seed in enumerate((0, 1)):
        where = train_side[places(step, (seed,), n=len(train_side), batch_size=16)[0]]
        params = {name: value[run].detach().clone().requires_grad_() for name, value in stack.weights.items()}
        inputs = task.inputs[where].double() if task.inputs.is_floating_point() else task.inputs[where]
        loss = torch.nn.functional.cross_entropy(config.model.logits(params, inputs), task.labels[where])
        assert ahead.objective[run].item() == pytest.approx(loss.item(), rel=1e-12)
        expected = torch.autograd.grad(loss, [params[name] for name in stack.leaves])
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one[run], other, rtol=1e-11, atol=1e-14)


def test_history_is_of_all_training_pairs_and_updates_say_how_noisy_their_steps_were(tmp_path):
    [run] = train([tiny(batch_size=7, precision="float64", eval_every=6)], tmp_path, names=["run"])
    task, last = run.task, run.history.index[-1]
    logits = run.config.model.logits(run.at(last), task.inputs)
    where = task.where("train")
    loss = torch.nn.functional.cross_entropy(logits[where], task.labels[where]).item()
    assert run.history["train_loss"].loc[last] == pytest.approx(loss, rel=1e-11)
    right = (logits[where].argmax(-1) == task.labels[where]).double().mean().item()
    assert run.history["train_acc"].loc[last] == right
    assert {"noise_scale", "batch_noise_norm", "batch_noise_radial", "full_gradient_norm"} <= set(run.updates)
    for step in run.updates.index:
        params = {name: value.clone().requires_grad_() for name, value in run.at(step).items()}
        trained = [value for name, value in params.items() if run.config.model.is_trainable(name)]
        loss = torch.nn.functional.cross_entropy(
            run.config.model.logits(params, task.inputs)[where], task.labels[where]
        )
        whole = torch.cat([part.flatten() for part in torch.autograd.grad(loss, trained)]).norm().item()
        assert run.updates["full_gradient_norm"].loc[step] == pytest.approx(whole, rel=1e-11)


def test_accuracy_that_a_hold_waits_for_is_that_of_all_training_pairs(tmp_path):
    leaves = {"fixed_norm": True, "hold_from_train_acc": 0.5, "steps": 300, "eval_every": 1, "precision": "float64"}
    [run] = train([tiny(batch_size=5, weight_decay=0.0, checkpoint_every=300, **leaves)], tmp_path, names=["run"])
    reached = int(run.history.index[run.history["train_acc"] >= 0.5][0]) + 1
    norm = run.history["norm"]
    assert 10 < reached < 280
    assert (norm.loc[reached:] / norm.loc[reached] - 1).abs().max() < 1e-12 < (norm.diff().loc[2:reached].abs()).min()


def test_a_full_batch_sees_all_pairs_and_records_no_noise(finished):
    stack = new_stack([tiny()])
    assert seen_pairs(stack, moment(stack, 3)) is stack.train_pairs
    assert not [name for name in finished.updates if "noise" in str(name)]
