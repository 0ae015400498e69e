"""The last block: each part is what the plain forward holds there, and the parts make up the logits."""

import pytest
import torch
from loops import for_each
from oracles import grid, noise, slow_sum_table

from circuitgrok.measures.parts.last_block import last_block
from circuitgrok.measures.parts.neurons import cluster_sizes
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tree import Params, combine

P = 7
EPS = {dtype: torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64)}
BASE = {"p": P, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 12}
SHAPES = {
    "plain": {},
    "gelu": {"act": "gelu", "d_vocab_out": "p"},
    "norm": {"normalization": "LN"},
    "deep": {"n_layers": 2},
    "deep-norm": {"n_layers": 3, "normalization": "LN"},
    "narrow": {"d_head": 3, "allow_narrow_heads": True},
    "pair": {"equals": False, "own_tokens": True, "attention_rate": 0.4, "d_vocab_out": "p"},
    "pair-deep": {"equals": False, "causal": False, "n_layers": 2, "d_vocab_out": "p"},
}
INPUTS = modular_addition(p=P).inputs


def random_params(model: Transformer, seed: int = 0) -> Params:
    """No tensor zero, biases and LayerNorm included, so that nothing can be dropped unseen."""
    return {
        name: noise(*shape, seed=seed + i) / model.d_model**0.5 + (1.0 if name.endswith(".w") else 0.0)
        for i, (name, shape) in enumerate(model.shapes().items())
    }


@pytest.fixture(params=SHAPES.values(), ids=list(SHAPES))
def model(request) -> Transformer:
    return Transformer.model_validate(BASE | request.param)


def close(ours, theirs, dtype=torch.float64):
    """To the rounding of about a hundred sums of a dozen terms, relative to the largest entry."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1000 * EPS[dtype] * theirs.abs().max().item())


@for_each("dtype", [torch.float32, torch.float64])
def test_every_part_is_what_the_plain_forward_holds_at_the_last_position(model, dtype):
    params = combine(lambda x: x.to(dtype), random_params(model))
    block, cache = last_block(params, model, INPUTS), model.activations(params, model.tokens(INPUTS))
    at = f"blocks.{model.n_layers - 1}."
    held = {
        "resid_pre": cache[at + "hook_resid_pre"][:, -1],
        "values": cache[at + "attn.hook_v"],
        "pattern": cache[at + "attn.hook_pattern"][:, :, -1].mT,
        "z": cache[at + "attn.hook_z"][:, -1],
        "resid_mid": cache[at + "hook_resid_mid"][:, -1],
        "pre": cache[at + "mlp.hook_pre"][:, -1],
        "post": cache[at + "mlp.hook_post"][:, -1],
    }
    for name, value in held.items():
        assert getattr(block, name).dtype == dtype, name
        close(getattr(block, name), value.expand_as(getattr(block, name)), dtype)
    logits = block.read(block.skip + block.mlp)
    assert logits.dtype == torch.float64
    close(logits, cache["logits"][:, -1, :P].double(), dtype)
    close(logits, model.logits(params, INPUTS)[:, :P].double(), dtype)


def test_neurons_write_the_mlps_part_through_what_each_of_them_writes(model):
    block = last_block(random_params(model), model, INPUTS)
    close(block.post @ block.W_write + block.b_write, block.mlp)
    close(block.mlp_sums, slow_sum_table(block.mlp))


@for_each("width", [1, 4])
def test_a_change_of_the_attention_output_runs_through_all_that_stands_behind_it(model, width):
    params = random_params(model)
    block = last_block(params, model, INPUTS)
    W, change = noise(width, model.d_model, seed=50), noise(width, seed=51)
    shifted = params | {f"blocks.{model.n_layers - 1}.attn.b_O": block["attn.b_O"] + change @ W}
    expected = model.logits(shifted, INPUTS)[:, :P]
    close(block.after_attention(change.expand(P * P, width), W), expected)


def test_neurons_that_are_waves_are_found_tuned_to_them():
    model = Transformer(p=P, n_heads=1, d_model=8, d_head=8, d_mlp=3)
    block = last_block(random_params(model), model, INPUTS)
    a, b = grid(P, 2)
    waves = [torch.cos(2 * torch.pi * k / P * (a + b)).flatten().double() for k in (3, 1, 3)]
    block.post.copy_(torch.stack(waves, dim=1))
    assert cluster_sizes(block.tuned, P).tolist() == [1, 0, 2]
