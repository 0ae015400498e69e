"""Walks from a checkpoint: every number by a slow twin, steps by hand, laws that are known, and energies shared out."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from loops import for_each
from oracles import generator, slow_angle
from tiny import tiny

from circuitgrok import tree
from circuitgrok.interventions.losses import accuracy, cross_entropy
from circuitgrok.landscape import exploration
from circuitgrok.landscape.exploration import equipartition, explore
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.models.transformer import Transformer
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.target import Info, LossGrad, Sampler, Target
from circuitgrok.table.explore import explore_run
from circuitgrok.tasks.modular import modular_addition

MODEL = Transformer(p=7, d_model=8, n_heads=2, d_head=4, d_mlp=12)
TASK = modular_addition(7, 0.5, 0)
WEIGHTS = MODEL.init(generator(0), alpha=1.5)
TRAINED = [name for name in WEIGHTS if MODEL.is_trainable(name)]
DIM = sum(WEIGHTS[name].numel() for name in TRAINED)


def sampling(**fields: Any) -> Sampling:
    given = {"sampler": "hmc", "step_size": 1e-4, "n_leapfrog": 4, "localization": 0.0, "n_chains": 2, "n_draws": 8}
    return Sampling.model_validate(given | fields)


def trained(network):
    return {name: network[name] for name in TRAINED}


def slow_loss(network, where):
    return cross_entropy(MODEL.logits(network, TASK.inputs[where]), TASK.labels[where]).mean()


# --- what is recorded -------------------------------------------------------------------------------


@for_each(
    "how",
    [
        sampling(),
        sampling(sampler="sgld", batch_size=9, on="all", localization=5.0),
        sampling(sampler="sghmc", step_size=1e-5, geometry="no_radial"),
    ],
)
def test_the_last_row_of_a_chain_is_what_its_end_scores_by_slow_twins(how):
    table, end = explore(WEIGHTS, MODEL, TASK, how, prior=3.0)
    nbeta = how.inverse_temperature(TASK.n_train)
    for i, network in enumerate(tree.unstack(end)):
        row = table[table["chain"] == i].iloc[-1]
        assert (row["draw"], row["step"]) == (8, 8)
        flat, first = tree.ravel(trained(network)), tree.ravel(trained(WEIGHTS))
        losses = {split: slow_loss(network, TASK.where(split)).item() for split in ("train", "test", "all")}
        energy = nbeta * losses[how.on] + 1.5 * (flat @ flat) + how.localization / 2 * ((flat - first) @ (flat - first))
        logits = MODEL.logits(network, TASK.inputs)
        exact = {
            "train_loss": losses["train"],
            "test_loss": losses["test"],
            "train_acc": accuracy(logits[TASK.is_train], TASK.labels[TASK.is_train]).item(),
            "test_acc": accuracy(logits[~TASK.is_train], TASK.labels[~TASK.is_train]).item(),
            "norm": flat.norm().item(),
            "angle": slow_angle(flat, first),
            "potential": energy.item(),
        }
        # float64 sums of some hundred terms
        assert row[list(exact)].to_dict() == pytest.approx(exact, rel=1e-12)
        assert math.isnan(row["kinetic"]) == (how.sampler != "hmc")
        assert math.isnan(row["delta_H"]) == math.isnan(row["acceptance"]) == (how.sampler != "hmc")


def test_every_chain_begins_at_the_weights_before_anything_has_moved():
    table, _ = explore(WEIGHTS, MODEL, TASK, sampling(n_thin=3))
    first = table[table["draw"] == 0]
    assert len(table) == 2 * 9 and first["chain"].tolist() == [0, 1]
    assert (first["angle"] == 0).all() and (table["step"] == 3 * table["draw"]).all()
    assert first["norm"].tolist() == pytest.approx([tree.norm(trained(WEIGHTS)).item()] * 2, rel=1e-12)
    assert first[["kinetic", "delta_H", "acceptance"]].isna().all(axis=None)
    assert (table.loc[table["draw"] > 0, "angle"] > 1e-3).all()


def test_a_measure_adds_its_columns():
    def measure(networks):
        return {"W_U": networks["unembed.W_U"].norm(dim=(1, 2)), "embed[0]": networks["embed.W_E"][:, 0, 0]}

    table, end = explore(WEIGHTS, MODEL, TASK, sampling(), measure=measure)
    last = table[table["draw"] == 8]
    # Two sums of some hundred squares in float64, in orders that a copy's layout may change.
    assert last["W_U"].tolist() == pytest.approx(end["unembed.W_U"].norm(dim=(1, 2)).tolist(), rel=1e-12)
    assert last["embed[0]"].tolist() == end["embed.W_E"][:, 0, 0].tolist()


def test_only_the_chosen_tensors_move():
    _, end = explore(WEIGHTS, MODEL, TASK, sampling(parameters="blocks.0.attn.head.1"), prior=1.0)
    for name, value in end.items():
        of_head = name.startswith("blocks.0.attn.W")
        assert torch.equal(value[:, 0], WEIGHTS[name][0].expand_as(value[:, 0]))
        assert torch.equal(value, WEIGHTS[name].expand_as(value)) != of_head


def test_a_chain_has_the_same_bits_beside_others_and_chains_differ():
    two, four = (explore(WEIGHTS, MODEL, TASK, sampling(n_chains=n)) for n in (2, 4))
    assert two.table.equals(four.table[four.table["chain"] < 2])
    assert four.table[four.table["draw"] == 8]["test_loss"].nunique() == 4
    assert not set(exploration._seeds(sampling(n_chains=9))) & set(exploration._seeds(sampling(n_chains=9, seed=1)))


def test_a_chain_that_diverges_is_nan_from_there_on_and_its_neighbour_is_not(monkeypatch):
    def breaking(sampling, target, geometry, jitter):
        def init(position, generators):
            return {"position": position, "done": torch.zeros(len(position))}

        def step(state, generators):
            done = state["done"] + 1
            position = state["position"] + 0.01
            position[1] = torch.where(done[1] >= 5, torch.nan, position[1])
            return {"position": position, "done": done}, Info(*[done.double()] * 3)

        return Sampler(init, step)

    monkeypatch.setattr(exploration, "_sampler", breaking)
    table, end = explore(WEIGHTS, MODEL, TASK, sampling(n_thin=2))
    one, other = (table[table["chain"] == i] for i in range(2))
    assert one.drop(columns="kinetic")[1:].notna().all(axis=None)
    gone = ["train_loss", "test_acc", "norm", "angle", "potential", "delta_H"]
    assert other[gone].isna().all(axis=1).tolist() == [False] * 3 + [True] * 6  # step 5 is on the way to draw 3
    assert end["unembed.W_U"][1].isfinite().all()


# --- where chains go --------------------------------------------------------------------------------


def test_steps_of_sgld_are_those_by_hand_with_prior_and_localization():
    how = sampling(sampler="sgld", step_size=1e-3, nbeta=20.0, localization=4.0)
    _, end = explore(WEIGHTS, MODEL, TASK, how, prior=7.0)
    for chain, seed in enumerate(exploration._seeds(how)):
        numbers, first = generator(seed), tree.ravel(trained(WEIGHTS))
        w = first
        for _ in range(how.n_draws):
            leaf = w.clone().requires_grad_()
            network = WEIGHTS | tree.unravel(leaf, trained(WEIGHTS))
            (gradient,) = torch.autograd.grad(slow_loss(network, TASK.is_train), leaf)
            force = 20.0 * gradient + 7.0 * w + 4.0 * (w - first)
            w = w - 5e-4 * force + math.sqrt(1e-3) * torch.empty_like(w).normal_(generator=numbers)
        found = tree.ravel(trained({name: value[chain] for name, value in end.items()}))
        # eight steps of float64, each adding what two ways through the network differ by
        assert (found - w).abs().max() < 1e-12


def test_with_a_prior_and_no_data_the_norm_has_the_law_of_chi():
    # A quarter turn of every coordinate: draws that do not remember, the first of them but for jitter.
    prior = 4.0
    how = sampling(nbeta=1e-12, step_size=math.pi**2 / 4 / prior / 64, n_leapfrog=8, n_chains=16, n_draws=12)
    table, _ = explore(WEIGHTS, MODEL, TASK, how, prior=prior)
    chi = math.sqrt(prior) * table.loc[table["draw"] > 4, "norm"]
    mean = math.sqrt(2) * math.exp(math.lgamma((DIM + 1) / 2) - math.lgamma(DIM / 2))
    # A draw remembers cos^2 of 0.8 to 1 quarter turns of a square, 0.03 on average, and all of it where it rejected.
    kept = 0.03 + 1 - table["acceptance"].mean()
    n = len(chi) * (1 - kept) / (1 + kept)
    assert abs(chi.mean() - mean) < 4 * math.sqrt((DIM - mean**2) / n)
    assert chi.var() == pytest.approx(DIM - mean**2, rel=4 * math.sqrt(2 / n))
    kinetic = table.loc[table["draw"] > 0, "kinetic"]  # of DIM degrees of freedom 1/2 each, at a variance of 1/2
    assert abs(kinetic.mean() - DIM / 2) < 4 * math.sqrt(DIM / 2 / len(kinetic))
    assert kept < 0.2


def test_the_norm_that_sgld_ends_at_without_data_is_too_large_by_its_step():
    prior, step_size = 100.0, 4e-3
    how = sampling(sampler="sgld", nbeta=1e-12, step_size=step_size, n_thin=4, n_chains=4, n_draws=40)
    table, _ = explore(WEIGHTS, MODEL, TASK, how, prior=prior)
    kept = (1 - prior * step_size / 2) ** 8  # of a square, from draw to draw
    squares = table.loc[table["draw"] > 10, "norm"] ** 2
    expected = DIM / (prior * (1 - prior * step_size / 4))
    error = expected * math.sqrt(2 / DIM * (1 + kept) / (1 - kept) / len(squares))
    assert abs(squares.mean() - expected) < 4 * error < 0.1 * expected


def test_chains_on_the_sphere_turn_and_keep_their_norm_and_a_prior_is_nothing_to_them():
    how = sampling(geometry="sphere", step_size=1e-3, n_draws=10)
    plain, held = (explore(WEIGHTS, MODEL, TASK, how, prior=prior).table for prior in (0.0, 50.0))
    norm = tree.norm(trained(WEIGHTS)).item()
    assert (plain["norm"] / norm - 1).abs().max() < 1e-13  # set anew by each of 40 moves, to a few roundings
    assert plain.loc[plain["draw"] == 10, "angle"].min() > 0.2
    # the radial force is taken off to rounding of its size, 50 times the norm; the walk multiplies that by little
    assert (plain["angle"] - held["angle"]).abs().max() < 1e-10
    assert (held["potential"] - plain["potential"] - 25 * norm**2).abs().max() < 1e-9


def test_the_energy_error_on_a_network_falls_with_the_square_of_the_leapfrog():
    model = MODEL.model_copy(update={"act": "gelu"})  # a kink of ReLU costs more, and not always
    errors = []
    for halvings in range(3):
        how = sampling(n_chains=6, step_size=1e-4 / 4**halvings, n_leapfrog=2 * 2**halvings)
        table, _ = explore(WEIGHTS, model, TASK, how, jitter=0.0)
        errors.append(table.loc[table["draw"] == 1, "delta_H"].abs().mean())  # of one trajectory, ever finer
    # the next term is of relative order h^2 a, the curvature a times 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.025)


def test_exploring_a_run_is_exploring_its_checkpoint(finished):
    found = explore_run(finished, 8, sampling(step_size=1e-5), prior=2.0)
    expected = explore(finished.at(8), finished.config.model, finished.task, sampling(step_size=1e-5), prior=2.0)
    assert found.table.equals(expected.table)
    assert found.table["train_loss"].iloc[0] == pytest.approx(finished.history.loc[8, "train_loss"], rel=1e-5)


# --- energies shared out ----------------------------------------------------------------------------

PRECISION = torch.tensor([1.0, 2.0, 4.0, 7.0, 9.0]).double().repeat(4)


def test_hmc_shares_out_energy_and_says_so_also_where_it_rejects():
    # epsilon a = 1.4 at most: far from exact without the test, which rejects one in seven
    how = sampling(step_size=0.15, n_leapfrog=2, n_chains=8, n_draws=600)
    found = equipartition(PRECISION, how)
    assert found.faults == []
    assert 0.6 < found.acceptance < 0.9
    assert abs(found.kinetic - 0.5) < 4 * found.kinetic_mcse < 0.01
    mean, error = found.virial.mean().item(), found.virial_mcse.square().sum().sqrt().item() / 20
    assert abs(mean - 1) < min(4 * error, 0.02)


def test_sgld_is_found_to_be_too_wide_by_its_step():
    found = equipartition(PRECISION[:5], sampling(sampler="sgld", step_size=0.1, n_chains=20, n_draws=400))
    expected = 1 / (1 - 0.1 * PRECISION[:5] / 4)
    assert ((found.virial - expected).abs() < 4 * found.virial_mcse).all()
    assert any(fault.startswith("precision 9: w dU/dw is 1.") for fault in found.faults)
    assert math.isnan(found.kinetic)


@pytest.mark.slow
def test_half_turns_are_found_out_and_jitter_ends_them():
    # cos = 1 - h^2 a / 2 = 1/2 for h^2 a = 1: three leapfrogs of 60 degrees
    how = sampling(step_size=1.0, n_leapfrog=3, n_chains=8, n_draws=250)
    stuck, moving = (equipartition(torch.ones(2).double(), how, jitter=jitter) for jitter in (0.0, 0.2))
    assert any("have not mixed" in fault for fault in stuck.faults)
    assert moving.faults == []


def test_a_jittered_chain_is_exact_and_draws_from_its_own_generator_alone():
    def bowl(n):
        return Target(lambda w: LossGrad(3 * w.square().sum(-1) / 2, 3 * w), torch.zeros(n, 2).double(), 1.0, 0.0)

    def walked(seeds):
        made, chains = hmc(bowl(len(seeds)), step_size=0.5, n_leapfrog=2, jitter=0.5), [generator(i) for i in seeds]
        state, kept = made.init(torch.zeros(len(seeds), 2).double(), chains), []
        for _ in range(30):
            state, _ = made.step(state, chains)
            kept.append(state["position"])
        return torch.stack(kept)

    together = walked(range(2000))
    assert torch.equal(walked([7])[:, 0], together[:, 7])
    squares = 3 * together[-1].square()  # exp(-U) after thirty steps that forget half
    assert abs(squares.mean() - 1) < 4 * math.sqrt(2 / squares.numel())


def test_leapfrogs_are_jittered_from_the_full_length_down():
    # Without a force a chain moves by n h |noise|: the length of each step is seen.
    free = Target(lambda w: LossGrad(0 * w.sum(-1), 0 * w), torch.zeros(3000, 1).double(), 1.0, 0.0)
    made, chains = hmc(free, step_size=0.25, n_leapfrog=4, jitter=0.4), [generator(i) for i in range(3000)]
    state, info = made.step(made.init(free.centre, chains), chains)
    again = [generator(i) for i in range(3000)]
    share = 1 - 0.4 * torch.stack([torch.empty(1).double().uniform_(generator=g) for g in again])
    drawn = torch.stack([torch.empty(1).double().normal_(generator=g) for g in again])
    torch.testing.assert_close(state["position"], 4 * 0.5 * share * drawn, rtol=1e-13, atol=0)
    torch.testing.assert_close(state["kinetic"], drawn[:, 0].square() / 2, rtol=1e-13, atol=0)
    assert (info.acceptance == 1).all()
    assert 0.6 < share.min() < 0.61 and 0.99 < share.max() <= 1


# --- refusals ---------------------------------------------------------------------------------------


def test_what_cannot_be_explored_is_refused_with_the_rule():
    with pytest.raises(ValueError, match="prior's precision must be 0 or more; got -1"):
        explore(WEIGHTS, MODEL, TASK, sampling(), prior=-1.0)
    with pytest.raises(ValueError, match="step_size must be below .*localization 5e"):
        explore(WEIGHTS, MODEL, TASK, sampling(), prior=5e4)
    with pytest.raises(ValueError, match="batch_size must be at most the 24 pairs; got 25"):
        explore(WEIGHTS, MODEL, TASK, sampling(sampler="sgld", batch_size=25))
    with pytest.raises(ValueError, match="at least one pair"):
        explore(WEIGHTS, MODEL, replace(TASK, is_train=torch.zeros_like(TASK.is_train)), sampling(nbeta=1.0))


@for_each("jitter", [-0.1, 1.0, math.nan])
def test_a_jitter_that_is_no_share_is_refused(jitter):
    with pytest.raises(ValueError, match="jitter must be 0 or more and below 1; got"):
        explore(WEIGHTS, MODEL, TASK, sampling(), jitter=jitter)


@for_each("wrong", [0.0, -1.0, math.inf])
def test_a_gaussian_without_a_width_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive and finite; got"):
        equipartition(torch.tensor([1.0, wrong]), sampling())


def test_a_run_of_another_loss_is_refused():
    run: Any = SimpleNamespace(config=tiny(loss="mse"))
    with pytest.raises(ValueError, match="the posterior that is explored is of the mean cross-entropy"):
        explore_run(run, 8, sampling())
