"""Anybody's networks, opened: every kind of source and of names against a slow forward of torch's own layers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import for_each
from safetensors.torch import save_file
from test_lens import random_params
from tiny import files_of, tiny
from torch import Tensor, nn

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.faces.summary import summary_lines
from circuitgrok.figures import run_figure
from circuitgrok.foreign.imported import report, write_run
from circuitgrok.foreign.lens import to_bridge
from circuitgrok.foreign.published import Published
from circuitgrok.foreign.reading import read_published
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.store.run import RunError, load
from circuitgrok.tree import Params

P = 7
MODEL = Transformer(p=P, n_heads=2, d_model=8, d_head=4, d_mlp=12, train_biases=("attention", "mlp", "unembed"))
PAIRS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
STEPS = (0, 100, 2500)


def networks(dtype: torch.dtype = torch.float32) -> dict[int, Params]:
    return {step: random_params(MODEL, seed=step, dtype=dtype) for step in STEPS}


def opened(source: Any, **given: Any) -> Published:
    found = cg.open_checkpoints(source, **given)
    assert isinstance(found, Published)
    return found


def same(found: Published, wanted: dict[int, Params]) -> bool:
    return found.steps == sorted(wanted) and all(
        torch.equal(found.at(step)[name], value) for step, one in wanted.items() for name, value in one.items()
    )


# --- sources ----------------------------------------------------------------------------------------


def folder_of(folder: Path, suffix: str, name: str = "step_{:06d}", wrap: Callable[[Params], Any] = dict) -> Path:
    """A folder with a file for each network."""
    folder.mkdir(parents=True)
    for step, params in networks().items():
        file = folder / (name.format(step) + suffix)
        file.parent.mkdir(exist_ok=True)
        save_file(params, file) if suffix == ".safetensors" else torch.save(wrap(params), file)
    return folder


@for_each("suffix", [".pth", ".pt", ".ckpt", ".bin", ".safetensors"])
def test_folders_patterns_and_lists_of_files_open_in_the_order_of_their_steps(tmp_path, suffix):
    folder = folder_of(tmp_path / "with a space", suffix)
    for source in (folder, str(folder), folder / f"*{suffix}", sorted(folder.iterdir())[::-1]):
        assert same(opened(source), networks())
    assert same(opened(folder, steps=[100]), {100: networks()[100]})
    one = opened(folder / f"step_000100{suffix}", steps=100)
    assert same(one, {100: networks()[100]}) and one.split == "stand-in"


def test_steps_come_from_folders_where_files_have_none(tmp_path):
    assert opened(folder_of(tmp_path / "hub", ".bin", name="checkpoint-{}/weights")).steps == [0, 100, 2500]


@for_each(
    "source",
    [
        lambda: networks(),
        lambda: {"checkpoints": networks()},
        lambda: {"state_dicts": list(networks().values()), "epochs": [step - 1 for step in STEPS]},
        lambda: {step: {"model_state_dict": params, "epoch": 3} for step, params in networks().items()},
        lambda: {step: {f"module.{n}": v for n, v in params.items()} for step, params in networks().items()},
        lambda: {step: {f"_orig_mod.model.{n}": v for n, v in params.items()} for step, params in networks().items()},
    ],
)
def test_state_dicts_in_memory_open_under_their_steps_without_wrappers_and_prefixes(source):
    assert same(opened(source()), networks())


@for_each("name", ["model", "state_dict", "model_state_dict", "net", "network"])
def test_wrapped_weights_of_one_file(tmp_path, name):
    torch.save({name: networks()[100], "optimizer_state_dict": {}, "step": 100}, tmp_path / "a.ckpt")
    assert same(opened(tmp_path / "a.ckpt"), {100: networks()[100]})


def test_lists_need_steps_as_many_as_they_hold():
    assert same(opened(list(networks().values()), steps=STEPS), networks())
    for steps in (None, [1, 2], 3, [1, 1, 2]):
        with pytest.raises(UserError, match=r"holds 3 networks and no steps: give as many by steps \(--steps\)"):
            opened(list(networks().values()), steps=steps)


@for_each("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_taken_as_float32_exactly(dtype):
    halves = {name: value.to(dtype) for name, value in networks()[100].items()}
    found = opened(halves, steps=100)
    assert all(torch.equal(value, halves[name].float()) for name, value in found.at(100).items())
    assert any("float32, which holds them exactly" in note for note in found.notes)


def test_what_is_checkpoints_already_or_a_runs_folder_opens_as_it_is(tmp_path):
    [run] = cg.train([tiny(steps=2)], tmp_path, names=["mine"])
    assert cg.open_checkpoints(run) is run
    assert cg.open_checkpoints(run.path) == load(run.path)
    files = opened(sorted(run.path.glob("step_*.safetensors")), split=run.task.is_train)
    assert files.steps == run.steps and files.split == "given"
    assert files.task.is_train.tolist() == run.task.is_train.tolist()
    assert files.history["test_acc"].tolist() == run.history["test_acc"].loc[run.steps].tolist()


REFUSED: dict[str, tuple[Any, str]] = {
    "curve": ([0.5, 0.25], "holds loss curves and no weights"),
    "curves": ({"train": [1.0], "test": [2.0]}, "holds loss curves and no weights"),
    "tensors": ([torch.ones(2), torch.ones(3)], "a list of 2 tensors without names, as list.model.parameters"),
    "numbers by step": ({0: 1.0, 1: 0.5}, "holds loss curves and no weights"),
    "words": (["a", "b"], "a has no number in its name"),
    "nothing": ({}, "no state dict of named tensors"),
    "no readout": ({"a.weight": torch.ones(2)}, "no tensor could be told to write the logits: give a mapping by keys="),
    "negative step": ({-1: networks()[0]}, "whole numbers below 10.9"),
}


@for_each(("source", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_holds_no_networks_is_refused_with_what_it_holds(tmp_path, source, message):
    with pytest.raises((UserError, OSError), match=message):
        opened(source, steps=1)


def test_files_that_cannot_be_ordered_are_refused_by_name(tmp_path):
    for name in ("last.pt", "best.pt"):
        torch.save(networks()[0], tmp_path / name)
    with pytest.raises(UserError, match=r"has no number in its name that could be its step|both of step"):
        opened(tmp_path)
    with pytest.raises(UserError, match="no file of weights .* matches"):
        opened(tmp_path / "*.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no file of weights"):
        opened(tmp_path / "empty")
    with pytest.raises(RunError, match=r"has no network at step 7; the nearest are \[0, 100, 2500\]"):
        opened(networks()).at(7)


# --- TransformerLens 4, two layers, attention only -----------------------------------------------------


@for_each("layers", [1, 2])
@for_each("normalization", ["none", "LN"])
def test_state_dict_of_a_bridge_opens_to_the_same_bits(layers, normalization):
    model = MODEL.model_copy(update={"n_layers": layers, "normalization": normalization, "act": "gelu"})
    params = random_params(model, dtype=torch.float32)
    theirs = to_bridge(params, model).state_dict()
    found = opened(theirs, n_heads=2, act="gelu", steps=5)
    assert found.model == model and same(found, {5: params})
    assert same(opened(theirs, model=model, steps=5), {5: params})
    whole = opened(to_bridge(params, model), steps=5)  # which says how many heads it has, and its activation
    assert whole.model == model and same(whole, {5: params})
    with pytest.raises(UserError, match="does not say how many heads there are: give n_heads"):
        opened(theirs, steps=5)
    with pytest.raises(UserError, match="3 heads do not divide them"):
        opened(theirs, n_heads=3, steps=5)


@for_each("equals", [True, False])
def test_hooked_transformer_without_mlps_has_the_logits_of_attention_alone(equals):
    model = Transformer(p=P, n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=1, equals=equals, d_vocab_out="p")
    params = random_params(model)
    theirs = {name: value for name, value in params.items() if ".mlp." not in name}
    found = opened(theirs, steps=3)
    without = {name: value * (".mlp." not in name) for name, value in params.items()}
    torch.testing.assert_close(found.model.logits(found.at(3), PAIRS), model.logits(without, PAIRS), rtol=0, atol=1e-12)
    assert getattr(found.model, "equals", None) == equals and any(
        note.startswith("attention only") for note in found.notes
    )
    assert cg.measure(found, ["polar", "circuits"], rule="logit_energy")["loss[all]"].notna().all()


# --- MLPs of our own names --------------------------------------------------------------------------

OURS = [
    EmbeddingMLP(p=P, d_embed=4, d_hidden=6, act="relu"),
    EmbeddingMLP(
        p=P, d_embed=4, d_hidden=6, depth=2, act="gelu", combine="sum", own_tokens=True, train_biases=("mlp",)
    ),
    QuadraticMLP(p=P, n_neurons=5),
    DenseMLP(n_in=2 * P, n_out=P, width=6, depth=3),
]


@for_each("model", OURS)
def test_our_own_mlps_open_as_what_they_are(model):
    drawn = model.init(torch.Generator().manual_seed(0), scheme="torch" if "torch" in model.schemes else "gromov")
    params = {name: value + 0.5 * (model.is_trainable(name)) for name, value in drawn.items()}
    found = opened(params, steps=3, **({"act": model.act} if hasattr(model, "act") else {}))
    assert found.model == model and same(found, {3: params})
    assert cg.measure(found, "circuits")["loss[all]"].notna().all()


# --- anybody's own names ----------------------------------------------------------------------------


class SumNet(nn.Module):
    """The shape of devinterp's: an embedding, a layer for each number, their sum, and one behind."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(P, 5)
        self.linear1r = nn.Linear(5, 6)
        self.linear1l = nn.Linear(5, 6)
        self.linear2 = nn.Linear(6, P, bias=False)

    def forward(self, pairs: Tensor) -> Tensor:
        a, b = self.embedding(pairs[:, 0]), self.embedding(pairs[:, 1])
        return self.linear2(torch.nn.functional.gelu(self.linear1l(a) + self.linear1r(b)))


class Concatenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(P, 5)
        self.layers = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, P))

    def forward(self, pairs: Tensor) -> Tensor:
        return self.layers(self.tok_emb(pairs[:, :2]).flatten(1))


class OneHot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(2 * P, 6, bias=False), nn.Linear(6, P, bias=False)

    def forward(self, pairs: Tensor) -> Tensor:
        hot = torch.nn.functional.one_hot(pairs[:, :2], P).flatten(1).to(self.fc1.weight)
        return self.fc2(self.fc1(hot).square())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.ones(3, 3, dtype=torch.bool).triu(1)
        x = x + self.self_attn(x, x, x, attn_mask=hidden, need_weights=False)[0]
        return x + self.fc2(torch.relu(self.fc1(x)))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(P + 1, 8), nn.Embedding(3, 8)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.lm_head = nn.Linear(8, P, bias=False)

    def forward(self, pairs: Tensor) -> Tensor:
        x = self.wte(pairs) + self.wpe(torch.arange(3))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(x)[:, -1]


NETS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "sum of two layers": (SumNet, {"act": "gelu"}),
    "concatenated": (Concatenated, {"act": "relu"}),
    "one-hot": (OneHot, {}),
    "decoder": (Decoder, {"n_heads": 2}),
}


def drawn(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = make().double()
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.5)
    return net.eval()


