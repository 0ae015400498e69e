"""Profiles: scores by the slow twins, a transformer that is homogeneous of degree six, exact circles, planted runs."""

import math

import pandas as pd
import pytest
import torch
from loops import for_each
from oracles import noise, slow_cross_entropy, slow_excluded_logits, slow_restricted_logits
from torch.nn.functional import cross_entropy

from circuitgrok.geometry import angle, great_circle
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar import profiles
from circuitgrok.polar.profiles import circuit_scores, polar_slice, radial_profile, reduced_landscape
from circuitgrok.tasks.modular import ModularAddition, modular_addition
from circuitgrok.tree import Params, combine, norm, ravel, stack, unstack

EPS = torch.finfo(torch.float64).eps
P = 7
MODEL = Transformer(p=P, n_heads=2, d_model=8, d_head=4, d_mlp=12)
TASK = modular_addition(P, 0.4)
KEY_FREQS = torch.tensor([1, 3])


def network(seed: int = 0) -> Params:
    return {name: 0.4 * noise(*shape, seed=100 * seed + i) for i, (name, shape) in enumerate(MODEL.shapes().items())}


def scores(x: Params) -> dict[str, torch.Tensor]:
    return circuit_scores(x, MODEL, TASK, KEY_FREQS)


def homogeneous() -> Params:
    """All weights enter with one power, six: W_E W_V W_O W_in W_out W_U.

    Attention is even (W_Q = 0), '=' is zero, biases are zero; attention writes to the first half of the stream, which
    neurons read and the unembedding does not, and neurons write to the second half.
    """
    x = {name: value if ".W_" in name else 0 * value for name, value in network(3).items()}
    for name in ("blocks.0.attn.W_Q", "blocks.0.attn.W_K", "pos_embed.W_pos"):
        x[name] = 0 * x[name]
    x["embed.W_E"][P] = 0
    x["blocks.0.attn.W_O"][..., 4:] = 0
    x["blocks.0.mlp.W_out"][:, :4] = 0
    x["unembed.W_U"][:4] = 0
    return x


# Scores


@for_each("at_once", [1, 2, 100])
def test_scores_of_every_network_and_split_agree_with_the_slow_twins(monkeypatch, at_once):
    monkeypatch.setattr(profiles, "_NUMBERS", at_once * P**2 * MODEL.d_mlp)
    networks = stack(network(seed) for seed in range(3))
    found = scores(networks)
    assert len(found) == 12
    for i, x in enumerate(unstack(networks)):
        logits = MODEL.logits(x, TASK.inputs)[:, :P]
        changed = {
            "loss": logits,
            "restricted_loss": slow_restricted_logits(logits, KEY_FREQS.tolist()),
            "excluded_loss": slow_excluded_logits(logits, KEY_FREQS.tolist()),
        }
        for split in ("train", "test", "all"):
            where = TASK.where(split)
            for name, z in changed.items():
                expected = slow_cross_entropy(z, TASK.labels, where)
                assert found[f"{name}[{split}]"][i].item() == pytest.approx(expected, rel=1e-10)
            answers = [row.index(max(row)) for row in logits[where].tolist()]
            right = [answer == label for answer, label in zip(answers, TASK.labels[where].tolist(), strict=True)]
            assert found[f"accuracy[{split}]"][i].item() == pytest.approx(sum(right) / len(right), rel=1e-12)


def test_products_are_scored_among_the_residues_that_can_be_products():
    task = ModularAddition(p=P, operation="multiply", frac_train=0.4).draw()
    x = network(1)
    found = circuit_scores({name: value[None] for name, value in x.items()}, MODEL, task, torch.tensor([1, 2]))
    logits = MODEL.logits(x, task.inputs)[:, 1:P]
    for split in ("train", "test"):
        where = task.where(split)
        expected = cross_entropy(logits[where], task.labels[where] - 1)
        assert found[f"loss[{split}]"].item() == pytest.approx(expected.item(), rel=1e-12)
        right = (logits.argmax(-1) + 1 == task.labels)[where].double().mean()
        assert found[f"accuracy[{split}]"].item() == pytest.approx(right.item(), rel=1e-12)


# Rays


