"""Published files: each layout against a slow forward written in that layout, steps, claims, and every refusal."""

import itertools
import json
import math
import random
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import for_each
from test_lens import Payload, hooked_transformer_file, random_params
from tiny import files_of, json_lines
from torch import Tensor

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.foreign.imported import report, saved_losses, write_run
from circuitgrok.foreign.lens import bridge
from circuitgrok.foreign.published import Published
from circuitgrok.foreign.reading import read_published
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.models.transformer import Transformer
from circuitgrok.store.run import Run, RunError, load
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train
from circuitgrok.tree import Params

P = 7
SIZES: dict[str, Any] = {"p": P, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 12}
NANDA = Transformer(**SIZES, d_vocab_out="p+1", train_biases=("mlp",))
PIZZAS: dict[str, dict[str, Any]] = {
    "plain": {},
    "own tokens": {"diff_vocab": 1},
    "equals sign": {"eqn_sign": 1},
    "both": {"diff_vocab": True, "eqn_sign": True},
    "two layers": {"n_layers": 2},
    "narrow heads": {"d_model": 9},
    "gelu": {"act_fn": "GeLU"},
}


def random_pizza(
    diff_vocab: int = 0, eqn_sign: int = 0, n_layers: int = 1, d_model: int = 8, act_fn: str = "ReLU"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights as that code shapes them, and the settings that it writes beside them."""
    tokens, heads, g = P * (1 + diff_vocab) + eqn_sign, 2, torch.Generator().manual_seed(3)
    d_head, d_mlp = d_model // heads, 4 * d_model
    shapes = {
        "embed.W_E": (d_model, tokens),
        "pos_embed.W_pos": (2 + eqn_sign, d_model),
        "unembed.W_U": (d_model, tokens),
    }
    for layer in range(n_layers):
        attn, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
        shapes |= {attn + f"W_{x}": (heads, d_head, d_model) for x in "KQV"} | {attn + "W_O": (d_model, heads * d_head)}
        shapes |= {mlp + "W_in": (d_mlp, d_model), mlp + "b_in": (d_mlp,)}
        shapes |= {mlp + "W_out": (d_model, d_mlp), mlp + "b_out": (d_model,)}
    weights = {name: torch.randn(shape, generator=g, dtype=torch.float64) / 2 for name, shape in shapes.items()}
    masks = {f"blocks.{i}.attn.mask": torch.ones(2 + eqn_sign, 2 + eqn_sign).tril() for i in range(n_layers)}
    settings = {
        "funcs": f"lambda x: (x[0]+x[1])%{P}", "C": P, "n_heads": heads, "d_model": d_model, "n_layers": n_layers,
        "attention_dir": "casual", "act_fn": act_fn, "epoch": 90, "lr": 0.001, "weight_decay": 2.0, "frac": 0.8,
        "attn_coeff": 0.3, "diff_vocab": diff_vocab, "eqn_sign": eqn_sign, "func": None,
    }  # fmt: skip
    return weights | masks, settings


def save_pizza(folder: Path, weights: dict[str, Tensor], settings: dict[str, Any]) -> Path:
    torch.save(weights, folder / "model_ab1.pt")
    (folder / "config_ab1.json").write_text(json.dumps(settings))
    return folder / "model_ab1.pt"


def as_nanda(params: Params, model: Transformer) -> dict[str, Tensor]:
    """Our one-layer weights as the progress-measures code keeps them, number by number."""
    saved = {
        "embed.W_E": torch.zeros(model.d_model, model.p + 1),
        "pos_embed.W_pos": params["pos_embed.W_pos"].clone(),
        "blocks.0.attn.W_O": torch.zeros(model.d_model, model.n_heads * model.d_head),
        "blocks.0.attn.mask": torch.ones(3, 3).tril(),
        "blocks.0.mlp.W_in": torch.zeros(model.d_mlp, model.d_model),
        "blocks.0.mlp.b_in": params["blocks.0.mlp.b_in"].clone(),
        "blocks.0.mlp.W_out": torch.zeros(model.d_model, model.d_mlp),
        "blocks.0.mlp.b_out": params["blocks.0.mlp.b_out"].clone(),
        "unembed.W_U": params["unembed.W_U"].clone(),
    }
    saved = {name: value.to(params["embed.W_E"].dtype) for name, value in saved.items()}
    for d in range(model.d_model):
        for token in range(model.p + 1):
            saved["embed.W_E"][d, token] = params["embed.W_E"][token, d]
        for m in range(model.d_mlp):
            saved["blocks.0.mlp.W_in"][m, d] = params["blocks.0.mlp.W_in"][d, m]
            saved["blocks.0.mlp.W_out"][d, m] = params["blocks.0.mlp.W_out"][m, d]
        for h, e in itertools.product(range(model.n_heads), range(model.d_head)):
            saved["blocks.0.attn.W_O"][d, h * model.d_head + e] = params["blocks.0.attn.W_O"][h, e, d]
    for x in "QKV":
        ours = params[f"blocks.0.attn.W_{x}"]
        saved[f"blocks.0.attn.W_{x}"] = torch.stack([ours[h].T for h in range(model.n_heads)])
    return saved


def slow_logits(weights: dict[str, Tensor], tokens: list[int], causal: bool, rate: float, act_fn: str) -> Tensor:
    """The published forward in the published layout, one sequence, one head and one position at a time."""
    xs = [weights["embed.W_E"][:, token] + weights["pos_embed.W_pos"][i] for i, token in enumerate(tokens)]
    for layer in range(sum(name.endswith("W_O") for name in weights)):
        attn, mlp = (
            {name.split(".")[-1]: weights[name] for name in weights if name.startswith(f"blocks.{layer}.{part}.")}
            for part in ("attn", "mlp")
        )
        mixed = []
        for i in range(len(xs)):
            seen = range(i + 1) if causal else range(len(xs))
            z = []
            for W_Q, W_K, W_V in zip(attn["W_Q"], attn["W_K"], attn["W_V"], strict=True):
                scores = [float((W_K @ xs[j]) @ (W_Q @ xs[i])) / math.sqrt(len(W_Q)) for j in seen]
                total = math.fsum(math.exp(s) for s in scores)
                pays = [rate * math.exp(s) / total + (1 - rate) for s in scores]
                z.append(sum((pay * (W_V @ xs[j]) for pay, j in zip(pays, seen, strict=True)), torch.zeros(len(W_V))))
            mixed.append(xs[i] + attn["W_O"] @ torch.cat(z))
        acts = {"ReLU": torch.relu, "GeLU": torch.nn.functional.gelu}
        xs = [x + mlp["W_out"] @ acts[act_fn](mlp["W_in"] @ x + mlp["b_in"]) + mlp["b_out"] for x in mixed]
    return xs[-1] @ weights["unembed.W_U"]


def nanda_file(folder: Path, params: Params | None = None, model: Transformer = NANDA, **beside: Any) -> Path:
    """A saved run; random weights by default, trained on the split of seed 3, half of the pairs."""
    params = params or without_unsaved_biases(random_params(model, dtype=torch.float32))
    settings = {"lr": 1e-3, "weight_decay": 1.0, "p": model.p, "fn_name": "add", "frac_train": 0.5, "seed": 3}
    content = {"model": as_nanda(params, model), "config": settings, "epoch": 40} | beside
    torch.save({name: value for name, value in content.items() if value is not None}, folder / "40.pth")
    return folder / "40.pth"


def without_unsaved_biases(params: Params) -> Params:
    kept = ("W_", ".b_in", ".b_out")
    return {name: v if any(k in name for k in kept) else torch.zeros_like(v) for name, v in params.items()}


def moments(**settings: Any) -> dict[str, Any]:
    """The state dict of an AdamW that has made 41 steps with these settings."""
    weight = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.AdamW([weight], **{"lr": 1e-3, "weight_decay": 1.0, "betas": (0.9, 0.98)} | settings)
    for _ in range(41):
        weight.grad = torch.ones(2)
        adam.step()
    return adam.state_dict()


# --- the same network on both sides -----------------------------------------------------------------


def test_nanda_weights_come_back_bit_for_bit(tmp_path):
    params = without_unsaved_biases(random_params(NANDA, dtype=torch.float32))
    published = read_published(nanda_file(tmp_path, params), "nanda")
    [found] = published.networks.values()
    assert list(found) == list(NANDA.shapes()) and published.config.transformer == NANDA
    assert all(torch.equal(found[name], params[name]) and found[name].is_contiguous() for name in params)


def test_nanda_logits_are_those_of_the_published_forward(tmp_path):
    params = without_unsaved_biases(random_params(NANDA))
    published = read_published(nanda_file(tmp_path, params), "nanda")
    ours = published.config.transformer.logits(published.networks[41], published.config.task.draw().inputs)
    pairs = itertools.product(range(P), repeat=2)
    theirs = torch.stack([slow_logits(as_nanda(params, NANDA), [a, b, P], True, 1.0, "ReLU") for a, b in pairs])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)  # sums of about 100 terms of size 1 in float64


@for_each("changed", PIZZAS.values(), ids=PIZZAS.keys())
def test_pizza_logits_are_those_of_the_published_forward(tmp_path, changed):
    weights, settings = random_pizza(**changed)
    published = read_published(save_pizza(tmp_path, weights, settings), "pizza")
    model = published.config.transformer
    [(step, params)] = published.networks.items()
    ours = model.logits(params, published.config.task.draw().inputs)
    tokens = len(weights["unembed.W_U"].T)
    theirs = torch.stack([
        slow_logits(
            weights,
            [a, b + P * bool(settings["diff_vocab"])] + [tokens - 1] * bool(settings["eqn_sign"]),
            causal=False,
            rate=0.3,
            act_fn=settings["act_fn"],
        )
        for a, b in itertools.product(range(P), repeat=2)
    ])  # fmt: skip
    torch.testing.assert_close(
        ours, theirs[:, : model.n_classes], rtol=0, atol=1e-11
    )  # values of 10 to 100, two layers
    assert step == 90 and model.n_classes in (P, P + 1) and published.split == "stand-in"


@for_each("act", ["relu", "gelu"])
def test_hooked_transformer_file_comes_in_by_the_reader_of_lens(tmp_path, act):
    model = Transformer(**SIZES, n_layers=2, act=act, normalization="LN", d_vocab_out="p")
    saved = hooked_transformer_file(model)
    torch.save({"model": saved}, tmp_path / "old.pth")
    published = read_published(tmp_path / "old.pth", "hooked-transformer", steps=12, act=act)
    assert published.config.transformer == model.model_copy(update={"train_biases": ("attention", "mlp", "unembed")})
    assert list(published.networks) == [12]
    assert all(torch.equal(value, saved[name]) for name, value in published.networks[12].items())


def test_history_is_the_loss_of_a_plain_loop_over_the_rebuilt_split(tmp_path):
    params = without_unsaved_biases(random_params(NANDA))
    published = read_published(nanda_file(tmp_path, params), "nanda")
    pairs = [(a, b) for a in range(P) for b in range(P)]
    shuffler = random.Random(3)
    shuffler.shuffle(pairs)
    losses = []
    for a, b in pairs:
        row = slow_logits(as_nanda(params, NANDA), [a, b, P], True, 1.0, "ReLU").tolist()
        losses.append(math.log(math.fsum(math.exp(z - row[(a + b) % P]) for z in row)))
    cut = int(0.5 * P * P)
    [record] = published.evaluated
    assert record["train_loss"] == pytest.approx(math.fsum(losses[:cut]) / cut, abs=1e-12)
    assert record["test_loss"] == pytest.approx(math.fsum(losses[cut:]) / (P * P - cut), abs=1e-12)
    assert published.split == "in the file"


# --- steps, claims, settings ------------------------------------------------------------------------


@for_each(
    ("beside", "step"),
    [
        ({}, 41),  # epoch 40, saved after its update
        ({"epoch": None, "train_losses": [2.0] * 30}, 30),
        ({"epoch": 50, "train_losses": [2.0] * 50}, 50),  # the last file of a run says how many epochs there were
        ({"epoch": None, "scheduler": {"last_epoch": 33}, "train_losses": [2.0] * 30}, 33),
        ({"optimizer": moments(), "scheduler": {"last_epoch": 33}}, 41),
    ],
)
def test_step_counts_the_updates_behind_the_weights(tmp_path, beside, step):
    assert list(read_published(nanda_file(tmp_path, **beside), "nanda").networks) == [step]
    assert list(read_published(nanda_file(tmp_path, **beside), "nanda", steps=7).networks) == [7]


def test_saved_losses_belong_to_the_weights_before_the_update(tmp_path):
    [here] = read_published(nanda_file(tmp_path), "nanda").evaluated
    train, test = [here["train_loss"]] * 41, [here["test_loss"]] * 5
    file = nanda_file(tmp_path, train_losses=train, test_losses=test, train_loss=9.0, test_loss=here["test_loss"])
    claims = read_published(file, "nanda").claims
    assert [step for step, claim in claims.items() if "train_loss" in claim] == list(range(41))
    assert [step for step, claim in claims.items() if "test_loss" in claim] == [0, 10, 20, 30, 40]
    assert claims[40]["train_loss"] == train[40]  # the list says the same as the single number, and more
    single = read_published(nanda_file(tmp_path, train_loss=here["train_loss"]), "nanda")
    assert single.claims == {40: {"train_loss": here["train_loss"]}}
    assert single.claimed("train_loss", 41) == (40, here["train_loss"]) and single.claimed("test_loss", 41) is None
    odd = read_published(nanda_file(tmp_path, train_losses=train, test_losses=test[:3]), "nanda")
    assert not any("test_loss" in claim for claim in odd.claims.values())
    assert any("3 test losses beside 41" in note for note in odd.notes)


def test_optimizer_is_believed_where_the_settings_contradict_it(tmp_path):
    published = read_published(nanda_file(tmp_path, optimizer=moments(weight_decay=0.1, eps=1e-25)), "nanda")
    said = published.config.optimizer
    assert (said.weight_decay, said.eps, said.beta2, said.lr) == (0.1, 1e-25, 0.98, 1e-3)
    assert "weight_decay: the settings say 1.0, the saved optimizer 0.1, which is believed" in published.notes
    warming = moments(lr=3e-4)
    warming["param_groups"][0]["initial_lr"] = 1e-3
    assert read_published(nanda_file(tmp_path, optimizer=warming), "nanda").config.optimizer.lr == 1e-3


def test_fields_that_are_missing_are_named(tmp_path):
    published = read_published(nanda_file(tmp_path, config={"p": P, "lr": 1e-2}), "nanda")
    [note] = [note for note in published.notes if note.startswith("not in the file")]
    assert (
        "data_seed 0" in note and "frac_train 0.3" in note and "weight_decay 1.0" in note and "lr" not in note.split()
    )
    assert published.split == "stand-in" and published.config.optimizer.lr == 1e-2


def test_what_is_given_wins_and_is_noted_where_the_file_says_otherwise(tmp_path):
    published = read_published(nanda_file(tmp_path), "nanda", data_seed=5, split="randperm", act="gelu")
    assert (published.config.modular.data_seed, published.config.modular.split) == (5, "randperm")
    assert published.config.transformer.act == "gelu"
    assert "data_seed: the file says 3, 5 was given and is believed" in published.notes


@for_each(("name", "operation"), [("subtract", "subtract"), ("x2xyy2", "quadratic")])
def test_settings_come_from_a_json_file_where_one_is_given(tmp_path, name, operation):
    (tmp_path / "run.json").write_text(json.dumps({"p": P, "fn_name": name, "seed": 8, "frac_train": 0.4}))
    published = read_published(nanda_file(tmp_path), "nanda", tmp_path / "run.json")
    task = published.config.modular
    assert (task.operation, task.data_seed, task.frac_train) == (operation, 8, 0.4)


def test_untrained_pizza_is_said_to_be_one(tmp_path):
    weights, settings = random_pizza()
    weights = {name: v * 0 if ".b_" in name else v for name, v in weights.items()}
    published = read_published(save_pizza(tmp_path, weights, settings), "pizza")
    assert list(published.networks) == [0] and "all biases are exactly 0: an untrained snapshot" in published.notes
    assert published.config.schedule.steps == 1


def test_network_that_only_guesses_is_noted(tmp_path):
    weights, settings = random_pizza()
    weights["unembed.W_U"][:, 0] = 0
    weights["unembed.W_U"][:, 1:] = weights["unembed.W_U"][:, :1]  # every class alike: the first is answered
    published = read_published(save_pizza(tmp_path, weights, settings), "pizza")
    assert published.on_all("acc") == pytest.approx(1 / P, abs=1e-12)
    assert any(note.startswith("no better than guessing (0.1429 of") for note in published.notes)


# --- the grokking demo's file: many networks, indices, a config object -------------------------------


def demo(**changed: Any) -> dict[str, Any]:
    model = Transformer(**SIZES, d_vocab_out="p", train_biases=())
    networks = [random_params(model, seed=seed, dtype=torch.float32) for seed in range(3)]
    networks = [{name: v for name, v in params.items() if ".b_" not in name} for params in networks]
    order = torch.randperm(P * P, generator=torch.Generator().manual_seed(598))
    train, test = order[: int(0.3 * P * P)], order[int(0.3 * P * P) :]
    losses: dict[str, list[float]] = {"train_losses": [], "test_losses": []}
    inputs = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
    for k, params in enumerate(networks):  # as if each had stood for ten epochs; a training loss is before its update
        full = {**{name: torch.zeros(shape) for name, shape in model.shapes().items()}, **params}
        each = cross_entropy(model.logits(full, inputs), inputs[:, :2].sum(1) % P)
        losses["train_losses"] += [each[train].mean().item()] * (11 if k == 0 else 9 if k == 2 else 10)
        losses["test_losses"] += [each[test].mean().item()] * 10
    return {
        "model": networks[-1], "checkpoints": networks, "checkpoint_epochs": [9, 19, 29], **losses,
        "train_indices": train, "test_indices": test, **changed,
    }  # fmt: skip


def test_every_network_of_the_demo_file_stands_at_its_step(tmp_path):
    content = demo()
    torch.save(content, tmp_path / "demo.pth")
    published = read_published(tmp_path / "demo.pth", "hooked-transformer")
    assert list(published.networks) == [10, 20, 30]
    for step, saved in zip((10, 20, 30), content["checkpoints"], strict=True):
        assert all(torch.equal(published.networks[step][name], value) for name, value in saved.items())
    task = published.config.modular
    assert (published.split, task.split, task.data_seed, task.frac_train) == ("in the file", "randperm", 598, 0.3)
    assert sorted(published.claims) == list(range(31))
    assert set(published.claims[0]) == {"train_loss"} and set(published.claims[30]) == {"test_loss"}
    for record in published.evaluated:  # float32 logits in another order of sums
        at = int(record["step"])
        assert published.claimed("test_loss", at) == (at, pytest.approx(record["test_loss"], rel=1e-5))


def test_listed_pairs_are_used_although_no_rule_draws_them_and_a_contradiction_is_a_warning(tmp_path):
    torch.save(demo(train_indices=torch.arange(14)), tmp_path / "demo.pth")
    published = read_published(tmp_path / "demo.pth", "hooked-transformer")
    assert published.split == "in the file" and published.split_is_known
    assert published.task.is_train.nonzero().flatten().tolist() == list(range(14))
    assert any(note.startswith("contradicts the file: ") for note in published.notes)  # whose losses are of other pairs
    run = write_run(published, tmp_path / "run")
    assert load(run.path).task.is_train.tolist() == published.task.is_train.tolist()


def test_listed_pairs_that_are_answered_wrong_are_a_warning(learned, tmp_path):
    settings = {"p": 5, "lr": 0.01, "weight_decay": 1.0, "fn_name": "add"}
    where = learned.task.is_train.nonzero().flatten()
    right = read_published(released(learned, tmp_path, config=settings, train_indices=where.tolist()), "nanda")
    assert right.split == "in the file" and not any(note.startswith("WARNING") for note in right.notes)
    others = (~learned.task.is_train).nonzero().flatten()
    wrong = read_published(released(learned, tmp_path, config=settings, train_indices=others.tolist()), "nanda")
    [warning] = [note for note in wrong.notes if note.startswith("WARNING: ")]
    assert "are not those that this network learnt: " in warning and wrong.split == "in the file"
    assert any(line.startswith("  WARNING      the pairs that the file lists") for line in report(wrong))


def test_split_of_the_demo_file_is_found_by_its_losses_if_it_lists_none(tmp_path):
    torch.save(demo(train_indices=None, test_indices=None), tmp_path / "demo.pth")
    published = read_published(tmp_path / "demo.pth", "hooked-transformer")
    assert published.split == "found: frac 0.3 seed 598 randperm"
    given = {"data_seed": 5, "frac_train": 0.3, "split": "randperm"}
    with pytest.raises(UserError, match="is not the one trained on: .*; the losses are those of frac 0.3 seed 598"):
        read_published(tmp_path / "demo.pth", "hooked-transformer", **given)
    listed = read_published(save_demo(tmp_path), "hooked-transformer", **given)
    assert listed.split == "in the file" and listed.config.modular.data_seed == 598
    assert any("lists its training pairs, and the split given is another" in note for note in listed.notes)


def save_demo(folder: Path) -> Path:
    torch.save(demo(), folder / "demo.pth")
    return folder / "demo.pth"


def test_config_object_of_transformer_lens_is_read_as_a_record_and_its_class_never_imported(tmp_path, monkeypatch):
    home = types.ModuleType("transformer_lens.HookedTransformerConfig")
    for name in ("transformer_lens", home.__name__):
        monkeypatch.setitem(sys.modules, name, home)
    kind = type("HookedTransformerConfig", (), {"__module__": home.__name__})
    home.HookedTransformerConfig = kind  # pyright: ignore
    cfg = kind()
    cfg.act_fn, cfg.normalization_type, cfg.dtype = "gelu", None, torch.float32  # pyright: ignore
    torch.save(demo(config=cfg, train_losses=[], test_losses=[]), tmp_path / "demo.pth")
    monkeypatch.undo()
    before = set(sys.modules)
    published = read_published(tmp_path / "demo.pth", "hooked-transformer")
    assert published.config.transformer.act == "gelu"
    assert not [name for name in set(sys.modules) - before if name.startswith("transformer_lens")]


# --- a trained network ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Run:
    """A network whose W_in is square, and that has learned its training pairs by heart."""
    shape = {"p": 5, "n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 16, "frac_train": 0.6, "data_seed": 1}
    plan = {"lr": 0.01, "steps": 150, "checkpoint_every": 50, "checkpoints_per_decade": 0}
    config = TrainConfig().with_(**shape, **plan)
    [run] = train([config], tmp_path_factory.mktemp("learned"))
    assert run.history["train_loss"].iloc[-1] < 0.1 and run.history["test_loss"].iloc[-1] > 1.5
    return run


def released(run: Run, folder: Path, **beside: Any) -> Path:
    settings = {"p": 5, "frac_train": 0.6, "seed": 1, "lr": 0.01, "weight_decay": 1.0, "fn_name": "add"}
    return nanda_file(
        folder, run.at(150), run.config.transformer, **last_losses(run), **{"epoch": 149, "config": settings} | beside
    )


def last_losses(run: Run) -> dict[str, float]:
    return {name: float(run.history[name].iloc[-1]) for name in ("train_loss", "test_loss")}


def test_trained_network_has_the_losses_that_its_own_run_recorded(learned, tmp_path):
    published = read_published(released(learned, tmp_path), "nanda")
    [record], there = published.evaluated, learned.history.loc[150]
    for column in ("train_loss", "test_loss", "norm"):  # float32 sums in another order
        assert record[column] == pytest.approx(there[column], rel=1e-4)
    assert (record["train_acc"], record["test_acc"]) == (there["train_acc"], there["test_acc"])
    assert (
        published.config.modular == learned.config.modular
        and published.config.transformer == learned.config.transformer
    )
    assert any(f"{record['train_loss']:.2e} here, the file claims" in line for line in report(published))


def test_square_matrix_the_wrong_way_round_is_refused(learned, tmp_path):
    turned = {**learned.at(150), "blocks.0.mlp.W_in": learned.at(150)["blocks.0.mlp.W_in"].T}
    settings = {"seed": 1, "frac_train": 0.6}
    file = nanda_file(tmp_path, turned, learned.config.transformer, config=settings, **last_losses(learned))
    with pytest.raises(ValueError, match="claims t.*_loss .* but the weights have .*: a matrix is the wrong way round"):
        read_published(file, "nanda")


def test_wrong_seed_is_refused_by_the_losses_on_its_split(learned, tmp_path):
    file = released(learned, tmp_path)
    with pytest.raises(ValueError, match="the split given is not the one trained on: .* but the weights have"):
        read_published(file, "nanda", data_seed=2)
    unsaid = released(learned, tmp_path, config={"p": 5, "frac_train": 0.6})
    assert read_published(unsaid, "nanda", data_seed=1).split == "given"
    assert read_published(unsaid, "nanda").split == "stand-in"  # an update away, no curve, no optimizer


# --- as a run ---------------------------------------------------------------------------------------


@pytest.fixture
def published(learned, tmp_path) -> Published:
    return read_published(released(learned, tmp_path, train_losses=[1.0] * 149 + [0.01]), "nanda")


def test_imported_run_is_a_run_for_every_reader(learned, published, tmp_path):
    run = write_run(published, tmp_path / "run")
    assert (run.state, run.steps, load(run.path).config) == ("imported", [150], published.config)
    assert all(torch.equal(value, learned.at(150)[name]) for name, value in run.at(150).items())
    assert run.manifest["environment"]["imported"]["sha256"] == published.source["sha256"]
    assert run.manifest["start"]["split_hash"] == learned.manifest["start"]["split_hash"]
    assert run.history.sort_index(axis=1).equals(published.history.sort_index(axis=1))
    assert saved_losses(run)["train_loss"].tolist() == [1.0] * 149 + [0.01]
    table, own = measure(run, ["fourier", "circuits"]), measure(learned, ["fourier", "circuits"], steps=[150])
    assert table.attrs["key_freqs"] == own.attrs["key_freqs"]
    assert table["restricted_loss[all]"].tolist() == own["restricted_loss[all]"].tolist()


def test_imported_pizza_run_can_be_measured_and_opened(tmp_path):
    weights, settings = random_pizza(diff_vocab=1)
    run = write_run(read_published(save_pizza(tmp_path, weights, settings), "pizza"), tmp_path / "run")
    table, task = measure(run), run.task
    loss = cross_entropy(run.config.transformer.logits(run.at(90), task.inputs), task.labels).mean()
    assert table.loc[90, "loss[all]"] == pytest.approx(loss.item(), rel=1e-9)
    logits = bridge(run, 90)(run.config.transformer.tokens(task.inputs))[:, -1]
    torch.testing.assert_close(run.config.transformer.logits(run.at(90), task.inputs), logits, rtol=0, atol=1e-11)
    assert len(saved_losses(run)) == 0


def test_same_file_again_writes_the_same_bytes_and_another_is_refused(published, learned, tmp_path):
    run = write_run(published, tmp_path / "run")
    before = files_of(run.path)
    (run.path / "index.jsonl").unlink()  # as if the first import had been killed
    assert files_of(write_run(published, tmp_path / "run").path) == before
    other = read_published(released(learned, tmp_path, epoch=150), "nanda")
    with pytest.raises(RunError, match="holds another run; choose another --out or --name"):
        write_run(other, tmp_path / "run")
    assert files_of(run.path) == before


def test_imported_run_is_never_trained_further_but_a_run_can_start_from_it(published, tmp_path):
    run = write_run(published, tmp_path / "run")
    before = files_of(run.path)
    with pytest.raises(RunError, match="was imported, not trained here, and is left as it is"):
        train([run.config], tmp_path, names=["run"])
    assert files_of(run.path) == before
    [begun] = train([run.config.with_(start=f"{run.path}@150", steps=2)], tmp_path, names=["begun"])
    assert all(torch.equal(value, run.at(150)[name]) for name, value in begun.at(0).items())


# --- refusals ---------------------------------------------------------------------------------------

REFUSED = {
    "not transposed": ("nanda", lambda: {"model": random_params(NANDA)}, r"W_O \[d_model head\*d_head\]; found embed"),
    "transposed": ("hooked-transformer", lambda: as_nanda(random_params(NANDA), NANDA), r"expected .*, found \[8, 8\]"),
    "missing": ("nanda", lambda: without("blocks.0.mlp.b_in"), r"blocks.0.mlp.b_in: expected \[12\], found nothing"),
    "unknown": ("nanda", lambda: {**without(""), "ln.w": torch.ones(8)}, r"ln.w: expected nothing, found \[8\]"),
    "shape": ("nanda", lambda: {**without(""), "unembed.W_U": torch.ones(8, 7)}, r"expected \[8, 8\], found \[8, 7\]"),
    "no step": ("nanda", lambda: without(""), "give --step"),
    "dtypes": ("nanda", lambda: {**without(""), "unembed.W_U": torch.ones(8, 8)}, "float32, torch.float64: cast them"),
    "a curve": ("nanda", lambda: [1.0, 0.5], "holds loss curves and no weights"),
    "curves": ("nanda", lambda: {"losses": [1.0], "seed": 3}, "holds loss curves and no weights"),
    "no tensors": ("nanda", lambda: {"model": {"a": 1}}, "no state dict of named tensors.*found a int"),
    "one number": ("pizza", lambda: 3, "must hold a state dict .*; got a int"),
    "no settings": ("pizza", lambda: random_pizza()[0], "C, attn_coeff not found: give the config"),
    "a Config": ("nanda", lambda: {"model": without(""), "config": 3}, "settings must be a JSON object or a dict"),
    "no seed": ("nanda", lambda: with_settings(seed=-1), "data_seed: must be greater than or equal to 0"),
    "squares": ("nanda", lambda: with_settings(fn_name="rand"), "one of add, subtract, x2xyy2 to be rebuilt; .*'rand'"),
    "tanh": ("nanda", lambda: with_settings(act_type="Tanh"), "one of relu, gelu; the settings say 'Tanh'"),
    "nan": ("nanda", lambda: with_settings() | {"test_loss": math.nan}, r"test_loss\[0\] must be .*; got nan"),
    "nan in a curve": ("nanda", lambda: with_settings() | {"train_losses": [1.0, math.inf]}, r"train_losses\[1\] mu"),
    "nan in settings": ("nanda", lambda: with_settings(lr=math.nan), "config.lr must be a finite number; got nan"),
    "nan in an optimizer": ("nanda", lambda: with_settings() | {"optimizer": moments(eps=math.inf)}, r"\[0\].eps mus"),
    "nan in weights": ("nanda", lambda: {"model": {**without(""), "unembed.W_U": torch.full((8, 8), math.nan).double()},
                                         "epoch": 3}, "unembed.W_U must be finite; the network of step 4 holds nan"),
    "words": ("nanda", lambda: with_settings() | {"train_losses": ["low"]}, "saved losses must be numbers"),
    "LNPre": ("hooked-transformer", lambda: demo(config={"normalization_type": "LNPre"}), "None or 'LN'; got 'LNPre'"),
    "epochs": ("hooked-transformer", lambda: demo(checkpoint_epochs=[9]), "3 networks but 1 of their epochs"),
    "two ends": ("hooked-transformer", lambda: demo(model=other_end()), "different networks for step 30"),
}  # fmt: skip


def without(name: str) -> dict[str, Tensor]:
    saved = as_nanda(random_params(NANDA), NANDA)
    return {known: value for known, value in saved.items() if known != name}


def other_end() -> dict[str, Tensor]:
    return {name: value + 1 for name, value in demo()["model"].items()}


def with_settings(**settings: Any) -> dict[str, Any]:
    return {"model": without(""), "config": settings, "epoch": 3}


@for_each(("layout", "content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_file_that_does_not_fit_is_refused_in_one_line(tmp_path, layout, content, message):
    torch.save(content(), tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=message) as caught:
        read_published(tmp_path / "odd.pth", layout)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"C": 5}, "with C 5, diff_vocab 0, eqn_sign 0 has 5 tokens; found 7: is the config that of another file"),
        ({"C": "7"}, "C must be a whole number; the settings say '7'"),
        ({"attn_coeff": 1.5}, "attention_rate: .*less than or equal to 1; got 1.5"),
        ({"funcs": "lambda x: __import__('os').abort()"}, "one of .*x.0..x.1..%7.* to be rebuilt"),
    ],
)
def test_pizza_settings_that_do_not_fit_are_refused_and_never_run(tmp_path, changed, message):
    weights, settings = random_pizza()
    with pytest.raises(ValueError, match=message):
        read_published(save_pizza(tmp_path, weights, settings | changed), "pizza")


def test_file_with_code_is_refused_and_does_nothing(tmp_path):
    target = tmp_path / "hacked"
    torch.save({"model": without(""), "config": Payload(target)}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"nothing is unpickled here: .*torch.save\(model.state_dict\(\), path\)"):
        read_published(tmp_path / "odd.pth", "nanda", steps=3)
    assert not target.exists()


def test_layout_step_and_settings_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be one of nanda, pizza, .*, named; got 'clock'"):
        read_published(nanda_file(tmp_path), "clock")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run.json is not JSON"):
        read_published(nanda_file(tmp_path), "nanda", tmp_path / "run.json")
    torch.save({"state_dicts": demo()["checkpoints"], "epochs": [9, 19, 29]}, tmp_path / "many.pth")
    assert list(read_published(tmp_path / "many.pth", "hooked-transformer").networks) == [10, 20, 30]
    with pytest.raises(ValueError, match=r"has no network at step 5; the nearest are \[10, 20, 30\]"):
        read_published(tmp_path / "many.pth", "hooked-transformer", steps=5)


def test_lines_of_saved_losses_are_json(published, tmp_path):
    run = write_run(published, tmp_path / "run")
    assert next(iter(json_lines(run.path / "saved_losses.jsonl"))) == {"step": 0, "train_loss": 1.0}
