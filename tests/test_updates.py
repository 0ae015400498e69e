"""The applied update: parts that add up, a hand-made Adam, closed forms of what each part does to norm and angle."""

import math
from typing import Any

import pytest
import torch
from oracles import noise
from tiny import tiny
from torch.nn.functional import one_hot

from circuitgrok import tree
from circuitgrok.geometry import angle
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.interventions.optimizers import adam_gradient_part
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.updates import update_columns
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.training.loop import train
from circuitgrok.training.stack import Stack, new_stack
from circuitgrok.training.step import forward, update, watched_update

EPS = torch.finfo(torch.float64).eps


def weights(seed: int, runs: int = 2) -> tree.Params:
    drawn = {"embed.W_E": noise(runs, 3, 4, seed=seed), "unembed.W_U": noise(runs, 4, 3, seed=seed + 1)}
    return {name: value.double() for name, value in drawn.items()}


def test_a_step_along_the_weights_is_all_radial_and_one_across_them_all_tangential():
    at = weights(0)
    along = {name: -0.1 * value for name, value in at.items()}
    drawn = weights(2)
    slope = tree.dot(drawn, at, axes=1) / tree.dot(at, at, axes=1)
    across = {name: drawn[name] - slope.view(-1, 1, 1) * at[name] for name in at}
    columns = update_columns(at, drawn, {"decay": along, "gradient": across})
    r = tree.norm(at, axes=1)
    torch.testing.assert_close(columns["update_radial[decay]"], -0.1 * r, rtol=16 * EPS, atol=0)
    assert (columns["update_tangential[decay]"] <= 16 * EPS * r).all()
    assert (columns["update_radial[gradient]"].abs() <= 16 * EPS * r).all()
    torch.testing.assert_close(columns["update_tangential[gradient]"], tree.norm(across, axes=1), rtol=16 * EPS, atol=0)


def test_radial_and_tangential_give_the_new_norm_and_the_angle_between_the_weights():
    at, step = weights(0), {name: 0.3 * value for name, value in weights(5).items()}
    columns = update_columns(at, step, {"gradient": step})
    after = {name: at[name] + step[name] for name in at}
    r = tree.norm(at, axes=1)
    grown = torch.hypot(r + columns["update_radial[applied]"], columns["update_tangential[applied]"])
    torch.testing.assert_close(grown, tree.norm(after, axes=1), rtol=16 * EPS, atol=0)
    for run in range(2):
        turned = angle({k: v[run] for k, v in at.items()}, {k: v[run] for k, v in after.items()})
        assert columns["update_angle"][run].item() == pytest.approx(turned.item(), rel=64 * EPS)


def test_plain_gradient_descent_has_the_angular_rate_lr_over_squared_norm():
    at, gradient, lr = weights(0), weights(3), 0.01
    columns = update_columns(at, gradient, {"gradient": {name: -lr * value for name, value in gradient.items()}})
    expected = lr / tree.dot(at, at, axes=1)
    torch.testing.assert_close(columns["angular_rate"], expected, rtol=64 * EPS, atol=0)
    embed = {"embed.W_E": at["embed.W_E"]}
    torch.testing.assert_close(
        columns["angular_rate[embed]"], lr / tree.dot(embed, embed, axes=1), rtol=64 * EPS, atol=0
    )


def test_cosine_of_descent_is_one_where_descent_only_stretches():
    at = weights(0)
    gradient = {"embed.W_E": -2 * at["embed.W_E"], "unembed.W_U": 0.5 * at["unembed.W_U"]}
    columns = update_columns(at, gradient, {})
    torch.testing.assert_close(columns["cos_descent[embed.W_E]"], torch.ones(2).double(), rtol=8 * EPS, atol=0)
    torch.testing.assert_close(columns["cos_descent[unembed.W_U]"], -torch.ones(2).double(), rtol=8 * EPS, atol=0)


def test_gradient_part_is_the_difference_of_two_adam_steps_with_and_without_the_gradient_in_the_first_moment():
    g, m, v, t = noise(1, 7, seed=0).double(), noise(1, 7, seed=1).double(), noise(1, 7, seed=2).double().square(), 9
    v_new = 0.98 * v + 0.02 * g.square()

    def step(first_moment: torch.Tensor) -> torch.Tensor:
        return -0.1 * first_moment / (1 - 0.9**t) / ((v_new / (1 - 0.98**t)).sqrt() + 1e-8)

    part = adam_gradient_part(g, v_new, lr=0.1, beta1=0.9, beta2=0.98, eps=1e-8, t=t)
    torch.testing.assert_close(part, step(0.9 * m + 0.1 * g) - step(0.9 * m), rtol=0, atol=1e-14)


def test_parts_with_other_tensors_are_refused():
    with pytest.raises(ValueError, match=r"part 'decay' and the weights differ in their tensors: \['unembed.W_U'\]"):
        update_columns(weights(0), weights(1), {"decay": {"embed.W_E": noise(2, 3, 4).double()}})


# --- in the loop ------------------------------------------------------------------------------------

LEAVES = {"precision": "float64", "weight_decay": 0.7, "lr": 0.01, "warmup": 0}


def stepped(how, n: int = 4, **leaves: Any) -> tuple[Stack, list[dict[str, float]], torch.Tensor]:
    """A stack after n steps, what the last said of itself, and the weights before it."""
    stack = new_stack([tiny(seed=seed, **(LEAVES | leaves)) for seed in range(2)])
    lines, before = [], stack.flat.clone()
    for step in range(n):
        before = stack.flat.clone()
        lines = how(stack, forward(stack, step), step) or []
    return stack, lines, before


