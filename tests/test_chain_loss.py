"""The stack's loss and gradient against a plain float64 loop over networks, and minibatches of a chain's own."""

import pytest
import torch
from loops import for_each
from oracles import generator

from circuitgrok import tree
from circuitgrok.errors import UserError
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape import chain_loss
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.directions import quieting
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.composition import Composition
from circuitgrok.tasks.modular import ModularAddition, modular_addition
from circuitgrok.tasks.parity import SparseParity
from circuitgrok.tasks.teacher_student import TeacherStudent

MODEL = Transformer(p=7, d_model=8, n_heads=2, d_head=4, d_mlp=12)
TASK = modular_addition(7, 0.5, 0)


def networks(n, dtype=torch.float64):
    drawn = tree.stack(MODEL.init(generator(i), alpha=1.5) for i in range(n))
    return {name: value.to(dtype) for name, value in drawn.items()}


def loss_of(n=3, pattern="*", dtype=torch.float64, where=None):
    pairs = TASK.is_train if where is None else where
    return ChainLoss(MODEL, TASK, pairs, networks(n, dtype), chosen_pieces(MODEL, pattern))


def slow(network, names, where):
    """One network's loss and gradient, by autograd through the public logits."""
    leaves = {name: value.clone().requires_grad_() for name, value in network.items()}
    loss = cross_entropy(MODEL.logits(leaves, TASK.inputs[where]), TASK.labels[where]).mean()
    gradients = torch.autograd.grad(loss, [leaves[name] for name in names])
    return loss.item(), torch.cat([g.flatten() for g in gradients])


@for_each("pattern", ["*", "mlp", "*.W_[QK]", "unembed.W_U"])
def test_losses_and_gradients_are_those_of_each_network_alone_by_the_plain_forward(pattern):
    loss = loss_of(pattern=pattern)
    found = loss(loss.start)
    for i, network in enumerate(tree.unstack(loss.networks)):
        value, gradient = slow(network, [piece.name for piece in loss.pieces], TASK.is_train)
        assert found.value[i].item() == pytest.approx(value, rel=1e-12)
        # two float64 ways through the network, 40 products deep: 1e-12 of the largest is 10^4 roundings
        assert (found.gradient[i] - gradient).abs().max() < 1e-12 * gradient.abs().max()


def test_the_loss_at_another_position_is_that_of_the_moved_weights_with_the_others_fixed():
    loss = loss_of(n=2, pattern="attention")
    moved = loss.start + 0.3 * torch.randn(loss.start.shape, generator=generator(5), dtype=torch.float64)
    found = loss(moved)
    for i in range(2):
        network = {name: value[i] for name, value in loss.networks.items()}
        names = [piece.name for piece in loss.pieces]
        network |= tree.unravel(moved[i], {name: network[name] for name in names})
        assert found.value[i].item() == pytest.approx(slow(network, names, TASK.is_train)[0], rel=1e-12)


def test_a_head_moves_alone_and_its_gradient_is_its_part_of_the_tensors():
    loss, whole = loss_of(n=2, pattern="blocks.0.attn.head.1"), loss_of(n=2, pattern="blocks.0.attn.W_[QKVO]")
    parts = tree.unravel(
        whole(whole.start).gradient, {piece.name: piece.of(whole.networks)[0] for piece in whole.pieces}
    )
    expected = torch.cat([value[:, 1].flatten(1) for value in parts.values()], dim=1)
    found = loss(loss.start)
    assert [piece.name[-3:] for piece in loss.pieces] == ["W_Q", "W_K", "W_V", "W_O"]
    assert torch.allclose(found.gradient, expected, rtol=1e-12, atol=1e-15)
    moved = loss.start + 1.0
    network = {name: value[0].clone() for name, value in loss.networks.items()}
    for name in parts:
        network[name][1] += 1.0
    assert loss(moved).value[0].item() == pytest.approx(slow(network, list(parts), TASK.is_train)[0], rel=1e-12)


@for_each("pattern", ["blocks.0.attn.head.2", "blocks.1.attn.head.0"])
def test_a_head_that_is_not_there_is_refused(pattern):
    with pytest.raises(ValueError, match="there are 1 layers of 2 heads, from 0"):
        chosen_pieces(MODEL, pattern)


