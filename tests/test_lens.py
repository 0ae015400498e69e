"""The TransformerLens boundary: same bits through it, same numbers on both sides, known traps watched."""

import math
import pickle
import random
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from loops import for_each
from safetensors.torch import save_file

from circuitgrok.foreign.lens import from_bridge, from_hooked_transformer, load_hooked_transformer, to_bridge
from circuitgrok.models.fused import Workspace
from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params, combine, stack

P = 7
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
SHAPES = [
    Transformer(
        p=P,
        n_layers=n_layers,
        n_heads=2,
        d_model=8,
        d_head=4,
        d_mlp=12,
        act=act,
        normalization=normalization,
        d_vocab_out="p" if n_layers == 1 else "p+1",
    )
    for n_layers in (1, 2)
    for act in ("relu", "gelu")
    for normalization in ("none", "LN")
]
NAMES = [f"{m.n_layers}-{m.act}-{m.normalization}" for m in SHAPES]
INPUTS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
BLOCK_HOOKS = {
    "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out",
    "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_z",
    "mlp.hook_pre", "mlp.hook_post",
}  # fmt: skip


def random_params(model: Transformer, seed: int = 0, dtype: torch.dtype = torch.float64) -> Params:
    """No tensor zero, biases and LayerNorm included, so that nothing can be dropped unseen."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(model.d_model)
            + (1.0 if name.endswith(".w") else 0.0)
        ).to(dtype)
        for name, shape in model.shapes().items()
    }


def hooked_transformer_file(model: Transformer) -> OrderedDict[str, torch.Tensor]:
    """What HookedTransformer 2.x saved: classic names, in its order, with its two buffers."""
    saved = OrderedDict(random_params(model, dtype=torch.float32))
    for layer in range(model.n_layers):
        saved[f"blocks.{layer}.attn.mask"] = torch.ones(3, 3, dtype=torch.bool).tril()
        saved[f"blocks.{layer}.attn.IGNORE"] = torch.tensor(-torch.inf)
    return saved


def global_random_state():
    state = np.random.get_state()
    return random.getstate(), [np.asarray(x).tolist() for x in state], torch.get_rng_state().tolist()


@pytest.fixture
def model() -> Transformer:
    return SHAPES[0]


@pytest.fixture
def bridge(model):
    return to_bridge(random_params(model, dtype=torch.float32), model)


# --- there and back -------------------------------------------------------------------------------


@for_each("dtype", [torch.float32, torch.float64])
@for_each("model", SHAPES, ids=NAMES)
def test_params_through_a_bridge_and_back_are_bit_equal(model, dtype):
    params = random_params(model, dtype=dtype)
    back = from_bridge(to_bridge(params, model))
    assert list(back) == list(model.shapes())
    for name, value in params.items():
        assert torch.equal(back[name], value) and back[name].dtype == dtype, name
        assert back[name].is_contiguous() and not back[name].requires_grad


def test_weights_from_a_bridge_are_copies(bridge):
    first = from_bridge(bridge)
    for value in first.values():
        value.zero_()
    assert all(value.any() for value in from_bridge(bridge).values())


def test_weights_given_to_a_bridge_are_copied(model):
    params = random_params(model)
    bridge = to_bridge(params, model)
    before = bridge(INPUTS).clone()
    for value in params.values():
        value.zero_()
    assert torch.equal(bridge(INPUTS), before)


@for_each("dtype", [torch.float32, torch.float64])
@for_each("model", SHAPES, ids=NAMES)
def test_logits_and_every_activation_agree_with_transformer_lens(model, dtype):
    params, tolerance = random_params(model, dtype=dtype), TOLERANCE[dtype]
    ours = model.activations(params, INPUTS)
    with torch.no_grad():
        logits, theirs = to_bridge(params, model).run_with_cache(INPUTS)

    def agree(name, a, b):
        assert a.dtype == b.dtype == dtype, name
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=lambda m: f"{name}: {m}")

    agree("logits", ours.pop("logits"), logits)
    for name, value in ours.items():
        if name.endswith("attn_scores"):  # theirs is not the scores: see T3 below
            at, seen = name.removesuffix("attn_scores"), torch.ones(3, 3, dtype=torch.bool).tril()
            scores = torch.einsum("bqhe,bkhe->bhqk", theirs[at + "q"], theirs[at + "k"]) / model.d_head**0.5
            agree(name, value[..., seen], scores[..., seen])
            assert (value[..., ~seen] == -torch.inf).all()
        else:
            agree(name, value, theirs[name])
    agree("logits", model.logits(params, INPUTS), logits[:, -1])
    agree("training_logits", model.training_logits(stack([params]), INPUTS, Workspace())[0], logits[:, -1])

    expected = {f"blocks.{i}.{name}" for i in range(model.n_layers) for name in BLOCK_HOOKS}
    expected |= {"hook_embed", "hook_pos_embed"}
    if model.normalization == "LN":
        norms = [f"blocks.{i}.{ln}" for i in range(model.n_layers) for ln in ("ln1", "ln2")] + ["ln_final"]
        expected |= {f"{norm}.{hook}" for norm in norms for hook in ("hook_scale", "hook_normalized")}
    assert set(ours) == expected


def test_narrow_heads_agree_too():
    model = Transformer(p=P, n_heads=2, d_model=8, d_head=3, d_mlp=12, allow_narrow_heads=True)
    params = random_params(model)
    bridge = to_bridge(params, model)
    torch.testing.assert_close(model.logits(params, INPUTS), bridge(INPUTS)[:, -1], rtol=0, atol=1e-12)
    assert all(torch.equal(value, params[name]) for name, value in from_bridge(bridge).items())


def test_unembedding_bias_is_loaded_although_it_is_a_buffer(model):
    params = random_params(model)
    without = params | {"unembed.b_U": torch.zeros_like(params["unembed.b_U"])}
    shift = to_bridge(params, model)(INPUTS) - to_bridge(without, model)(INPUTS)
    torch.testing.assert_close(shift, params["unembed.b_U"].expand_as(shift), rtol=0, atol=1e-12)


def test_dtype_of_the_bridge_can_be_chosen(model):
    params = random_params(model)
    bridge = to_bridge(params, model, dtype=torch.float32)
    assert bridge(INPUTS).dtype == torch.float32
    assert torch.equal(from_bridge(bridge)["embed.W_E"], params["embed.W_E"].float())


def test_weights_that_do_not_fit_are_refused_with_both_shapes(model):
    params = random_params(model)
    with pytest.raises(ValueError, match=r"unembed.b_U: expected \[7\], found nothing"):
        to_bridge({n: v for n, v in params.items() if n != "unembed.b_U"}, model)
    with pytest.raises(ValueError, match=r"extra: expected nothing, found \[2\]"):
        to_bridge(params | {"extra": torch.zeros(2)}, model)
    with pytest.raises(ValueError, match=r"embed.W_E: expected \[8, 8\], found \[3, 8, 8\]"):
        to_bridge(combine(lambda x: x.expand(3, *x.shape), params), model)
    with pytest.raises(ValueError, match=r"got torch.float32, torch.float64: cast them"):
        to_bridge(params | {"embed.W_E": params["embed.W_E"].float()}, model)


def test_fresh_process_imports_transformer_lens_late_and_leaves_stdout_and_random_states_alone():
    code = (
        "import random, sys, numpy, torch, circuitgrok.foreign.lens as lens\n"
        "from circuitgrok.models.transformer import Transformer\n"
        "assert 'transformer_lens' not in sys.modules\n"
        "state = lambda: (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist())\n"
        "model = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16)\n"
        "before = state()\n"
        "lens.to_bridge(model.init(torch.Generator().manual_seed(0)), model)\n"
        "assert state() == before and 'transformer_lens' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@for_each("model", [SHAPES[0], SHAPES[-1]], ids=[NAMES[0], NAMES[-1]])
def test_building_a_bridge_draws_nothing_from_global_random_states(model):
    before = global_random_state()
    to_bridge(random_params(model), model)
    assert global_random_state() == before


# --- the traps of TransformerLens 4.3: each test fails loudly when TransformerLens changes ---------


def without_gradient(bridge) -> int:
    for parameter in bridge.parameters():
        parameter.grad = None
    bridge(INPUTS)[:, -1].square().mean().backward()
    return sum(parameter.grad is None for _, parameter in bridge.named_parameters())


def test_t1_our_path_leaves_every_parameter_of_a_bridge_trainable(model, bridge):
    params = from_bridge(bridge)
    torch.func.grad(lambda q: model.logits(q, INPUTS).square().mean())(params)
    torch.func.vmap(lambda q: model.logits(q, INPUTS))(stack([params, params]))
    assert len(list(bridge.parameters())) == 15
    assert without_gradient(bridge) == 0


def test_t1_functional_call_on_a_bridge_still_freezes_it(bridge):
    weights = {name: value.detach().clone() for name, value in bridge.named_parameters()}
    torch.func.functional_call(bridge, weights, (INPUTS,))
    assert without_gradient(bridge) == 12  # all of attention and MLP; 0 would mean the trap is gone


def test_t2_native_init_still_shrinks_the_output_projections():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources import boot_native

    config = TransformerBridgeConfig(
        d_model=64, d_head=32, n_heads=2, n_layers=2, n_ctx=3, d_vocab=8, d_mlp=128, seed=0, device="cpu"
    )
    weights = boot_native(config).tl_parameters()
    for name, std in [("attn.W_Q", 0.1), ("mlp.W_in", 0.1), ("attn.W_O", 0.05), ("mlp.W_out", 0.05)]:
        weight = weights[f"blocks.0.{name}"]
        assert weight.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * weight.numel())), name


def test_t3_hooks_that_move_the_logits_and_the_one_that_does_not(model, bridge):
    names = [name for name in model.activations(from_bridge(bridge), INPUTS) if name != "logits"]
    before, acts = bridge(INPUTS), {}
    for name in names:
        hook = [(name, lambda value, hook: torch.zeros_like(value))]
        if name.endswith("attn_scores"):
            with pytest.warns(UserWarning, match="edit is discarded"):
                acts[name] = not torch.equal(bridge.run_with_hooks(INPUTS, fwd_hooks=hook), before)
        else:
            acts[name] = not torch.equal(bridge.run_with_hooks(INPUTS, fwd_hooks=hook), before)
    assert [name for name, moved in acts.items() if not moved] == ["blocks.0.attn.hook_attn_scores"]


def test_t3_attention_scores_of_a_bridge_still_are_its_pattern(bridge):
    _, cache = bridge.run_with_cache(INPUTS)  # if this fails, compare scores with theirs directly, above
    assert torch.equal(cache["attn_scores", 0], cache["pattern", 0])


def test_t4_transformer_lens_takes_a_wrong_config_silently_where_we_refuse():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources import boot_native

    config = TransformerBridgeConfig(
        d_model=8, d_head=3, n_heads=2, n_layers=1, n_ctx=3, d_vocab=8, d_mlp=12,
        normalization_type="foo", dtype=torch.float64, seed=0, device="cpu",
    )  # fmt: skip
    bridge = boot_native(config)
    assert bridge(INPUTS).dtype == torch.float32 and "ln_final.w" in bridge.tl_parameters()
    for wrong in ({"normalization": "foo"}, {"d_head": 3}, {"dtype": "float64"}):
        fields = {"p": P, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 12} | wrong
        with pytest.raises(ValueError):
            Transformer.model_validate(fields)


def test_t5_attributes_of_a_bridge_are_copies_or_not_by_chance_but_tl_parameters_is_the_model(bridge):
    with torch.no_grad():
        bridge.W_Q.zero_()
        assert from_bridge(bridge)["blocks.0.attn.W_Q"].any()
        bridge.W_E.zero_()
        assert not from_bridge(bridge)["embed.W_E"].any()
        bridge.tl_parameters()["blocks.0.attn.W_Q"].zero_()
        assert not from_bridge(bridge)["blocks.0.attn.W_Q"].any()


def test_t6_a_bridge_prints_when_cast_and_so_we_choose_the_dtype_at_its_birth(model, capfd):
    params = random_params(model)
    for dtype in (None, torch.float32, torch.float64):
        from_bridge(to_bridge(params, model, dtype=dtype))
    assert capfd.readouterr().out == ""
    to_bridge(params, model).to(torch.float32)
    assert "float32" in capfd.readouterr().out


def test_t7_biases_of_a_bridge_all_train_and_have_no_b_in_their_names(model, bridge):
    names = [name for name, parameter in bridge.named_parameters() if parameter.requires_grad]
    assert sum(name.endswith("bias") for name in names) == 6
    assert not [name for name in names if "b_" in name]
    assert [name for name in model.shapes() if "b_" in name and model.is_trainable(name)] == [
        "blocks.0.mlp.b_in",
        "blocks.0.mlp.b_out",
    ]


def test_t7_unscaled_attention_is_refused_by_transformer_lens():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources import boot_native

    config = TransformerBridgeConfig(
        d_model=8, d_head=4, n_heads=2, n_layers=1, n_ctx=3, d_vocab=8, attn_scale=1.0, device="cpu"
    )
    with pytest.raises(ValueError, match="attn_scale"):
        boot_native(config)


# --- files of TransformerLens 1.x to 3.x -----------------------------------------------------------


@for_each("model", SHAPES, ids=NAMES)
@for_each("key", [None, "model", "state_dict"])
def test_hooked_transformer_file_is_imported(model, key, tmp_path):
    saved, path = hooked_transformer_file(model), tmp_path / "old.pth"
    torch.save({key: saved, "train_losses": [1.0, 0.5]} if key else saved, path)
    params, shape = load_hooked_transformer(path, P, model.act)
    assert shape == model.model_copy(update={"train_biases": ("attention", "mlp", "unembed")})
    assert list(params) == list(model.shapes())
    assert all(torch.equal(value, saved[name]) for name, value in params.items())


def test_safetensors_file_is_imported(model, tmp_path):
    saved = hooked_transformer_file(model)
    save_file(dict(saved), tmp_path / "old.safetensors")
    params, _ = load_hooked_transformer(tmp_path / "old.safetensors", P)
    assert all(torch.equal(value, saved[name]) for name, value in params.items())


def test_absent_biases_are_zero_and_do_not_train(model):
    saved = hooked_transformer_file(model)
    kept = {name: value for name, value in saved.items() if ".b_" not in name or "mlp" in name}
    params, shape = from_hooked_transformer(kept, P)
    assert shape == model
    assert not any(params[name].any() for name in params if name not in kept)
    assert set(params) == set(model.shapes())


def test_imported_weights_are_copies(model):
    saved = hooked_transformer_file(model)
    from_hooked_transformer(saved, P)[0]["embed.W_E"].zero_()
    assert saved["embed.W_E"].any()


@for_each(
    ("change", "message"),
    [
        ({"embed.W_E": torch.zeros(60, 8)}, r"embed.W_E: expected \[8, 8\], found \[60, 8\]"),
        ({"blocks.0.attn._W_K": torch.zeros(1, 8, 4)}, r"_W_K: expected nothing, found \[1, 8, 4\]"),
        ({"blocks.2.attn.W_Q": torch.zeros(2, 8, 4)}, r"blocks.1.attn.W_Q: expected \[2, 8, 4\], found not"),
        ({"blocks.0.ln1.w": torch.ones(8)}, r"blocks.0.ln1.w: expected nothing"),
        ({"ln_final.w": torch.ones(8)}, r"ln_final.b: expected \[8\], found nothing"),
        ({"pos_embed.W_pos": torch.zeros(5, 8)}, r"W_pos: expected \[3, 8\], found \[5, 8\]"),
        ({"blocks.0.attn.W_Q": torch.zeros(8, 8)}, r"expected blocks.0.attn.W_Q with 3 axes; found embed"),
        ({"config": {"d_model": 8}}, r"named tensors only; got also config"),
        ({"embed.W_E": torch.zeros(8, 8, dtype=torch.float16)}, r"got torch.float16, torch.float32"),
    ],
)
def test_state_dict_that_does_not_fit_is_refused_with_what_was_expected_and_found(model, change, message):
    with pytest.raises(ValueError, match=message):
        from_hooked_transformer(hooked_transformer_file(model) | change, P)


def test_missing_weight_is_not_taken_for_an_absent_bias(model):
    saved = hooked_transformer_file(model)
    del saved["blocks.0.mlp.W_out"]
    with pytest.raises(ValueError, match=r"blocks.0.mlp.W_out: expected \[12, 8\], found nothing"):
        from_hooked_transformer(saved, P)


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_pickle_with_a_payload_is_refused_and_does_nothing(model, tmp_path):
    target = tmp_path / "hacked"
    state = hooked_transformer_file(model) | {"extra": Payload(target)}
    torch.save(state, tmp_path / "zip.pth")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Payload(target)))
    for name in ("zip.pth", "old.pt", "bare.pth"):
        with pytest.raises(ValueError, match="nothing is unpickled here") as caught:
            load_hooked_transformer(tmp_path / name, P)
        assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)
        assert not target.exists()
    pickle.loads((tmp_path / "bare.pth").read_bytes())
    assert target.exists()  # the payload itself is live


def test_damaged_and_foreign_files_are_refused(tmp_path):
    for name in ("cut.pth", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x02not weights")
        with pytest.raises(ValueError, match=name):
            load_hooked_transformer(tmp_path / name, P)
    with pytest.raises(ValueError, match=r"\.bin, \.safetensors; got 'weights.npz'"):
        load_hooked_transformer(tmp_path / "weights.npz", P)
    torch.save([1.0, 2.0], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="must hold a state dict.*got a list"):
        load_hooked_transformer(tmp_path / "list.pth", P)
    with pytest.raises(FileNotFoundError):
        load_hooked_transformer(tmp_path / "absent.pth", P)