@for_each(("make", "given"), NETS.values(), ids=NETS.keys())
def test_suggested_mapping_has_the_logits_of_the_network_itself(tmp_path, make, given):
    net = drawn(make)
    with torch.no_grad():
        wanted = net(PAIRS)
    torch.save(net.state_dict(), tmp_path / "a.pt")
    torch.save([net, net], tmp_path / "list.pt")  # whole networks, as devinterp's notebooks keep them
    (tmp_path / "keys.json").write_text(json.dumps(opened(net, steps=0, **given).keys))
    for found in (
        opened(net.state_dict(), steps=0, **given),
        opened(tmp_path / "a.pt", steps=0, keys=tmp_path / "keys.json", **given),
        opened(tmp_path / "list.pt", steps=[0, 10], **given),
        opened([net, net], steps=[0, 10], **given),
    ):
        here = found.model.logits(found.at(found.steps[-1]), PAIRS)
        torch.testing.assert_close(here[:, :P], wanted, rtol=0, atol=1e-12)
        assert found.keys and set(found.keys) == set(net.state_dict())
        assert any(line.startswith("  key ") for line in report(found))


def test_mapping_that_does_not_fit_is_refused_with_both_shapes():
    weights = drawn(OneHot).state_dict()
    good = {"fc1.weight": "blocks.0.mlp.W_in.T", "fc2.weight": "unembed.W_U.T"}
    assert opened(weights, keys=good, steps=0).keys == good
    wrong: dict[str, tuple[dict[str, str], str]] = {
        "not named": ({"fc1.weight": good["fc1.weight"]}, "must name every tensor of the file.*differing: fc2.weight"),
        "unknown": ({**good, "fc3": "x"}, "differing: fc3"),
        "no name": ({**good, "fc2.weight": "3!"}, "gives each tensor a name of ours.*got '3!'"),
        "no such": ({**good, "fc1.weight": "embed.W_Z"}, "nothing maps|has not: it has|fit|W_in"),
        "twice": ({"fc1.weight": "unembed.W_U", "fc2.weight": "unembed.W_U"}, "only biases|fit|expected"),
    }
    for mapping, message in wrong.values():
        with pytest.raises((UserError, ValueError), match=message):
            opened(weights, keys=mapping, steps=0, model=QuadraticMLP(p=P, n_neurons=6))
    with pytest.raises(UserError, match="n_heads leaves no trace where all heads stand side by side"):
        opened(drawn(Decoder), steps=0)
    with pytest.raises(UserError, match="the weights are not those of the model that was given|fit"):
        opened(weights, keys=good, steps=0, model=QuadraticMLP(p=P, n_neurons=5))


