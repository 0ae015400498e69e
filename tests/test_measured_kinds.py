"""Every kind of network and task is measured: columns against planted networks, and against a second way to them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from loops import for_each
from oracles import (
    labels_of,
    share_right,
    slow_cross_entropy,
    slow_excluded_loss,
    slow_margins,
    slow_restricted_loss,
    sum_projector,
)
from tiny import tiny
from tiny_kinds import LEAVES, NUMBERS, tiny_kind
from torch.nn.functional import one_hot

from circuitgrok.exact.analytic import max_margin_network
from circuitgrok.measures import scores
from circuitgrok.measures.circuits import explained
from circuitgrok.measures.circuits.restricted import parts_of
from circuitgrok.measures.learning import memorization
from circuitgrok.measures.parts import neurons, representations
from circuitgrok.measures.spectra import complexity, fourier
from circuitgrok.measures.spectra.tuning import neuron_frequencies, neuron_spectrum, shares_of
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.polar.path import polar_path
from circuitgrok.table import measure as table
from circuitgrok.table.checkpoints import KEY_FREQUENCY_RULES, Opened, key_frequencies
from circuitgrok.table.groups import GROUPS
from circuitgrok.table.measure import measure, quick_groups
from circuitgrok.tasks.composition import Composition, named_group
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tasks.operations import as_addition
from circuitgrok.training.loop import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of every kind."""
    folder = tmp_path_factory.mktemp("kinds")
    return {name: train([tiny_kind(name)], folder, names=[name])[0] for name in LEAVES}


@pytest.fixture(scope="module")
def tables(runs):
    """Their quick measures."""
    return {name: measure(run) for name, run in runs.items()}


def last_neurons(run, step):
    """The last hidden layer over all pairs: the same network, read by the identity instead of W_U."""
    params = run.at(step)
    width = params["unembed.W_U"].shape[0]
    read = params | {"unembed.W_U": torch.eye(width)}
    if "unembed.b_U" in params:
        read |= {"unembed.b_U": torch.zeros(width)}
    return run.config.model.logits(read, run.task.inputs)


def in_order(run, step):
    """Logits as the loss saw them in float64, over the pairs and classes of the hidden addition; labels; key freqs."""
    hidden, params = as_addition(run.task), run.at(step)
    logits = run.config.model.logits(params, run.task.inputs).double() / run.config.temperature
    return hidden.table(logits), hidden, params


@for_each("name", LEAVES)
def test_every_kind_is_measured_and_groups_do_not_overlap(runs, tables, name):
    run, measured = runs[name], tables[name]
    assert measured.index.tolist() == run.steps
    groups = [measure(run, [group]).columns.tolist() for group in quick_groups(run.config)]
    assert sum(groups, start=[]) == measured.columns.tolist() and len(set(measured.columns)) == len(measured.columns)
    # Of angles to what has no length yet, margins of a wrong network, phases of impure neurons there is no number.
    undefined = ("angle", "angular", "cos_", "update", "circuit_share", "memorised_share", "phase_alignment")
    missing = measured.columns[measured.isna().any()].astype(str)
    why = measured.attrs.get("undefined", {})
    assert [column for column in missing if not column.startswith(undefined) and column not in why] == []
    assert measured[list(why)].isna().any().all() and all(why.values())


@for_each("name", LEAVES)
def test_polar_columns_of_every_kind_are_the_path_globally_by_role_and_by_tensor(runs, tables, name):
    run, measured = runs[name], tables[name]
    for part, path in polar_path(run.stack(), torch.tensor(run.steps)).items():
        for field, values in path._asdict().items():
            column = measured[field if part == "global" else f"{field}[{part}]"]
            np.testing.assert_array_equal(column.to_numpy(), values.numpy())
    parts = [column for column in measured if "[head" in str(column) or "[neurons" in str(column)]
    assert bool(parts) == (run.config.model.kind == "transformer")