def test_a_radial_profile_holds_what_each_multiple_scores_alone_and_itself_at_one():
    networks, factors = stack(network(seed) for seed in range(2)), torch.tensor([0.3, 1.0, 2.0])
    found = radial_profile(networks, factors, scores)
    for i, x in enumerate(unstack(networks)):
        for j, c in enumerate(factors.double()):
            alone = scores({name: (c * value)[None] for name, value in x.items()})
            for name, value in alone.items():
                torch.testing.assert_close(found[name][i, j], value[0], rtol=1e-10, atol=0)
    for name, value in scores(networks).items():
        torch.testing.assert_close(found[name][:, 1], value, rtol=1e-10, atol=0)


def test_along_the_ray_of_a_homogeneous_network_logits_grow_as_the_sixth_power_and_answers_stay():
    x = homogeneous()
    logits = MODEL.logits(x, TASK.inputs)[:, :P]
    assert logits.std() > 1e-3
    factors = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0], dtype=torch.float64)
    found = radial_profile({name: value[None] for name, value in x.items()}, factors, scores)
    for split in ("train", "test", "all"):
        where = TASK.where(split)
        expected = [slow_cross_entropy(c**6 * logits, TASK.labels, where) for c in factors.tolist()]
        assert found[f"loss[{split}]"][0].tolist() == pytest.approx(expected, rel=1e-10)
        assert len(set(found[f"accuracy[{split}]"][0, 1:].tolist())) == 1
        assert found[f"restricted_loss[{split}]"][0, 0].item() == pytest.approx(math.log(P), rel=1e-12)


def test_along_the_ray_of_a_transformer_answers_change():
    found = radial_profile(stack([network(0)]), torch.linspace(0.1, 4, 40), scores)
    assert len(set(found["accuracy[all]"][0].tolist())) > 1


# Circles


def turned(turn: float) -> tuple[Params, Params]:
    """Two networks at a planted angle, of different norms."""
    one, other = (ravel(network(seed)) for seed in (1, 2))
    u = one / one.norm()
    v = other - (other @ u) * u
    there = math.cos(turn) * u + math.sin(turn) * v / v.norm()
    like = network()
    sizes = [value.numel() for value in like.values()]
    pieces = (vector.split(sizes) for vector in (3 * u, 50 * there))
    start, end = ({n: x.view(like[n].shape) for n, x in zip(like, piece, strict=True)} for piece in pieces)
    return start, end


@for_each("turn", [1e-9, 1e-4, 0.7, math.pi / 2, 3.0])
def test_points_of_a_great_circle_are_of_norm_one_at_their_share_of_the_angle(turn):
    start, end = turned(turn)
    t = torch.tensor([-0.5, 0.0, 0.25, 0.5, 1.0, 1.5], dtype=torch.float64)
    circle = great_circle(start, end, t)
    # Coordinates are sums of two terms rounded by EPS; next to pi both are larger than the sum, by 1 / sin(turn).
    slack = 4 * EPS * max(1.0, 1 / math.sin(turn)) if turn > 1 else 4 * EPS
    torch.testing.assert_close(norm(circle, 1), torch.ones(6, dtype=torch.float64), rtol=0, atol=slack)
    for share, u in zip(t.tolist(), unstack(circle), strict=True):
        from_start, from_end = abs(share) * turn, abs(1 - share) * turn
        for there, gone in ((start, from_start), (end, from_end)):
            nearer = min(gone, 2 * math.pi - gone)
            assert angle(there, u).item() == pytest.approx(nearer, abs=slack)


def test_the_ends_of_a_great_circle_are_the_two_directions():
    start, end = turned(1.2)
    first, last = unstack(great_circle(start, end, torch.tensor([0.0, 1.0])))
    for name in start:
        torch.testing.assert_close(first[name], start[name] / 3, rtol=4 * EPS, atol=EPS)
        torch.testing.assert_close(last[name], end[name] / 50, rtol=4 * EPS, atol=EPS)


def test_between_two_networks_of_one_direction_there_is_nowhere_to_go():
    x = network()
    circle = great_circle(x, x, torch.tensor([0.0, 0.3, 1.0]))
    direction = ravel(x) / norm(x)
    torch.testing.assert_close(ravel(circle, 1), direction.expand(3, -1), rtol=4 * EPS, atol=0)


def test_opposite_networks_and_zero_are_refused():
    x = network()
    opposite, zero = combine(lambda value: -2 * value, x), combine(torch.zeros_like, x)
    with pytest.raises(ValueError, match=r"not opposite; their angle is 3\.14159"):
        great_circle(x, opposite, torch.tensor([0.5]))
    with pytest.raises(ValueError, match="their angle is nan"):
        great_circle(x, zero, torch.tensor([0.5]))