def test_a_chain_has_the_same_bits_alone_and_in_a_stack_that_is_cut_into_parts(monkeypatch):
    together = loss_of(n=5)
    whole = together(together.start)
    monkeypatch.setattr(chain_loss, "_NUMBERS", 2 * int(TASK.is_train.sum()) * MODEL.d_mlp)  # two chains at once
    parts = loss_of(n=5)(together.start)
    assert torch.equal(whole.value, parts.value) and torch.equal(whole.gradient, parts.gradient)
    alone = ChainLoss(MODEL, TASK, TASK.is_train, {k: v[3:4] for k, v in together.networks.items()}, together.pieces)
    assert torch.equal(alone(alone.start).gradient[0], whole.gradient[3])


def test_float32_weights_give_losses_to_a_few_roundings_of_a_logit():
    exact, rounded = loss_of(), loss_of(dtype=torch.float32)
    largest = MODEL.logits(exact.networks, TASK.inputs).abs().max().item()
    difference = (exact(exact.start).value - rounded(rounded.start).value).abs().max().item()
    # a logit errs by some sqrt(40) roundings of its size, the mean over pairs by less
    assert 0 < difference < 10 * torch.finfo(torch.float32).eps * largest


def test_a_batch_of_all_pairs_is_the_full_loss_and_smaller_ones_are_unbiased():
    loss, n = loss_of(n=2), int(TASK.is_train.sum())
    full = loss(loss.start)
    every = loss.on_batches(n, loss.start, [generator(0), generator(1)])
    # the same pairs in another order: float64 sums of 24 terms
    assert torch.allclose(every.value, full.value, rtol=1e-13, atol=0)
    chains = [generator(2), generator(3)]
    draws = torch.stack([loss.on_batches(6, loss.start, chains).value for _ in range(400)])
    assert not torch.equal(draws[:, 0], draws[:, 1])
    error = draws.std(0) / 20
    assert ((draws.mean(0) - full.value).abs() < 4 * error).all()


def test_batches_depend_on_the_chains_own_generator_only():
    loss = loss_of(n=2)
    first = loss.on_batches(5, loss.start, [generator(7), generator(8)]).value
    second = loss.on_batches(5, loss.start, [generator(9), generator(8)]).value
    assert first[1] == second[1] and first[0] != second[0]


def test_only_trained_tensors_are_chosen_and_a_pattern_without_any_is_refused():
    chosen = [piece.name for piece in chosen_pieces(MODEL)]
    assert not [name for name in chosen if name.endswith(("b_Q", "b_K", "b_V", "b_O", "b_U"))]
    assert {tree.role(name) for name in chosen} == {"embed", "attention", "mlp", "unembed"}
    with pytest.raises(ValueError, match="no tensor matches 'mpl'; there are embed.W_E"):
        chosen_pieces(MODEL, "mpl")
    with pytest.raises(ValueError, match="no trained tensor has the role 'normalization'"):
        chosen_pieces(MODEL, "normalization")


def test_a_split_without_pairs_is_refused():
    with pytest.raises(ValueError, match="at least one pair"):
        loss_of(where=torch.zeros_like(TASK.is_train))


OTHER_KINDS = {
    "features": (DenseMLP(n_in=9, n_out=2, width=6, depth=2), SparseParity(n_bits=9, n_train=40, n_test=20)),
    "pairs": (DenseMLP(n_in=14, n_out=7, width=6), ModularAddition(p=7, frac_train=0.5)),
    "embeddings": (EmbeddingMLP(p=6, d_embed=4, d_hidden=5, own_tokens=True), Composition(group="S3")),
    "squares": (QuadraticMLP(p=7, n_neurons=5), ModularAddition(p=7, frac_train=0.5)),
}