@for_each("name", NUMBERS)
def test_columns_of_mlps_are_the_public_measures_of_that_step(runs, tables, name):
    """To the rounding of float32 weights: there are two ways to logits and neurons."""
    run, step = runs[name], runs[name].steps[-1]
    row, freqs = tables[name].loc[step], torch.tensor(tables[name].attrs["key_freqs"])
    logits, hidden, params = in_order(run, step)
    post = last_neurons(run, step)[hidden.pairs].double()
    W_L = params["unembed.W_U"].double()[:, hidden.classes]
    W_E = params["embed.W_E" if "embed.W_E" in params else "blocks.0.mlp.W_in"].double()[hidden.tokens]
    where = {split: run.task.where(split)[hidden.pairs] for split in ("train", "test", "all")}
    parts, keys = parts_of(logits, freqs), freqs.tolist()
    expected = {
        "loss[test]": slow_cross_entropy(logits, hidden.labels, where["test"]),
        "accuracy[train]": share_right(logits, hidden.labels, where["train"]),
        "restricted_loss[all]": slow_restricted_loss(logits, hidden.labels, keys, where["all"]),
        "excluded_loss[train]": slow_excluded_loss(logits, hidden.labels, keys, where["train"]),
        "frac_explained": explained.frac_explained(logits, freqs),
        "gini[W_E]": fourier.fourier_gini(W_E),
        "gini[W_L]": fourier.fourier_gini(W_L.T),
        "power_W_L[2]": fourier.frequency_power(W_L.T)[1],
        "effective_rank[W_L]": complexity.effective_rank(W_L),
        "ipr[W_E]": neurons.inverse_participation(W_E).mean(),
        "logit_std": scores.logit_scale(logits).std,
        "margin_min[test]": scores.margin(logits, hidden.labels)[where["test"]].min(),
        "neuron_purity": neuron_frequencies(post).purity.mean(),
        "neuron_share[sums]": shares_of(neuron_spectrum(post)).sums[freqs - 1].sum(),
        "pairs_rest_only[train]": memorization.credit(
            memorization.answered_right(parts, hidden.labels), where["train"]
        ).rest_only,
    }
    for column, value in expected.items():
        assert row[column] == pytest.approx(float(value), rel=1e-4, abs=1e-6), column
    waves = sum_projector(hidden.m, freqs.tolist()) @ post  # sent on to the logits, with the mean of the network's own
    circuit = waves @ W_L / run.config.temperature + logits.mean(0)
    alone = slow_cross_entropy(circuit, hidden.labels, where["test"])
    assert row["restricted_act_loss[test]"] == pytest.approx(alone, rel=1e-4)
    assert not [column for column in tables[name] if str(column).startswith(("efficiency", "norm_min", "attention"))]


def test_wrong_labels_are_told_apart_in_an_mlp_too(tmp_path):
    [run] = train([tiny_kind("embedding", corrupted=0.2)], tmp_path, names=["run"])
    logits = run.config.model.logits(run.at(16), run.task.inputs)
    wrong = share_right(logits, run.task.labels, run.task.is_train & run.task.is_corrupted)
    assert measure(run, ["memorization"]).loc[16, "label_fit[corrupted]"] == wrong


@for_each("rule", KEY_FREQUENCY_RULES)
def test_each_rule_finds_key_frequencies_in_an_mlp(runs, rule):
    run = runs["summed"]
    found = key_frequencies(rule, run.at(16), run.config.model, run.task).tolist()
    measured = measure(run, ["scale"], [16], rule=rule)
    assert measured.attrs["key_freqs"] == found and measured.attrs["key_freqs_by_rule"][rule] == found
    assert max(found, default=0) <= 5