@pytest.mark.parametrize("leaves", [{}, {"fixed_norm": True}, {"fixed_direction": True}, {"precision": "float32"}])
@pytest.mark.bits
def test_watching_changes_no_bit(leaves):
    watched, _, _ = stepped(watched_update, **leaves)
    plain, _, _ = stepped(update, **leaves)
    assert torch.equal(watched.flat, plain.flat)


def test_parts_of_a_real_step_add_up_and_decay_is_exactly_the_rate_times_the_norm():
    stack, lines, before = stepped(watched_update)
    moved = stack.flat - before
    for run, line in enumerate(lines):
        r = before[run].norm()
        radial = torch.dot(moved[run], before[run]) / r
        total = sum(line[f"update_radial[{part}]"] for part in ("gradient", "momentum", "decay", "constraint"))
        scale = sum(abs(line[f"update_radial[{part}]"]) for part in ("gradient", "momentum", "decay"))
        # a difference of weights is exact to an epsilon of the weights, and there are about 300 of them
        assert total == pytest.approx(radial.item(), abs=300 * EPS * r.item())
        assert line["update_radial[applied]"] == pytest.approx(radial.item(), abs=300 * EPS * r.item()) and scale > 0
        assert line["update_radial[decay]"] == pytest.approx(-0.01 * 0.7 * r.item(), rel=1e-10)
        assert line["update_tangential[decay]"] < 1e-12 * r.item()


def test_first_step_has_no_momentum_and_later_ones_have():
    (first, *_), (later, *_) = stepped(watched_update, n=1)[1], stepped(watched_update, n=4)[1]
    assert first["update_tangential[momentum]"] < 1e-10 * first["update_tangential[gradient]"]
    assert later["update_tangential[momentum]"] > 0.1 * later["update_tangential[gradient]"]


def test_on_the_sphere_the_constraint_takes_back_what_the_rest_adds_to_the_norm():
    stack, lines, before = stepped(watched_update, fixed_norm=True)
    for run, line in enumerate(lines):
        r = before[run].norm().item()
        grown = math.hypot(r + line["update_radial[applied]"], line["update_tangential[applied]"])
        assert grown == pytest.approx(r, rel=1e-12) and abs(line["update_radial[constraint]"]) > 1e-4 * r


def test_along_a_ray_nothing_turns():
    _, lines, before = stepped(watched_update, fixed_direction=True)
    for line in lines:
        assert line["update_angle"] < 1e-12 and abs(line["update_radial[applied]"]) > 1e-6
    assert torch.isfinite(before).all()


def test_every_checkpoint_but_the_last_has_its_line_in_the_runs_file(tmp_path):
    [run] = train([tiny(warmup=0)], tmp_path, names=["run"])
    assert run.updates.index.tolist() == run.steps[:-1]
    at, after = run.steps[0], run.steps[1]
    assert (at, after) == (0, 1)  # neighbouring steps: the line is about exactly this difference
    moved = tree.norm({name: run.at(1)[name].double() - value.double() for name, value in run.at(0).items()})
    line = run.updates.iloc[0].to_dict()
    recorded = math.hypot(line["update_radial[applied]"], line["update_tangential[applied]"])
    assert recorded == pytest.approx(moved.item(), rel=1e-6)  # float32 weights, steps of 1e-2
    assert math.isnan(line["cos_descent[blocks.0.mlp.b_in]"])  # a bias of zero has no direction


# --- Euler's identities: what the gradient says along the weights ------------------------------------


def gradient_of(model: Transformer, params: tree.Params) -> tuple[tree.Params, torch.Tensor, torch.Tensor]:
    """Gradient of the mean loss over all pairs; the logits; and the loss's derivative by them."""
    task = modular_addition(p=model.p)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    logits = model.logits(leaves, task.inputs)
    by_logits = (logits.detach().softmax(-1) - one_hot(task.labels, model.n_classes)) / len(task.labels)
    loss = cross_entropy(logits, task.labels).mean()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True)), logits.detach(), by_logits


def random_weights(model: Transformer) -> tree.Params:
    """Every tensor at random, biases and LayerNorm too."""
    return {name: noise(*shape, seed=i).double() / 2 for i, (name, shape) in enumerate(model.shapes().items())}


def test_along_the_unembedding_the_gradient_is_the_sum_of_logits_times_the_losss_derivative():
    model = Transformer(p=5, n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=12)
    gradient, logits, by_logits = gradient_of(model, params := random_weights(model))
    ends = ("unembed.W_U", "unembed.b_U")  # in which the logits are homogeneous of degree one
    along = sum(torch.sum(gradient[name] * params[name]) for name in ends)
    assert float(along) == pytest.approx((logits * by_logits).sum().item(), rel=1e-10)


def test_what_a_layer_norm_hides_the_scale_of_has_a_gradient_across_its_weights():
    """All that is written to the residual stream, together: each LayerNorm divides its scale out, but for eps."""
    model = Transformer(p=5, n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=12, normalization="LN")
    params = random_weights(model)
    written = [n for n in params if n.startswith(("embed", "pos_embed")) or n.endswith((".W_O", ".b_O", "out"))]
    along, size = [], []
    for scale in (1.0, 1e3):  # eps is 1e-5 of a variance of order one, and 1e-11 of one of order 1e6
        stretched = params | {name: scale * params[name] for name in written}
        gradient, _, _ = gradient_of(model, stretched)
        uphill, at = ({name: part[name] for name in written} for part in (gradient, stretched))
        along.append(abs(tree.dot(uphill, at).item()))
        size.append((tree.norm(uphill) * tree.norm(at)).item())
    assert along[0] < 1e-3 * size[0] and along[1] < 1e-9 * size[1]
    assert len(written) == 2 + 4 * model.n_layers
