"""Groups of measures: each column is its public measure function on the weights of that step, for every operation."""

import numpy as np
import pytest
import torch
from loops import for_each
from oracles import share_right, slow_cross_entropy, slow_restricted_loss
from tiny import logits_at, tiny

from circuitgrok.measures.circuits import controls
from circuitgrok.measures.circuits import restricted as circuits
from circuitgrok.measures.circuits import unseen as unseen_pairs
from circuitgrok.measures.learning import memorization
from circuitgrok.measures.parts import attention, clock_pizza, neurons
from circuitgrok.measures.parts.logit_forms import logit_forms
from circuitgrok.measures.spectra import complexity
from circuitgrok.measures.spectra.tuning import neuron_frequencies, neuron_spectrum, shares_of
from circuitgrok.polar import orbits
from circuitgrok.table.checkpoints import checkpoints_of
from circuitgrok.table.groups import N_CONTROLS, SEED, circuit_columns, form_columns
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train


def test_columns_of_neurons_attention_forms_and_memory_are_the_public_measures_of_that_step(finished, measured):
    """To the rounding of float32 weights where the network is run a second time."""
    step, model, task = finished.steps[-1], finished.config.model, finished.task
    params, row, freqs = finished.at(step), measured.loc[step], torch.tensor(measured.attrs["key_freqs"])
    cache = model.activations(params, task.inputs)
    post, logits = cache["blocks.0.mlp.hook_post"][:, -1], logits_at(finished, step)
    W_L = params["blocks.0.mlp.W_out"].double() @ params["unembed.W_U"].double()[:, : model.p]
    tuned = neuron_frequencies(post)
    pattern = cache["blocks.0.attn.hook_pattern"][:, :, -1]
    scored = cache["blocks.0.attn.hook_attn_scores"][:, :, -1]
    heads = attention.head_tuning(scored[..., 0] - scored[..., 1])
    parts = circuits.parts_of(logits, freqs)
    credit = memorization.credit(memorization.answered_right(parts, task.labels), task.is_train)
    forms = logit_forms(logits, freqs)
    least = orbits.orbit_minimal_norm(params, model).total
    margins = memorization.mean_margins(parts, task.labels, task.is_train)
    circuit = circuits.together(circuits.neuron_circuit(post, W_L, logits, freqs))
    alone = circuits.restricted_losses(circuit, task.labels)[0]
    expected = {
        "neuron_purity": tuned.purity.mean(),
        "pure_neurons": neurons.in_cluster(tuned).double().mean(),
        "neuron_share[sums]": shares_of(neuron_spectrum(post)).sums[freqs - 1].sum(),
        "direction_fve_min": complexity.direction_tuning(post, complexity.wave_directions(W_L, freqs))[1].min(),
        "attention[head 1, a]": attention.attention_mass(pattern)[1, 0],
        "attention_entropy[head 0]": attention.attention_entropy(pattern)[0],
        "head_fve[head 1]": heads.frac_explained[1],
        "head_freq[head 1]": heads.freq[1].double(),
        "pairs_rest_only[train]": credit.rest_only,
        "efficiency[rest]": memorization.efficiency(margins, least).rest,
        "distance_irrelevance": clock_pizza.distance_irrelevance(logits, task.labels),
        "circularity": clock_pizza.circularity(params["embed.W_E"], model.p),
        "frac_pizza": forms.pizza.sum(),
        "restricted_act_loss[test]": alone[~task.is_train].mean(),
        "effective_rank[W_L]": complexity.effective_rank(W_L),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value.item(), rel=1e-4, abs=1e-6), name


def test_whether_it_is_a_pizza_is_asked_only_of_a_network_that_makes_no_mistake(finished, measured):
    solved = measured["accuracy[all]"] == 1
    assert not solved.any() and measured["is_pizza"].isna().all()
    at = checkpoints_of(finished.config, finished.stack(finished.steps[-1:]), torch.tensor([2]))
    at.__dict__["logits"] = 9.0 * torch.nn.functional.one_hot(at.labels, 11).double()[None]  # the cached property
    is_pizza = form_columns(at)["is_pizza"]
    assert isinstance(is_pizza, torch.Tensor) and is_pizza.tolist() == [0.0]


def circuits_of(run, freqs):
    """The group's columns at the last checkpoint, for some key frequencies."""
    columns = circuit_columns(checkpoints_of(run.config, run.stack(run.steps[-1:]), torch.tensor(freqs)))
    return {name: value.item() for name, value in columns.items()}