def test_mapping_is_checked_by_the_losses_in_the_file(tmp_path):
    net = drawn(OneHot)
    each = torch.nn.functional.cross_entropy(net(PAIRS), PAIRS[:, :2].sum(1) % P, reduction="none").detach()
    where = torch.arange(P * P) % 3 == 0
    file = {
        "model_state_dict": net.state_dict(), "train_idx": where.nonzero().flatten(), "step": 40,
        "train_losses": [each[where].mean().item()] * 41, "test_losses": [each[~where].mean().item()] * 41,
    }  # fmt: skip
    torch.save(file, tmp_path / "a.pt")
    found = opened(tmp_path / "a.pt", steps=40)
    assert found.split == "in the file" and not any("contradict" in note for note in found.notes)
    swapped = net.state_dict()
    swapped["fc1.weight"] = swapped["fc1.weight"].roll(1, 0) * 3
    torch.save({**file, "model_state_dict": swapped}, tmp_path / "b.pt")
    with pytest.raises(UserError, match="no split has the losses .* wrong way round .* the mapping of keys"):
        opened(tmp_path / "b.pt", steps=40)


# --- splits -----------------------------------------------------------------------------------------


@for_each("form", ["mask", "places", "pairs", "tests"])
def test_split_is_used_however_it_is_listed(tmp_path, form):
    mask = torch.arange(P * P) % 5 < 2
    places = mask.nonzero().flatten()
    listed = {
        "mask": {"train_mask": mask},
        "places": {"train_indices": places.tolist()},
        "pairs": {"train_pairs": [(int(i) // P, int(i) % P) for i in places]},
        "tests": {"test_indices": (~mask).nonzero().flatten()},
    }[form]
    torch.save({"model": networks()[100], "step": 100, **listed}, tmp_path / "a.pt")
    found = opened(tmp_path / "a.pt")
    assert found.split == "in the file" and torch.equal(found.task.is_train, mask)
    given = opened(networks(), split=next(iter(listed.values()))) if form != "tests" else opened(networks(), split=mask)
    assert given.split == "given" and torch.equal(given.task.is_train, mask)
    run = load(write_run(found, tmp_path / "run").path)
    assert torch.equal(run.task.is_train, mask) and run.split_is_known
    columns = ["loss[train]", "loss[test]"]
    assert cg.measure(run, "circuits")[columns].notna().all(axis=None)
    assert math.isclose(
        cg.measure(found, "circuits")[columns[0]].iloc[0], cg.measure(run, "circuits")[columns[0]].iloc[0]
    )


def test_pairs_that_are_none_are_refused():
    wrong = {"split must hold pairs of numbers from 0 to 6": [(0, 7)], "some of the 49 pairs, and not all": [49],
             "found 49": torch.ones(49, dtype=torch.bool), "their places, or pairs": [0.5], "something else": ["a"],
             "a mask of 49 pairs": [True, False]}  # fmt: skip
    for message, split in wrong.items():
        with pytest.raises(UserError, match=message):
            opened(networks(), split=split)


def test_task_and_model_are_taken_as_given(tmp_path):
    task = cg.TrainConfig().with_(p=P, operation="subtract", frac_train=0.4).task
    found = opened(networks(), task=task)
    assert (found.config.task.formula, found.split) == ("a - b mod 7", "given")
    drawn_task = cg.modular_addition(P, 0.4, seed=3)
    assert torch.equal(opened(networks(), task=drawn_task).task.is_train, drawn_task.is_train)
    digits = DenseMLP(n_in=64, n_out=10, width=6, depth=1)
    params = digits.init(torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="64 inputs and 10 outputs reads no pairs of numbers: give its task"):
        opened(params, steps=0)
    task = cg.TrainConfig().with_(model="dense", task="digits").task
    assert opened(params, steps=0, task=task).history["test_acc"].between(0, 1).all()


# --- the MLPs among the pizza checkpoints ---------------------------------------------------------------


def pizza_mlp(kind: str) -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    """Weights as that code names them, and its forward."""
    g = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    d = 4 if kind == "D" else 8
    names = {"X": ("embed1", "embed2")}.get(kind, ("embed",))
    w = {f"{name}.weight": draw(P, d) for name in names}
    w |= {"unembed.weight": draw(P, 8), "l1.weight": draw(8, 8), "l1.bias": draw(8)}
    w |= {"l2.weight": draw(8, 8), "l2.bias": draw(8)} if kind in "BC" else {}

    def forward(pairs: Tensor) -> Tensor:
        a, b = (w[f"{name}.weight"][pairs[:, i]] for i, name in enumerate((names * 2)[:2]))
        if kind == "D":
            x = torch.cat([a, b], 1) @ w["l1.weight"].T + w["l1.bias"]
        elif kind == "C":
            x = (a @ w["l1.weight"].T + w["l1.bias"]) + (b @ w["l1.weight"].T + w["l1.bias"])
        else:
            x = (a + b) @ w["l1.weight"].T + w["l1.bias"]
        x = torch.relu(x)
        if kind in "BC":
            x = torch.relu(x @ w["l2.weight"].T + w["l2.bias"])
        return x @ w["unembed.weight"].T

    return w, forward


@for_each("kind", list("ABCDX"))
def test_pizza_mlps_have_the_logits_of_the_published_forward(tmp_path, kind):
    weights, forward = pizza_mlp(kind)
    torch.save(weights, tmp_path / "model_ab1.pt")
    settings = {"C": P, "model_type": kind, "d_hidden": 8, "epoch": 90, "lr": 0.001, "weight_decay": 2.0, "frac": 0.8}
    (tmp_path / "config_ab1.json").write_text(json.dumps(settings))
    for layout in (None, "pizza"):
        found = read_published(tmp_path / "model_ab1.pt", layout)
        torch.testing.assert_close(found.model.logits(found.at(90), PAIRS), forward(PAIRS), rtol=0, atol=1e-11)
        assert any(f"an MLP (model_type {kind}), not a transformer" in note for note in found.notes)


@for_each("odd", [False, True])
@for_each("own", [False, True])
def test_pizza_linear_networks_have_the_logits_of_the_published_forward(tmp_path, odd, own):
    g, width = torch.Generator().manual_seed(3), 8 + odd
    tokens = P * (1 + own)
    shapes = {"embed.W_E": (4, tokens), "unembed.W_U": (width, tokens)}
    shapes |= {f"blocks.{i}.W_in": (width, width) for i in (0, 1)} | {f"blocks.{i}.b_in": (width,) for i in (0, 1)}
    w = {name: torch.randn(shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}
    read = PAIRS[:, :2] + torch.tensor([0, P * own])
    x = torch.nn.functional.pad(w["embed.W_E"].T[read].flatten(1), (0, int(odd)))
    for i in (0, 1):
        x = torch.relu(x @ w[f"blocks.{i}.W_in"].T + w[f"blocks.{i}.b_in"])
    torch.save(w, tmp_path / "model_ab1.pt")
    settings = {"C": P, "use_linear": True, "act_fn": "ReLU", "epoch": 90, "diff_vocab": int(own), "attn_coeff": 0}
    (tmp_path / "config_ab1.json").write_text(json.dumps(settings))
    found = read_published(tmp_path / "model_ab1.pt")
    wanted = (x @ w["unembed.W_U"])[:, :P]
    torch.testing.assert_close(found.model.logits(found.at(90), PAIRS), wanted, rtol=0, atol=1e-10)


# --- nothing is left --------------------------------------------------------------------------------


def test_refused_imports_leave_nothing(tmp_path):
    published = opened(networks())
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        write_run(published, tmp_path / "file" / "run")
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "history.jsonl").touch()
    before = files_of(tmp_path)
    with pytest.raises(RunError, match="has no config.json, but history.jsonl of a run"):
        write_run(published, occupied)
    assert files_of(tmp_path) == before


def test_opened_networks_are_drawn_and_summed_up_with_and_without_their_split(tmp_path):
    for split in (None, torch.arange(P * P) % 3 == 0):
        found = opened(networks(), split=split)
        table = cg.measure(found)
        text = "\n".join(summary_lines(found, table))
        assert text.startswith("memory: 3 checkpoints, the last at step 2500")
        assert ("split        not known" in text) == (split is None) and ("accuracy     train" in text) != (
            split is None
        )
        figure = run_figure(found, table)
        assert f"a + b mod 7, {'split not known' if split is None else '35% train'}" in figure.get_suptitle()
        legend = [line.get_label() for ax in figure.axes[:2] for line in ax.get_lines()]
        assert ("train" in legend, "all pairs" in legend) == (split is not None, split is None)
        assert cg.lens.bridge(found, 100)(PAIRS).shape == (P * P, 3, P + 1)
        for column in ("train_acc", "test_loss", "test_mirror_unseen_acc"):
            assert found.history[column].isna().all() == (split is None)
    with pytest.raises(UserError, match="hessian needs the training set, and the split of memory is a stand-in"):
        cg.measure(opened(networks()), "hessian")


def test_opened_checkpoints_are_shown_in_a_line():
    model = Transformer(p=5, d_model=8, n_heads=1, d_head=8, d_mlp=16)
    networks = {step: model.init(torch.Generator().manual_seed(step)) for step in (0, 100)}
    shown = repr(cg.open_checkpoints(networks, model=model, task=cg.modular_addition(p=5, frac_train=0.5)))
    assert "a + b mod 5" in shown and "2 networks, steps 0 to 100; split given" in shown and len(shown) < 200
