"""The split of a published network: found by its losses at a share and seed that nothing says, and not by chance."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import for_each
from test_lens import random_params
from test_published import NANDA, SIZES, P, as_nanda, without_unsaved_biases
from tiny import resealed_config
from torch import Tensor

from circuitgrok.canonical import canonical_json
from circuitgrok.errors import UserError
from circuitgrok.faces import listed
from circuitgrok.faces.summary import summary_lines
from circuitgrok.foreign.claims import Evidence, before_update, evidence_of, pair_losses
from circuitgrok.foreign.imported import report, write_run
from circuitgrok.foreign.published import Published
from circuitgrok.foreign.reading import read_published
from circuitgrok.foreign.split_search import Candidate, impossible, search
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.models.transformer import Transformer
from circuitgrok.store.run import load
from circuitgrok.table.explore import explore_run
from circuitgrok.table.llc import llc_along, sharpness_along
from circuitgrok.table.measure import measure
from circuitgrok.tasks.splits import SPLITS, share_of
from circuitgrok.tree import Params

TRUTH = Candidate("nanda", 5, 0.8)
PAIRS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
ANSWERS = PAIRS[:, :2].sum(1) % P
UPDATES = 60


def as_trained(split: Candidate = TRUTH) -> dict[str, Any]:
    return dict(_as_trained(split))


@cache
def _as_trained(split: Candidate) -> dict[str, Any]:
    """A file as the progress-measures code writes it: losses before each update, weights and moments after the last."""
    where = split.mask(P * P)
    params = without_unsaved_biases(random_params(NANDA, dtype=torch.float32))
    moved = {name: torch.nn.Parameter(v) for name, v in params.items() if "W_" in name or ".mlp.b_" in name}
    saved_names = [name for name in as_nanda(params, NANDA) if not name.endswith(".mask")]
    optimizer = torch.optim.AdamW([moved[name] for name in saved_names], lr=5e-3, betas=(0.9, 0.98), weight_decay=0.5)
    losses: dict[str, list[float]] = {"train_losses": [], "test_losses": []}
    for _ in range(UPDATES):
        each = cross_entropy(NANDA.logits({**params, **moved}, PAIRS), ANSWERS)
        losses["train_losses"].append(each[where].mean().item())
        losses["test_losses"].append(each[~where].mean().item())
        optimizer.zero_grad()
        each[where].mean().backward()
        optimizer.step()
    now = {**params, **{name: value.detach() for name, value in moved.items()}}
    # Moments stand in the layout of the file, like the weights.
    state = {}
    for key in ("exp_avg", "exp_avg_sq"):
        held = {name: optimizer.state[moved[name]][key] if name in moved else v * 0 for name, v in now.items()}
        for i, name in enumerate(saved_names):
            state.setdefault(i, {"step": torch.tensor(float(UPDATES))})[key] = as_nanda(held, NANDA)[name]
    groups = optimizer.state_dict()["param_groups"]
    return {
        "model": as_nanda(now, NANDA), "optimizer": {"state": state, "param_groups": groups}, **losses,
        "epoch": UPDATES - 1, "config": {"p": P, "fn_name": "add"},
    }  # fmt: skip


def read(folder: Path, content: dict[str, Any], **given: Any) -> Published:
    torch.save({name: value for name, value in content.items() if value is not None}, folder / "run.pth")
    return read_published(folder / "run.pth", "nanda", **given)


def with_last(content: dict[str, Any]) -> dict[str, Any]:
    """Only the last losses, as in the checkpoints along a run."""
    last = {"train_loss": content["train_losses"][-1], "test_loss": content["test_losses"][-1]}
    return {**content, **last, "train_losses": None, "test_losses": None}


# --- an update undone --------------------------------------------------------------------------------


def test_update_of_adamw_is_undone(tmp_path):
    content = as_trained()
    [network] = read(tmp_path, {**content, "train_losses": None, "test_losses": None}, steps=1).networks.values()
    undone = before_update(content["model"], content["optimizer"])
    assert undone is not None
    read(tmp_path, {**content, "model": undone, "optimizer": None, "train_losses": None, "test_losses": None}, steps=1)
    [before] = read_published(tmp_path / "run.pth", "nanda", steps=1).networks.values()
    where = TRUTH.mask(P * P)
    claimed, moved = content["train_losses"][-1], cross_entropy(NANDA.logits(network, PAIRS), ANSWERS)[where].mean()
    here = cross_entropy(NANDA.logits(before, PAIRS), ANSWERS)[where].mean().item()
    assert here == pytest.approx(claimed, rel=1e-5)  # float32 weights, rounded once more
    assert abs(moved.item() / claimed - 1) > 1e-3  # what the update had changed


@for_each("change", [{"param_groups": []}, {"state": {}}, {"state": 3}, None, 3, {"param_groups": [3]}])
def test_moments_that_do_not_fit_undo_nothing(change):
    content = as_trained()
    optimizer = content["optimizer"] | change if isinstance(change, dict) else change
    assert before_update(content["model"], optimizer) is None
    warming = {**content["optimizer"], "param_groups": [content["optimizer"]["param_groups"][0] | {"initial_lr": 1.0}]}
    assert before_update(content["model"], warming) is None


# --- found -------------------------------------------------------------------------------------------


@for_each("only_last", [False, True])
@for_each("split", [TRUTH, Candidate("randperm", 598, 0.35), Candidate("nanda", 123, share_of(23, 49))])
def test_split_that_nothing_says_is_found(tmp_path, split, only_last):
    content = as_trained(split)
    published = read(tmp_path, with_last(content) if only_last else content)
    found = published.config.modular
    assert published.split == f"found: {split.label}"
    assert torch.equal(SPLITS[found.split](P * P, found.frac_train, found.data_seed), split.mask(P * P))
    assert any("it alone has the losses that the file claims" in note for note in published.notes)
    each = cross_entropy(NANDA.logits(published.networks[UPDATES], PAIRS), ANSWERS)
    [record] = published.evaluated
    assert record["train_loss"] == pytest.approx(each[split.mask(P * P)].mean().item(), rel=1e-5)


def test_settings_that_contradict_the_curve_are_flagged_and_the_split_is_found(tmp_path):
    content = as_trained() | {"config": {"p": P, "fn_name": "add", "frac_train": 0.3, "seed": 0}}
    published = read(tmp_path, content)
    assert published.split == "found: frac 0.8 seed 5"
    assert any(note.startswith("contradicts the file's settings: the file claims t") for note in published.notes)
    right = read(tmp_path, as_trained() | {"config": {"p": P, "fn_name": "add", "frac_train": 0.8, "seed": 5}})
    assert right.split == "in the file" and not any("contradict" in note for note in right.notes)
    assert right.evaluated == published.evaluated


@for_each("changed", [1.001, 0.8, 7.0])
def test_claims_that_no_split_has_are_flagged_whatever_their_size(tmp_path, changed):
    content = as_trained() | {"config": {"p": P, "fn_name": "add", "frac_train": 0.8, "seed": 5}}
    content["test_losses"] = [loss * changed for loss in content["test_losses"]]
    try:
        published = read(tmp_path, content)
    except UserError as error:
        assert changed == 7.0 and "but the weights have" in str(error)  # beyond half the loss of guessing
    else:
        [flag] = [note for note in published.notes if note.startswith("contradicts the file: ")]
        # A thousandth is what products of ten bits leave in this network: said, and no more.
        assert published.split == ("in the file" if "TF32" in flag else "stand-in") and ("TF32" in flag) == (
            changed == 1.001
        )


def test_given_split_that_contradicts_the_file_is_refused_with_the_right_one(tmp_path):
    with pytest.raises(UserError, match="split given is not .*; the losses are those of frac 0.8 seed 5: leave out"):
        read(tmp_path, as_trained(), data_seed=6, frac_train=0.8)
    assert read(tmp_path, as_trained(), data_seed=5, frac_train=0.8).split == "given"


def evidence(losses: Tensor, split: Candidate, tolerance: float) -> list[Evidence]:
    where = split.mask(len(losses))
    means = {"train_loss": losses[where].mean().item(), "test_loss": losses[~where].mean().item()}
    return [Evidence(column, 3, value, losses, tolerance, 0.0, "planted") for column, value in means.items()]


def test_false_matches_are_rarer_than_one_in_a_hundred():
    # 40 planted splits that are not among the candidates: a match is a chance one.
    g, found = torch.Generator().manual_seed(0), 0
    for seed in range(40):
        losses = torch.rand(121, generator=g, dtype=torch.float64)
        unlisted = Candidate("nanda", 10**6 + seed, 0.5)
        found += search(evidence(losses, unlisted, 10.0 ** -(seed % 5 + 2)), Candidate("nanda", 0, 0.5)) is not None
    assert found <= 0.4 + 4 * math.sqrt(0.4)  # 1 % of 40, and four standard errors


def test_vague_losses_find_nothing_and_sharp_ones_do():
    losses = torch.rand(121, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first = Candidate("nanda", 0, 0.3)
    assert search(evidence(losses, TRUTH, 1e-1), first, [1.0]) is None
    match = search(evidence(losses, TRUTH, 1e-9), first, [1.0])
    assert match is not None and match.candidate == TRUTH and match.gap < 1e-12 < match.nearest
    assert search(evidence(losses, TRUTH, 1e-9)[:1], first) is None  # one side alone
    memorised = torch.where(TRUTH.mask(121), losses * 1e-6, losses)
    near = [one._replace(claimed=one.claimed * 1.0005) for one in evidence(memorised, TRUTH, 1e-3)]
    match = search(near, first, [1.0])  # sides so unlike that a thousandth is enough
    assert match is not None and match.candidate == TRUTH


def test_mean_over_all_pairs_lies_between_the_sides():
    losses = torch.rand(121, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    good = evidence(losses, TRUTH, 1e-9)
    assert impossible(good) == []
    worse = [one._replace(claimed=one.claimed + 1) for one in good]
    assert "no split has the losses that the file claims at step 3" in impossible(worse)[0]


def test_pair_losses_are_those_of_one_batch_and_their_rounding_that_of_float32(monkeypatch):
    params: Params = random_params(NANDA)
    whole, error = pair_losses(params, NANDA, PAIRS, ANSWERS)
    monkeypatch.setattr("circuitgrok.store.checkpoints._NUMBERS", 100)  # a few rows at a time
    sliced, _ = pair_losses(params, NANDA, PAIRS, ANSWERS)
    torch.testing.assert_close(sliced, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole, cross_entropy(NANDA.logits(params, PAIRS), ANSWERS), rtol=1e-12, atol=1e-12)
    assert 2**-24 < error < 2**-24 * 1000  # some hundred sums of numbers of size 1
    found = evidence_of({41: {"train_loss": 1.0}}, {41: params}, None, NANDA, PAIRS, ANSWERS)
    assert [one.rounding for one in found] == [4 * error]


# --- a stand-in --------------------------------------------------------------------------------------


def stand_in(folder: Path, seed: int) -> Published:
    content = as_trained() | {"train_losses": None, "test_losses": None, "config": {"p": P, "fn_name": "add"}}
    published = read(folder, content)
    assert published.split == "stand-in"
    return Published(
        published.source, published.networks, published.config.with_(data_seed=seed), {}, "stand-in", published.notes
    )


def test_nothing_is_said_by_side_of_a_stand_in_and_the_rest_does_not_depend_on_it(tmp_path):
    runs = [write_run(stand_in(tmp_path, seed), tmp_path / f"run{seed}") for seed in (0, 1)]
    names: list[Any] = [*quick(runs[0]), "ablations"]
    one, other = (measure(run, names) for run in runs)
    nan = [name for name, why in one.attrs["undefined"].items() if "stand-in" in why]
    assert one.columns.equals(other.columns) and set(nan) == {name for name in one if one[name].isna().all()} & set(nan)
    kept = [name for name in one if name not in nan]
    assert {"loss[train]", "accuracy[test]", "excluded_loss_random", "loss[test_mirror_unseen]"} <= set(nan)
    assert {"loss[all]", "restricted_loss[all]", "accuracy[all]", "circuit_share[all]"} & set(kept)
    for name in kept:
        assert one[name].equals(other[name]), f"{name} depends on the split and is not nan"
    known = write_run(read(tmp_path, as_trained()), tmp_path / "known")
    table = measure(known, names)
    assert (
        known.split_is_known
        and "stand-in" not in str(table.attrs.get("undefined"))
        and table["loss[train]"].notna().all()
    )
    for name in nan:
        assert name not in table or table[name].notna().any() or one[name].isna().all()


def quick(run: Any) -> list[str]:
    from circuitgrok.table.measure import quick_groups

    return list(quick_groups(run.config))


def test_history_summary_and_costly_groups_of_a_stand_in(tmp_path):
    run = write_run(stand_in(tmp_path, 0), tmp_path / "run")
    assert not run.split_is_known and run.history[["train_loss", "test_acc"]].isna().all(axis=None)
    assert run.history["norm"].notna().all()
    text = "\n".join(summary_lines(run, measure(run, ["polar", "circuits"])))
    assert "split        not known" in text and "grokked" not in text and "memorised" not in text
    with pytest.raises(UserError, match="hessian needs the training set, and the split of run is a stand-in"):
        measure(run, ["hessian"])
    how, at = Sampling(step_size=1e-4, localization=1e3, n_draws=8), run.steps[0]
    with pytest.raises(UserError, match="llc needs the training set"):
        llc_along(run, how)
    with pytest.raises(UserError, match="llc needs the training set"):
        sharpness_along(run, how, [at])
    with pytest.raises(UserError, match="explore needs the training set"):
        explore_run(run, at, how)
    assert "excluded " in text and " on train," not in text and "nan" not in text.split()
    assert any("on all pairs here" in line for line in report(stand_in(tmp_path, 0)))
    row = listed.read(run).cells
    assert (row.test_acc, row.memorised, row.grokked) == ("–", "–", "–")


@for_each("split", ["assumed", "unknown"])
def test_imports_of_before_read_as_stand_ins(tmp_path, split):
    run = write_run(read(tmp_path, as_trained()), tmp_path / "run")

    def as_before(text: str) -> str:
        manifest = json.loads(text)
        manifest["environment"]["imported"]["split"] = split
        return canonical_json(manifest)

    resealed_config(run, as_before)
    assert not load(run.path).split_is_known


def test_huge_tables_are_refused_before_they_are_made(tmp_path):
    model = Transformer(**{**SIZES, "p": 4096, "d_model": 2, "d_mlp": 1, "d_head": 1})
    torch.save({"model": as_nanda(model.init(torch.Generator().manual_seed(0)), model), "epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="p = 4096 would be 16,777,216 pairs in the full batch; at most 4,194,304"):
        read_published(tmp_path / "a.pth", "nanda")
