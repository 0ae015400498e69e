"""The homogeneous control: its slow twin, its scale, and that what is kept are steps of one course."""

import torch
from oracles import noise

from circuitgrok.exact import homogeneous
from circuitgrok.tasks.modular import modular_addition


def test_logits_are_those_of_a_loop_and_four_times_as_large_for_twice_the_weights():
    params = {"U": noise(5, 7, seed=1), "V": noise(5, 7, seed=2), "W": noise(7, 5, seed=3)}
    task = modular_addition(5, 0.5)
    found = homogeneous.logits(params, task.inputs)
    for (a, b, *_), row in zip(task.inputs.tolist(), found, strict=True):
        hidden = [max(0.0, (params["U"][a, i] + params["V"][b, i]).item()) for i in range(7)]
        slow = torch.stack([h * params["W"][i] for i, h in enumerate(hidden)]).sum(0)
        assert torch.allclose(row, slow, rtol=1e-12)
    doubled = {name: 2 * value for name, value in params.items()}
    assert torch.allclose(homogeneous.logits(doubled, task.inputs), 4 * found, rtol=1e-14)


def test_networks_learn_their_own_splits_alone_and_side_by_side():
    tasks = [modular_addition(5, 0.6, seed) for seed in (0, 1)]
    both, one = homogeneous.trained(tasks, 300, 3, width=32), homogeneous.trained(tasks[:1], 2, 3, width=32)
    assert both["U"].shape == (2, 3, 5, 32) and both["W"].shape == (2, 3, 32, 5)
    assert torch.equal(both["U"][0, 0], one["U"][0, 0])  # drawn first
    scores = homogeneous.scores({name: value[1] for name, value in both.items()}, tasks[1])
    assert scores["loss[train]"][-1] < 0.5 * scores["loss[train]"][0] and scores["accuracy[train]"][-1] == 1
    other = homogeneous.scores({name: value[1] for name, value in both.items()}, tasks[0])
    assert other["accuracy[train]"][-1] < 1  # some of these were not trained on
