"""Susceptibilities against closed forms, a slow second way, planted networks and renamed tokens."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from loops import for_each
from oracles import generator

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.errors import UserError
from circuitgrok.exact.planted import planted_network
from circuitgrok.faces.cli import run as command
from circuitgrok.landscape.density import flat, pair_losses
from circuitgrok.landscape.susceptibility import blocks_of, response, without
from circuitgrok.measures.parts.last_block import last_block
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.table.susceptibilities import discovered, susceptibilities_of
from circuitgrok.tasks.modular import modular_addition

DIM, SIGMA, NBETA = 3, 0.7, 2.0


def quadratics():
    """Curvatures and slopes of the losses of five pairs, of which three are trained on and have slopes of mean 0."""
    roots = torch.randn(5, DIM, DIM, generator=generator(0), dtype=torch.float64)
    slopes = torch.randn(5, DIM, generator=generator(1), dtype=torch.float64)
    slopes[:3] -= slopes[:3].mean(0)
    return roots @ roots.mT / DIM, slopes


def losses_of(curvatures, slopes):
    return lambda w: torch.einsum("ri,pij,rj->rp", w, curvatures, w) / 2 + w @ slopes.T


TRAINED = torch.tensor([True, True, True, False, False])


def posterior(mean_curvature):
    return torch.linalg.inv(NBETA * mean_curvature + torch.eye(DIM).double() / SIGMA**2)


def test_of_quadratic_losses_it_is_the_covariance_of_two_quadratic_forms_of_a_gaussian():
    curvatures, slopes = quadratics()
    A = curvatures[TRAINED].mean(0)
    Sigma = posterior(A)
    exact = -NBETA * torch.stack([torch.trace(A @ Sigma @ B @ Sigma) / 2 for B in curvatures])
    every = torch.arange(DIM)[None]
    found = response(
        losses_of(curvatures, slopes), torch.zeros(DIM).double(), every, TRAINED, nbeta=NBETA, sigma=SIGMA,
        n_draws=40_000,
    )  # fmt: skip
    assert bool(((found.chi[0] - exact).abs() < 4 * found.se[0]).all())
    assert bool((found.se[0] < 0.05 * exact.abs()).all())  # so that a wrong factor is seen
    assert abs(found.rise[0] - torch.trace(A @ Sigma) / 2) < 0.02
    prior = SIGMA**2 * torch.eye(DIM).double()
    blind = -NBETA * torch.stack([torch.trace(A @ prior @ B @ prior) / 2 for B in curvatures])
    assert (found.blind[0] / blind - 1).abs().max() < 0.1 and (blind / exact).min() > 1.5


def test_it_is_what_the_rise_would_change_by_if_a_pair_were_weighted_more():
    curvatures, _ = quadratics()
    A, h = curvatures[TRAINED].mean(0), torch.zeros((), dtype=torch.float64, requires_grad=True)
    for B in curvatures:
        rise = torch.trace(A @ posterior(A + h * B)) / 2
        (slope,) = torch.autograd.grad(rise, h)
        Sigma = posterior(A)
        assert slope.item() == pytest.approx(-NBETA * torch.trace(A @ Sigma @ B @ Sigma).item() / 2, rel=1e-12)


def test_numbers_are_those_of_a_slow_way_draw_by_draw():
    curvatures, slopes = quadratics()
    losses, point = losses_of(curvatures, slopes), torch.tensor([0.3, -0.2, 0.1]).double()
    index, n = torch.tensor([[0, 2], [1, 2]]), 10
    found = response(losses, point, index, TRAINED, nbeta=NBETA, sigma=SIGMA, n_draws=n, seed=3)
    for i, places in enumerate(index.tolist()):
        noise = torch.randn(n // 2, 2, generator=generator(1_000_003 * 3 + i), dtype=torch.float64)
        at = []
        for half in noise:
            for sign in (1, -1):
                moved = point.clone()
                moved[places] += sign * SIGMA * half
                at.append(losses(moved[None])[0])
        each = torch.stack(at).numpy()
        rise = each[:, :3].mean(1) - losses(point[None])[0, :3].mean().item()
        weights = np.exp(-NBETA * rise)
        weights /= weights.sum()
        off = (rise - (weights * rise).sum())[:, None] * (each - (weights[:, None] * each).sum(0))
        units = weights.reshape(-1, 2).sum(1)
        chi = -NBETA * (weights[:, None] * off).sum(0) / (1 - (units**2).sum())
        np.testing.assert_allclose(found.chi[i].numpy(), chi, rtol=1e-12)
        assert found.worth[i].item() == pytest.approx(1 / (weights**2).sum(), rel=1e-12)
        assert found.rise[i].item() == pytest.approx((weights * rise).sum(), rel=1e-12)


def test_its_error_is_that_of_repeated_estimates():
    curvatures, slopes = quadratics()
    every, n = torch.arange(DIM)[None], 100
    many = [
        response(losses_of(curvatures, slopes), torch.zeros(DIM).double(), every, TRAINED, nbeta=NBETA, sigma=SIGMA,
                 n_draws=200, seed=seed)
        for seed in range(n)
    ]  # fmt: skip
    spread = torch.stack([one.chi[0] for one in many]).std(0)
    said = torch.stack([one.se[0] for one in many]).square().mean(0).sqrt()
    # of the standard deviation of n normal numbers, 1 / sqrt(2 n); products of Gaussians have tails about twice as wide
    assert (spread / said - 1).abs().max() < 4 * 2 / math.sqrt(2 * n)


SMALL = Transformer(p=5, d_model=8, d_head=4, n_heads=2, d_mlp=6)
MODELS = {"transformer": SMALL, "quadratic": QuadraticMLP(p=5, n_neurons=6)}


@for_each("name", list(MODELS))
def test_a_neuron_has_all_its_own_weights_and_no_others(name):
    model, task = MODELS[name], modular_addition(5, 0.5)
    params = {key: value.double() for key, value in model.init(generator(0)).items()}
    names, index = blocks_of(model, "neuron")
    assert len(index) == 6 and names[3] == "neuron 3"
    assert index.flatten().unique().numel() == index.numel()
    mlp = [key for key in params if key.endswith(("mlp.W_in", "mlp.b_in", "mlp.W_out"))]
    mlp += [] if name == "transformer" else ["unembed.W_U"]
    assert index.numel() == sum(params[key].numel() for key in mlp)

    def writes(weights):
        if name == "quadratic":
            return model.last_hidden(weights, task.inputs).post[:, :, None] * weights["unembed.W_U"]
        return last_block(weights, model, task.inputs).post[:, :, None] * weights["blocks.0.mlp.W_out"]

    like = {key: value for key, value in params.items() if model.is_trainable(key)}
    moved = flat(model, params)
    moved[index[3]] += 1.0
    changed = params | dict(cg.tree.unravel(moved, like))
    off = (writes(changed) - writes(params)).abs().amax((0, 2))
    assert off[3] > 0 and off[[0, 1, 2, 4, 5]].max() == 0


def test_heads_and_neurons_of_a_layer_share_no_weight():
    heads, neurons = (blocks_of(SMALL, kind).places.flatten() for kind in ("head", "neuron"))
    assert not set(heads.tolist()) & set(neurons.tolist())
    two = Transformer(p=5, d_model=8, d_head=4, n_heads=2, d_mlp=6, n_layers=2)
    assert blocks_of(two, "head", 0).names == ["layer 0 head 0", "layer 0 head 1"]
    assert torch.equal(blocks_of(two, "head").places, blocks_of(two, "head", 1).places)


# Two pairs have wrong labels, which are looked up: against the circuit, so that these pairs' losses hang on it.
PLANTED = planted_network(7, [1, 3], [(2, 4, 3), (5, 0, 1)], n_decoys=4, circuit=3.0, memory=11.0)
CLEAN = modular_addition(7, 0.6, split="mirror_free")
LABELS = CLEAN.labels.clone()
LABELS[[2 * 7 + 4, 5 * 7]] = torch.tensor([3, 1])
TASK = replace(CLEAN, labels=LABELS)
EVERY = torch.ones_like(TASK.is_train)


@pytest.fixture(scope="module")
def planted():
    losses, point = pair_losses(PLANTED.model, TASK, EVERY), flat(PLANTED.model, PLANTED.params)
    index = blocks_of(PLANTED.model, "neuron").places
    return losses, point, index, response(losses, point, index, TASK.is_train, nbeta=10.0, sigma=0.05, n_draws=1024)


def test_neurons_that_look_a_pair_up_respond_alike_and_most_to_that_pair(planted):
    rows = torch.nn.functional.normalize(planted[-1].chi, dim=1)
    for group, (a, b) in ((-1, (2, 4)), (-2, (5, 0))):
        own, circuit = PLANTED.group == group, PLANTED.group > 0
        assert TASK.is_train[7 * a + b]
        assert (rows[own] @ rows[own].T).min() > 0.9 > 0.7 > (rows[own] @ rows[circuit].T).mean()
        assert (rows[own].abs().argmax(1) == 7 * a + b).all()


def test_decoys_are_loud_and_nothing_is_lost_without_them(planted):
    losses, point, index, found = planted
    decoys = PLANTED.group == 0
    assert found.rise[decoys].mean() > 2 * found.rise[~decoys].max()
    there = losses(point[None])[0]
    lost = without(losses, point, index, torch.stack([decoys, PLANTED.group == 1])) - there
    assert lost[0].abs().max() == 0 and lost[1].max() > 0.3


def test_renaming_tokens_renames_pairs_and_changes_nothing_else(planted):
    losses, point, index, found = planted
    p = 7
    new = torch.randperm(p, generator=generator(5))
    old = new.argsort()
    rows = torch.cat([old, p + old])
    there = {
        "blocks.0.mlp.W_in": PLANTED.params["blocks.0.mlp.W_in"][rows],
        "unembed.W_U": PLANTED.params["unembed.W_U"][:, old],
    }
    pairs = (p * old[:, None] + old).flatten()  # the pair that each pair was called before
    labels, is_train = new[TASK.labels][pairs], TASK.is_train[pairs]
    task = replace(TASK, labels=labels, is_train=is_train)
    places = cg.tree.unravel(
        torch.arange(len(point)), {k: torch.empty(v.shape, device="meta") for k, v in there.items()}
    )
    moved = torch.cat([places["blocks.0.mlp.W_in"][new.repeat(2) + p * (torch.arange(2 * p) >= p).long()].flatten(),
                       places["unembed.W_U"][:, new].flatten()])  # fmt: skip
    own = response(
        pair_losses(PLANTED.model, task, EVERY), flat(PLANTED.model, there), moved[index], is_train, nbeta=10.0,
        sigma=0.05, n_draws=1024,
    )  # fmt: skip
    scale = found.chi.abs().amax(1, keepdim=True)
    assert ((own.chi - found.chi[:, pairs]) / scale).abs().max() < 1e-9


def test_a_block_does_not_depend_on_which_others_are_asked(planted):
    losses, point, index, found = planted
    alone = response(losses, point, index[:2], TASK.is_train, nbeta=10.0, sigma=0.05, n_draws=1024)
    assert torch.equal(alone.chi, found.chi[:2])


def test_parts_of_a_network_are_grouped_and_set_to_zero_beside_random_ones():
    seen = susceptibilities_of(PLANTED.params, PLANTED.model, TASK, n_draws=64, nbeta=10.0)
    parts = discovered(seen, PLANTED.params, PLANTED.model, TASK, 3)
    assert parts.table["n"].sum() == len(seen.names) and parts.table["n"].is_monotonic_decreasing
    assert parts.patterns.shape == (len(parts.table), 49)
    listed = ", ".join(parts.table["blocks"]).split(", ")
    assert sorted(listed) == sorted(seen.names)
    assert (parts.table["train_random_sd"] > 0).all()
    assert "times their standard errors" in str(seen) and set(seen.table.columns) == {"size", "error", "rise", "worth"}


@for_each(
    ("given", "said"),
    [
        ({"spread": 0.0}, "spread must be positive"),
        ({"nbeta": -1.0}, "nbeta"),
        ({"n_draws": 5}, "even n_draws"),
        ({"layer": 3}, "has no neurons that train in layer 3"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises((UserError, ValueError), match=said):
        susceptibilities_of(PLANTED.params, PLANTED.model, TASK, **({"n_draws": 8} | given))
    seen = susceptibilities_of(PLANTED.params, PLANTED.model, TASK, n_draws=4)
    with pytest.raises(UserError, match="fewer than blocks"):
        discovered(seen, PLANTED.params, PLANTED.model, TASK, 99)


def test_a_run_is_asked_at_its_last_checkpoint_by_default():
    found = cg.susceptibilities(cg.reference(), blocks="head", n_draws=4)
    again = cg.susceptibilities(cg.reference(), 4000, "head", n_draws=4)
    assert torch.equal(found.response.chi, again.response.chi) and found.losses.mean() < 1e-3


def test_the_command_groups_writes_and_draws(finished, tmp_path, capsys):
    at, out = f"{finished.path}@{finished.steps[-1]}", tmp_path / "out"
    asked = ["discover", at, "--parts", "3", "--draws", "8", "--out", str(out), "--quiet"]
    assert command(asked) == 0
    said = capsys.readouterr().out
    parts, blocks = pd.read_csv(out / "parts.csv"), pd.read_csv(out / "blocks.csv")
    assert len(blocks) == finished.config.transformer.d_mlp and parts["n"].sum() == len(blocks)
    assert blocks["part"].value_counts().to_dict() == dict(enumerate(parts["n"]))
    assert (out / "parts.png").stat().st_size > 1000 and "test_random" in said and str(out / "parts.csv") in said
    assert command([*asked[:4], "--out", str(out), "--draws", "8", "--blocks", "head", "--quiet"]) == 2
    assert "parts must be 2 to" in capsys.readouterr().err


@for_each(
    ("more", "said"),
    [
        (["nowhere"], "start must be RUN_FOLDER@STEP"),
        (["AT", "--draws", "7"], "even n_draws"),
        (["AT", "--spread", "-1"], "spread must be positive"),
        (["AT", "--layer", "5"], "in layer 5"),
        (["AT", "--blocks", "token"], "blocks"),
    ],
)
def test_what_the_command_cannot_do_is_said_with_two(more, said, finished, tmp_path, capsys):
    given = [f"{finished.path}@{finished.steps[-1]}" if one == "AT" else one for one in more]
    assert command(["discover", *given, "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert said in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_sampled(
    finished, tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("circuitgrok.table.susceptibilities.susceptibilities", lambda *_, **__: pytest.fail("sampled"))
    at = f"{finished.path}@{finished.steps[-1]}"
    assert command(["discover", at, "--out", str(tmp_path / "file" / "out"), "--quiet", "--parts", "2"]) == 2
    assert "file" in capsys.readouterr().err


def test_more_parts_than_blocks_are_refused_before_anything_is_sampled_or_written(
    finished, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("circuitgrok.table.susceptibilities.susceptibilities", lambda *_, **__: pytest.fail("sampled"))
    at = f"{finished.path}@{finished.steps[-1]}"
    assert command(["discover", at, "--parts", "999", "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "fewer than blocks; got 999" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_maps_need_a_square_of_pairs():
    with pytest.raises(ValueError, match="got 8 pairs"):
        figures.parts_figure(torch.zeros(2, 8), ["a", "b"])