def test_a_slice_goes_through_both_networks_at_their_norms():
    start, end = network(1), network(2)
    radii = torch.stack([norm(start), norm(end)])
    found = polar_slice(start, end, radii, torch.tensor([0.0, 0.4, 1.0]), scores)
    for (i, j), x in (((0, 0), start), ((1, 2), end)):
        for name, value in scores({n: v[None] for n, v in x.items()}).items():
            torch.testing.assert_close(found[name][i, j], value[0], rtol=1e-10, atol=0)


def test_a_slice_is_taken_at_the_norms_and_angles_asked_for():
    start, end = turned(0.9)
    radii, t = torch.tensor([0.5, 2.0, 7.0]), torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)

    def place(networks: Params) -> dict[str, torch.Tensor]:
        angles = torch.stack([angle(start, x) for x in unstack(networks)])
        return {"norm": norm(networks, 1), "angle": angles}

    found = polar_slice(start, end, radii, t, place)
    torch.testing.assert_close(found["norm"], radii.double()[:, None].expand(3, 4), rtol=1e-14, atol=0)
    torch.testing.assert_close(found["angle"], (0.9 * t).expand(3, 4), rtol=0, atol=1e-15)


# Reduced landscape


def history(train: list[float], test: list[float], train_acc: list[float], test_acc: list[float]) -> pd.DataFrame:
    columns = {"train_loss": train, "test_loss": test, "train_acc": train_acc, "test_acc": test_acc, "norm": 1.0}
    return pd.DataFrame(columns, index=pd.Index(range(len(train)), name="step"))


def test_readings_of_hand_made_runs_are_gathered_by_radius():
    runs = [
        history([3.0, 0.2, 0.1, 0.3], [3.0, 1.0, 5.0, 2.0], [0.1, 0.9, 1.0, 0.8], [0.1, 0.7, 0.3, 0.6]),
        history([3.0, 0.5], [2.0, 4.0], [0.2, 0.6], [0.5, 0.4]),
        history([3.0, 0.4], [9.0, 6.0], [0.3, 0.7], [0.1, 0.2]),
        history([1.0], [1.5], [0.5], [0.25]),
    ]
    table = reduced_landscape([40.0, 40.0, 40.0, 20.0], runs)
    assert list(table.index.get_level_values("radius").unique()) == [20.0, 40.0]

    rows = table.to_dict("index")

    def row(radius: float, measure: str, reading: str) -> list[float]:
        return list(rows[radius, measure, reading].values())

    assert row(40, "train_loss", "best") == row(40, "train_loss", "reduced") == [3, 0.1, 0.4, 0.5]
    assert row(40, "test_loss", "best") == [3, 1.0, 2.0, 6.0]
    assert row(40, "test_loss", "final") == [3, 2.0, 4.0, 6.0]
    assert row(40, "test_loss", "reduced") == [3, 4.0, 5.0, 6.0]
    assert row(40, "test_acc", "best") == [3, 0.2, 0.5, 0.7]
    assert row(40, "test_acc", "reduced") == [3, 0.2, 0.3, 0.4]
    assert row(40, "train_acc", "final") == [3, 0.6, 0.7, 0.8]
    assert row(20, "test_loss", "final") == [1, 1.5, 1.5, 1.5]
    assert len(table) == 2 * 4 * 3


def test_the_history_of_a_run_has_what_is_read(finished):
    best = reduced_landscape([1.0], [finished.history])["min"]
    assert best[1.0, "train_loss", "best"] == finished.history["train_loss"].min()
    assert best[1.0, "test_acc", "final"] == finished.history["test_acc"].iloc[-1]


def test_histories_that_cannot_be_read_are_refused():
    run = history([1.0, 0.5], [1.0, 2.0], [0.1, 0.2], [0.1, 0.2])
    with pytest.raises(ValueError, match="got 2 for 1 histories"):
        reduced_landscape([1.0, 2.0], [run])
    with pytest.raises(ValueError, match="got 0 for 0"):
        reduced_landscape([], [])
    with pytest.raises(ValueError, match="run 1 lacks test_acc"):
        reduced_landscape([1.0, 1.0], [run, run.drop(columns="test_acc")])
    with pytest.raises(ValueError, match="run 0 has others"):
        reduced_landscape([1.0], [run.assign(test_loss=[1.0, float("nan")])])
    with pytest.raises(ValueError, match="run 0 has others"):
        reduced_landscape([1.0], [run.iloc[:0]])