@for_each("name", OTHER_KINDS)
@for_each("pattern", ["*", "mlp"])
def test_losses_and_gradients_of_mlps_are_those_of_each_network_alone(name, pattern):
    model, task = OTHER_KINDS[name][0], OTHER_KINDS[name][1].draw()
    networks = tree.stack(model.init(generator(i), model.schemes[0]) for i in range(3))
    loss = ChainLoss(model, task, task.is_train, networks, chosen_pieces(model, pattern))
    found, inputs, labels = loss(loss.start), task.inputs[task.is_train], task.labels[task.is_train]
    for i, network in enumerate(tree.unstack(networks)):
        leaves = {name: value.clone().requires_grad_() for name, value in network.items()}
        value = cross_entropy(model.logits(leaves, inputs), labels).mean()
        gradients = torch.autograd.grad(value, [leaves[piece.name] for piece in loss.pieces])
        gradient = torch.cat([g.flatten() for g in gradients])
        assert found.value[i].item() == pytest.approx(value.item(), rel=1e-12)
        # two float64 ways through the network: 1e-12 of the largest is 10^4 roundings
        assert (found.gradient[i] - gradient).abs().max() < 1e-12 * gradient.abs().max()
    alone = ChainLoss(model, task, task.is_train, {k: v[2:] for k, v in networks.items()}, loss.pieces)
    assert torch.equal(alone(alone.start).gradient[0], found.gradient[2])
    assert loss.on_batches(5, loss.start, [generator(i) for i in range(3)]).value.isfinite().all()


def test_features_are_taken_in_the_precision_of_the_weights():
    model, task = OTHER_KINDS["features"][0], OTHER_KINDS["features"][1].draw()
    networks = {name: value[None].float() for name, value in model.init(generator(0)).items()}
    loss = ChainLoss(model, task, task.is_train, networks, chosen_pieces(model))
    assert loss(loss.start).gradient.dtype == torch.float32


def test_a_regression_and_heads_of_an_mlp_are_refused():
    model, task = DenseMLP(n_in=5, n_out=5, width=4), TeacherStudent(n_train=20, n_test=5).draw()
    networks = {name: value[None] for name, value in model.init(generator(0)).items()}
    with pytest.raises(ValueError, match="needs classes; the answers of this task are real numbers"):
        ChainLoss(model, task, task.is_train, networks, chosen_pieces(model))
    with pytest.raises(ValueError, match="no head 'blocks.0.attn.head.1': a dense network has none"):
        chosen_pieces(model, "blocks.0.attn.head.1")


def test_chains_of_several_splits_have_the_losses_that_each_has_alone(monkeypatch):
    splits = torch.stack([modular_addition(7, 0.5, seed).is_train for seed in range(5)])
    monkeypatch.setattr(chain_loss, "_NUMBERS", 2 * int(splits[0].sum()) * MODEL.d_mlp)  # two chains at once, and one
    together = loss_of(5, where=splits)
    for _ in range(2):  # the second time from what was kept of the pairs
        found, drawn = (
            together(together.start),
            together.on_batches(9, together.start, [generator(i) for i in range(5)]),
        )
        for i in range(5):
            alone = ChainLoss(
                MODEL, TASK, splits[i], {n: v[i : i + 1] for n, v in together.networks.items()}, together.pieces
            )
            expected, batch = alone(alone.start), alone.on_batches(9, alone.start, [generator(i)])
            assert torch.equal(found.value[i], expected.value[0]) and torch.equal(drawn.value[i], batch.value[0])
            assert torch.equal(found.gradient[i], expected.gradient[0])
            assert torch.equal(drawn.gradient[i], batch.gradient[0])


def test_splits_of_different_sizes_are_refused():
    splits = torch.stack([TASK.is_train, TASK.is_train])
    splits[1, splits[1].nonzero()[0]] = False
    with pytest.raises(UserError, match="as many pairs"):
        loss_of(2, where=splits)


def test_smaller_logits_are_those_of_each_chains_own_pairs():
    splits = torch.stack([modular_addition(7, 0.5, seed).is_train for seed in range(3)])
    together = loss_of(3, where=splits)
    found = quieting(together)(together.start)  # float32: products of stacks differ in their last bits
    for i in range(3):
        network = {name: value[i : i + 1] for name, value in together.networks.items()}
        alone = ChainLoss(MODEL, TASK, splits[i], network, together.pieces)
        torch.testing.assert_close(found[i : i + 1], quieting(alone)(alone.start), rtol=1e-4, atol=1e-6)