def test_random_sets_of_frequencies_are_the_control_of_a_sparse_key_set(finished):
    task, keys = finished.task, torch.tensor([2, 5])
    logits = logits_at(finished, finished.steps[-1])
    sets = controls.random_sets(keys, task.p, N_CONTROLS, SEED)
    losses = [slow_restricted_loss(logits, task.labels, one, task.where("all")) for one in sets.tolist()]
    row = circuits_of(finished, [2, 5])
    assert row["restricted_loss_random"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert row["restricted_loss_random_sd"] == pytest.approx(np.std(losses, ddof=1), rel=1e-3, abs=1e-6)


def test_random_sets_that_would_have_key_frequencies_in_them_are_no_control(finished):
    row = circuits_of(finished, [2, 4, 5])  # of 5
    controlled = {f"{kind}_loss_random{of}" for kind in ("restricted", "excluded") for of in ("", "_sd")}
    assert {name for name, value in row.items() if np.isnan(value)} == controlled


def test_unseen_pairs_have_a_restricted_loss_of_their_own_and_a_blank(finished):
    step, task, keys = finished.steps[-1], finished.task, torch.tensor([2, 5])
    logits, unseen = logits_at(finished, step), task.where("test_mirror_unseen")
    row = circuits_of(finished, [2, 5])
    of_unseen = unseen_pairs.restricted_loss_unseen(logits, task.labels, keys, unseen)
    blank = unseen_pairs.restricted_loss_blank(logits, task.labels, keys, unseen, task.where("all"))
    assert row["restricted_loss_unseen"] == pytest.approx(of_unseen.item(), rel=1e-4)
    assert row["restricted_loss_blank"] == pytest.approx(blank.item(), rel=1e-4)


def test_table_says_whether_the_spectrum_is_sparse_and_what_is_undefined_for_want_of_it(finished, measured):
    keys = torch.tensor(measured.attrs["key_freqs"])
    unseen = finished.task.where("test_mirror_unseen")
    assert measured.attrs["spectrum"] == ("sparse" if len(keys) <= 2 else "no sparse spectrum")
    of_pizza = {"is_pizza": "of a network that errs on some pair there is no telling"}
    assert measured.attrs["undefined"] == unseen_pairs.why_undefined(keys, unseen) | of_pizza
    assert "undefined" not in measure(finished, ["scale"], steps=[24]).attrs


def test_ablations_are_a_group_of_their_own(finished):
    table = measure(finished, ["ablations"], steps=[24])
    assert {"loss[head 1, mean, test]", "accuracy[skip, zero, train]"} <= set(table.columns)
    whole = measure(finished, ["circuits"], steps=[24])
    none = [
        name for name in table.columns.astype(str) if name.startswith("loss[cluster") and name.endswith("zero, test]")
    ]
    empty = [n for n in none if measure(finished, ["neurons"], [24])[f"cluster_size[{n.split()[1][:-1]}]"].item() == 0]
    for name in empty:  # a cluster without neurons takes nothing away
        assert table[name].item() == pytest.approx(whole["loss[test]"].item(), rel=1e-12)


@for_each("operation", ["subtract", "multiply", "divide", "random"])
def test_other_operations_are_measured_as_the_addition_that_they_are(tmp_path, operation):
    [run] = train([tiny(operation=operation, steps=8)], tmp_path, names=["run"])
    table, task = measure(run), run.task
    first = int(operation in ("multiply", "divide"))
    for step in run.steps:
        with torch.no_grad():
            logits = run.config.model.logits(run.at(step), task.inputs)[:, first : task.p].double()
        for split in ("train", "test"):
            where = task.where(split)
            loss = slow_cross_entropy(logits, task.labels - first, where)
            assert table.loc[step, f"loss[{split}]"] == pytest.approx(loss, rel=1e-4)
            accuracy = share_right(logits, task.labels - first, where)
            assert table.loc[step, f"accuracy[{split}]"] == pytest.approx(accuracy, abs=1e-12)
    assert max(table.attrs["key_freqs"]) <= (task.p - first) // 2
    columns = [
        name
        for name in table.columns.astype(str)
        if name.startswith(("restricted", "excluded", "frac_", "neuron", "distance"))
    ]
    assert table[[name for name in columns if name not in table.attrs.get("undefined", {})]].notna().all().all()


def test_wrong_labels_have_columns_of_their_own_where_there_are_any(tmp_path, finished, measured):
    assert not [name for name in measured.columns.astype(str) if name.startswith("label_fit")]
    [run] = train([tiny(corrupted=0.2, steps=8)], tmp_path, names=["run"])
    table, task = measure(run, ["memorization"]), run.task
    logits = logits_at(run, 8)
    wrong = task.is_train & task.is_corrupted
    assert table.loc[8, "label_fit[corrupted]"] == share_right(logits, task.labels, wrong)
    assert table.loc[8, "label_fit[corrected]"] == share_right(logits, task.true_labels, wrong)


def test_updates_are_in_the_table_where_they_were_recorded(finished, measured):
    line = finished.updates.loc[8]
    assert measured.loc[8, "update_radial[decay]"] == line["update_radial[decay]"]
    assert measure(finished, ["updates"], steps=[8, 24]).index.tolist() == [8, 24]
