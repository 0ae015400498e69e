"""Scores of chains' networks against each alone, and the bound of stability against a quadratic's."""

import pytest
import torch
from oracles import generator, noise

from circuitgrok import tree
from circuitgrok.interventions.losses import accuracy, cross_entropy
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.chain_scores import chain_scores, stable_below
from circuitgrok.models.transformer import Transformer
from circuitgrok.samplers.target import LossGrad, Target
from circuitgrok.tasks.modular import modular_addition

MODEL = Transformer(p=7, d_model=8, n_heads=2, d_head=4, d_mlp=12)


def test_each_chain_is_scored_on_its_own_pairs_in_float64():
    tasks = [modular_addition(7, 0.5, seed) for seed in (0, 1)]
    trained = torch.stack([task.is_train for task in tasks])
    drawn = tree.stack(MODEL.init(generator(i), alpha=2.0) for i in range(2))
    networks = {name: value.float() for name, value in drawn.items()}
    loss = ChainLoss(MODEL, tasks[0], trained, networks, chosen_pieces(MODEL, "mlp"))
    found = chain_scores(loss, loss.start, {"train": trained, "test": ~trained})
    assert all(value.dtype == torch.float64 for value in found.values())
    for i, task in enumerate(tasks):
        exact = {name: value[i].double() for name, value in networks.items()}
        for split in ("train", "test"):
            where = task.where(split)
            logits, labels = MODEL.logits(exact, task.inputs[where]), task.labels[where]
            assert found[f"{split}_loss"][i].item() == pytest.approx(cross_entropy(logits, labels).mean().item())
            assert found[f"{split}_acc"][i].item() == pytest.approx(accuracy(logits, labels).item())
    # that of float32 logits, whose roundings are 6e-8 of them each, and a dozen deep
    torch.testing.assert_close(found["train_loss"], loss(loss.start).value, rtol=1e-6, atol=0)


def test_steps_are_stable_below_four_over_the_largest_curvature_of_the_whole_potential():
    curvature = torch.tensor([[1.0, 5.0, 2.0], [0.5, 0.1, 3.0]]).double()
    pull, nbeta = torch.tensor([2.0, 0.0]).double(), torch.tensor([10.0, 100.0]).double()
    bowl = Target(
        lambda w: LossGrad((curvature * w * w).sum(-1) / 2, curvature * w), torch.zeros(2, 3).double(), nbeta, pull
    )
    expected = 4 / (nbeta * curvature.amax(1) + pull)
    torch.testing.assert_close(stable_below(bowl, noise(2, 3)), expected, rtol=1e-6, atol=0)