def planted(p=11):
    """The quadratic network of largest margin: logits 9/2 sum_k cos w_k (a + b - q), and nothing else."""
    params = {name: value[None] for name, value in max_margin_network(p).items()}
    model = QuadraticMLP(p=p, n_neurons=params["unembed.W_U"].shape[1])
    return Opened(params, model, modular_addition(p), torch.arange(1, (p + 1) // 2))


def test_a_planted_quadratic_network_is_all_circuit():
    """Its neurons are (cos x + cos y)^2: a variance of 1 in products of the frequency k, 1/4 in waves of 2 k."""
    at, p = planted(), 11
    columns = {
        column: torch.as_tensor(value).item()
        for group in ("circuits", "scale", "neurons")
        for column, value in GROUPS[group](at).items()
    }
    logits = 4.5 * (p * one_hot(labels_of(p), p).double() - 1) / 2  # the sum of all cosines is (p delta - 1) / 2
    loss = math.log1p((p - 1) * math.exp(-4.5 * p / 2))
    assert (at.logits[0] - logits).abs().max() < 1e-12
    expected = {
        "accuracy[all]": 1.0, "frac_explained": 1.0, "margin_mean[test]": 9 * p / 4, "margin_min[train]": 9 * p / 4,
        "neuron_purity": 0.8, "pure_neurons": 0.0, "neuron_share[single]": 0.2, "neuron_share[sums]": 0.4,
        "neuron_share[differences]": 0.4, "cluster_size[3]": 0.0, "direction_fve_min": 1.0,
        **{f"cosine_coefficient[{k}]": 4.5 for k in range(1, 6)},
    }  # fmt: skip
    assert {column: columns[column] for column in expected} == pytest.approx(expected, rel=1e-11, abs=1e-11)
    # a loss of 1e-10 is the rounding of logits of 25 away from its value: 1e-4 is a thousand of those
    for column in ("loss[all]", "restricted_loss[all]", "restricted_act_loss[train]"):
        assert columns[column] == pytest.approx(loss, rel=1e-4), column
    # without its sum waves it knows nothing: the mean logit is the same for all classes
    assert columns["excluded_loss[train]"] == pytest.approx(math.log(p), rel=1e-11)
    assert columns["excluded_act_loss[train]"] == pytest.approx(math.log(p), rel=1e-11)


@for_each("name", [name for name in LEAVES if name not in NUMBERS])
def test_scores_are_those_of_the_history_and_margins_those_of_a_loop(runs, tables, name):
    run, measured = runs[name], tables[name]
    for step in run.steps:
        for split in ("train", "test"):
            # logits by float32 products in another order
            assert measured.loc[step, f"loss[{split}]"] == pytest.approx(
                run.history.loc[step, f"{split}_loss"], rel=1e-5
            )
            assert measured.loc[step, f"accuracy[{split}]"] == run.history.loc[step, f"{split}_acc"]
    if name == "teacher":
        assert not [column for column in measured if str(column).startswith(("margin", "logit"))]
        return
    logits = run.config.model.logits(run.at(16), run.task.inputs).double() / run.config.temperature
    for split in ("train", "test"):
        where = run.task.where(split)
        margins = slow_margins(logits[where], run.task.labels[where])
        assert measured.loc[16, f"margin_mean[{split}]"] == pytest.approx(np.mean(margins), rel=1e-5, abs=1e-6)
        assert measured.loc[16, f"margin_min[{split}]"] == pytest.approx(min(margins), rel=1e-5, abs=1e-6)
    centred = logits - logits.mean(-1, keepdim=True)
    assert measured.loc[16, "logit_std"] == pytest.approx(centred.square().mean().sqrt().item(), rel=1e-5)


def test_irreps_are_those_of_the_logits_and_named_like_the_groups(runs, tables):
    for name in ("composition", "dihedral"):
        run, group = runs[name], named_group(runs[name].config.task.group)
        logits = run.config.model.logits(run.at(16), run.task.inputs)[:, : group.order]
        shares = representations.logit_irrep_share(logits, group).tolist()
        for irrep, share, like in zip(
            group.irreps, shares, representations.logit_trace_similarity(logits, group), strict=True
        ):
            assert tables[name].loc[16, f"irrep_share[{irrep}]"] == pytest.approx(share, rel=1e-5, abs=1e-9)
            assert tables[name].loc[16, f"trace_similarity[{irrep}]"] == pytest.approx(like.item(), rel=1e-5, abs=1e-9)
        assert 0 < sum(shares) <= 1


def test_a_planted_table_of_S3_has_the_irreps_of_the_right_answer():
    """One ReLU neuron for each pair, on when both its elements are there: logits are 1 for the product, else 0."""
    task, n = Composition(group="S3").draw(), 6
    model = EmbeddingMLP(p=n, d_embed=n, d_hidden=n * n, act="relu", train_biases=("mlp",))
    a, b = (one_hot(task.inputs[:, i], n).double() for i in (0, 1))
    params = {
        "embed.W_E": torch.eye(n).double(), "blocks.0.mlp.W_in": torch.cat([a.T, b.T]),
        "blocks.0.mlp.b_in": -torch.ones(n * n).double(), "unembed.W_U": one_hot(task.labels, n).double(),
        "unembed.b_U": torch.zeros(n).double(),
    }  # fmt: skip
    one, none = {name: value[None] for name, value in params.items()}, torch.empty(0, dtype=torch.long)
    at = Opened(one, model, task, none, group=named_group("S3"))
    columns = {column: torch.as_tensor(value).item() for column, value in GROUPS["irreps"](at).items()}
    shares = {"irrep_share[3]": 0.0, "irrep_share[2+1]": 0.8, "irrep_share[1+1+1]": 0.2}  # d^2 of |G| - 1
    likeness = {f"trace_similarity{name[11:]}": share**0.5 for name, share in shares.items()}
    assert columns == pytest.approx(shares | likeness, abs=1e-12)
    with pytest.raises(ValueError, match="products of a finite group"):
        GROUPS["irreps"](Opened(one, model, task, none))


def test_there_are_key_frequencies_where_there_are_numbers(tables):
    for name, measured in tables.items():
        assert ("key_freqs" in measured.attrs) == (name in NUMBERS)
        assert {"run", "config"} <= set(measured.attrs)


def test_losses_are_of_the_logits_that_the_loss_saw(tmp_path):
    """A temperature T makes every loss that of a network whose W_U is T times smaller."""
    [run] = train([tiny(temperature=4.0, steps=8)], tmp_path, names=["run"])
    groups: list[Any] = ["circuits", "memorization", "scale"]
    cooled = run.stack()
    cooled["unembed.W_U"], cooled["unembed.b_U"] = cooled["unembed.W_U"] / 4, cooled["unembed.b_U"] / 4
    measured, config = measure(run, groups), run.config
    at = Opened(cooled, config.model, run.task, torch.tensor(measured.attrs["key_freqs"]))
    for group in groups:
        for column, values in GROUPS[group](at).items():
            if not column.startswith(("efficiency", "low_ipr")):
                np.testing.assert_allclose(
                    measured[column], torch.as_tensor(values), rtol=1e-4, atol=1e-6, err_msg=column
                )


def test_how_many_checkpoints_are_taken_at_a_time_does_not_change_the_values(runs, tables, monkeypatch):
    for name in ("summed", "parity"):
        model, task = runs[name].config.model, runs[name].task
        monkeypatch.setattr(table, "_NUMBERS", len(task.inputs) * model.activations_per_input)
        one_by_one = measure(runs[name])
        np.testing.assert_allclose(one_by_one.to_numpy(), tables[name].to_numpy(), rtol=1e-5, atol=1e-6)
