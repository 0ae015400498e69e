"""The table of measures: each column is its public measure function on the weights of that step."""

import itertools
import math

import numpy as np
import pytest
import torch
from loops import for_each
from oracles import share_right, slow_cross_entropy, slow_excluded_loss, slow_margins, slow_restricted_loss
from tiny import copied, logits_at, tiny

from circuitgrok.errors import UserError
from circuitgrok.foreign.open import open_checkpoints
from circuitgrok.landscape.hessian_along import spectrum_columns
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.measures import scores
from circuitgrok.measures.circuits import explained
from circuitgrok.measures.parts import neurons
from circuitgrok.measures.spectra import fourier, key_freqs
from circuitgrok.models.kinds import transformer_of
from circuitgrok.polar import orbits
from circuitgrok.polar.path import polar_path
from circuitgrok.store.reference import reference
from circuitgrok.store.run import RunError
from circuitgrok.table import measure as table
from circuitgrok.table.checkpoints import KEY_FREQUENCY_RULES, SPLITS, key_frequencies, strongest_frequencies
from circuitgrok.table.llc import llc_along
from circuitgrok.table.measure import measure, names_of_groups, quick_groups
from circuitgrok.training.loop import train


def test_one_row_per_checkpoint_and_no_column_without_its_numbers(finished, measured):
    assert measured.index.tolist() == finished.steps and measured.index.name == "step"
    fresh = ("[blocks.0.mlp.b_in]", "[blocks.0.mlp.b_out]")  # zero at the start: without direction
    of_updates = finished.updates.columns
    assert measured[of_updates].iloc[-1].isna().all()  # nothing was done to the last checkpoint
    undefined = [n for n in measured if measured[n].isna().any() and (n not in of_updates or n.endswith(fresh))]
    no_margin = ("circuit_share", "memorised_share", "phase_alignment")  # of a wrong network, and of impure neurons
    undefined = [n for n in undefined if n not in measured.attrs.get("undefined", {})]
    assert all(name.startswith(("angular_speed", *no_margin)) or name.endswith(fresh) for name in undefined)
    rest = measured[[n for n in of_updates if not n.endswith(fresh)]].iloc[:-1]
    assert rest.notna().all().all()
    assert (measured.dtypes == np.float64).all()


def test_columns_of_circuits_and_scale_are_the_public_measures_of_that_step(finished):
    """To the rounding of float32 weights: there are two ways to the logits."""
    measured = measure(finished, ["circuits", "scale"], rule="neuron_argmax")
    task, freqs = finished.task, torch.tensor(measured.attrs["key_freqs"])
    assert 0 < len(freqs) < 5
    for step in finished.steps:
        row, logits, labels = measured.loc[step], logits_at(finished, step), task.labels
        keys = freqs.tolist()
        for split in SPLITS:
            where = task.where(split)
            expected = {
                "loss": slow_cross_entropy(logits, labels, where),
                "accuracy": share_right(logits, labels, where),
                "restricted_loss": slow_restricted_loss(logits, labels, keys, where),
                "excluded_loss": slow_excluded_loss(logits, labels, keys, where),
            }
            for name, value in expected.items():
                assert row[f"{name}[{split}]"] == pytest.approx(value, rel=1e-4, abs=1e-6), (step, name, split)
        coefficients = explained.cosine_coefficients(logits)
        for k in keys:
            without = slow_excluded_loss(logits, labels, [k], task.is_train)
            alone = slow_restricted_loss(logits, labels, [k], task.where("all"))
            assert row[f"excluded_loss[{k}]"] == pytest.approx(without, rel=1e-4, abs=1e-6)
            assert row[f"restricted_loss[{k}]"] == pytest.approx(alone, rel=1e-4, abs=1e-6)
            assert row[f"cosine_coefficient[{k}]"] == pytest.approx(coefficients[k - 1].item(), rel=1e-4, abs=1e-6)
        of_all = explained.frac_explained(logits, freqs).item()
        assert row["frac_explained"] == pytest.approx(of_all, rel=1e-4, abs=1e-6)
        within = explained.frac_explained_within_classes(logits, freqs).item()
        assert row["frac_explained_within_classes"] == pytest.approx(within, rel=1e-4, abs=1e-6)
        scale = scores.logit_scale(logits)
        assert row["logit_scale"] == pytest.approx(scale.mean_abs.item(), rel=1e-4, abs=1e-6)
        assert row["logit_std"] == pytest.approx(scale.std.item(), rel=1e-4, abs=1e-6)
        for split in ("train", "test"):
            margins = slow_margins(logits[task.where(split)], labels[task.where(split)])
            assert row[f"margin_mean[{split}]"] == pytest.approx(np.mean(margins), rel=1e-4, abs=1e-6)
            assert row[f"margin_min[{split}]"] == pytest.approx(min(margins), rel=1e-4, abs=1e-6)


def test_columns_of_fourier_are_the_public_measures_of_that_step(finished, measured):
    p = finished.config.model.p
    for step in finished.steps:
        row, weights = measured.loc[step], finished.at(step)
        W_E = weights["embed.W_E"]
        W_L = weights["blocks.0.mlp.W_out"].double() @ weights["unembed.W_U"].double()
        spectra = {"W_E": fourier.frequency_power(W_E[:p]), "W_L": fourier.neuron_logit_spectrum(W_L, p)}
        for name, spectrum in spectra.items():
            found = [row[f"power_{name}[{k}]"] for k in range(1, p // 2 + 1)]
            assert found == pytest.approx(spectrum.tolist(), rel=1e-12)
        assert f"power_W_E[{p // 2 + 1}]" not in measured.columns
        assert row["gini[W_E]"] == pytest.approx(fourier.fourier_gini(W_E[:p].double()).item(), rel=1e-12)
        assert row["gini[W_L]"] == pytest.approx(fourier.fourier_gini(W_L[:, :p].mT).item(), rel=1e-12)


def test_polar_columns_are_the_path_globally_by_role_and_by_tensor(finished, measured):
    paths = polar_path(finished.stack(), torch.tensor(finished.steps))
    assert {"global", "embed", "attention", "mlp", "unembed", "embed.W_E", "unembed.W_U"} <= set(paths)
    for part, path in paths.items():
        for name, values in path._asdict().items():
            column = measured[name if part == "global" else f"{name}[{part}]"]
            np.testing.assert_array_equal(column.to_numpy(), values.numpy())


def test_every_column_belongs_to_a_group_and_groups_do_not_overlap(finished, measured):
    columns = [measure(finished, [name]).columns.tolist() for name in quick_groups(finished.config)]
    assert sum(columns, start=[]) == measured.columns.tolist()
    assert len(set(measured.columns)) == len(measured.columns)


def test_mean_train_loss_is_nearly_that_of_the_history(finished, measured):
    """One class less: '=' gets little of the probability, and none after training."""
    history = finished.history["train_loss"]
    assert measured.loc[24, "loss[train]"] < history[24]
    assert measured.loc[24, "loss[train]"] == pytest.approx(history[24], abs=math.log(12 / 11) + 0.1)


def test_key_frequencies_are_found_once_at_the_end_and_kept_along_the_run(finished):
    sets = {
        step: key_frequencies("neuron_argmax", finished.at(step), finished.config.model, finished.task).tolist()
        for step in (0, 1, 24)
    }
    assert sets[24] not in (sets[0], sets[1])
    whole, start = (measure(finished, ["circuits"], steps, rule="neuron_argmax") for steps in (None, [0, 1]))
    for found in (whole, start):
        assert found.attrs["key_freqs"] == sets[24]
        assert (found.attrs["key_freqs_rule"], found.attrs["key_freqs_step"]) == ("neuron_argmax", 24)
        assert (found.attrs["run"], found.attrs["config"]) == (finished.name, finished.config.hash)
    np.testing.assert_allclose(start.to_numpy(), whole.loc[[0, 1]].to_numpy(), rtol=1e-12)


def test_each_rule_finds_its_own_set(finished):
    weights, model, task = finished.at(24), finished.config.model, finished.task
    logits = model.logits(weights, task.inputs)[:, : model.p].double()
    neurons = model.activations(weights, task.inputs)["blocks.0.mlp.hook_post"][:, -1]
    W_L = weights["blocks.0.mlp.W_out"].double() @ weights["unembed.W_U"].double()
    expected = {
        "wl_energy": key_freqs.wl_energy(W_L, 11),
        "embed_energy": key_freqs.embed_energy(weights["embed.W_E"], 11),
        "logit_energy": key_freqs.logit_energy(logits),
        "neuron_argmax": key_freqs.neuron_argmax(neurons),
        "neuron_argmax_pure": key_freqs.neuron_argmax(neurons, min_purity=0.85),
    }
    assert set(expected) == set(KEY_FREQUENCY_RULES)
    found = {rule: key_frequencies(rule, weights, model, task).tolist() for rule in expected}
    assert found == {rule: value.tolist() for rule, value in expected.items()}
    assert len({tuple(value) for value in found.values()}) > 1
    other = measure(finished, ["circuits"], rule="neuron_argmax_pure")
    assert other.attrs["key_freqs_rule"] == "neuron_argmax_pure"
    assert other.attrs["key_freqs"] == found["neuron_argmax_pure"]


@for_each("rule", KEY_FREQUENCY_RULES)
def test_as_many_strongest_frequencies_as_a_rule_finds_are_what_it_finds(rule):
    """Every rule is a threshold on a strength, so that its set is that of the strongest, at any size."""
    run = reference()
    weights, model, task = run.at(4000), run.config.model, run.task
    found = key_frequencies(rule, weights, model, task)
    assert strongest_frequencies(rule, weights, model, task, len(found)).tolist() == found.tolist()
    fewer = [set(strongest_frequencies(rule, weights, model, task, n).tolist()) for n in range(1, len(found) + 1)]
    assert all(len(one) == n for n, one in enumerate(fewer, start=1))
    assert all(one < other for one, other in itertools.pairwise(fewer))


def test_a_memoriser_is_restricted_to_as_many_frequencies_as_the_run_it_is_held_beside():
    """Weights that have memorised, as a history of their own: all of their frequencies are key."""
    run = reference()
    memorised = open_checkpoints({178: run.at(178)}, model=run.config.model, split=run.task.is_train)
    alone, matched = measure(memorised, "circuits"), measure(memorised, "circuits", n_keys=3)
    assert len(alone.attrs["key_freqs"]) == 14 and alone.attrs["spectrum"] == "no sparse spectrum"
    assert matched.attrs["spectrum"] == "sparse" and matched.attrs["key_freqs_rule"] == "wl_energy, the 3 strongest"
    W_L = run.at(178)["blocks.0.mlp.W_out"].double() @ run.at(178)["unembed.W_U"].double()[:, :29]
    power = torch.fft.rfft(W_L, dim=1).abs().square().sum(0)[1:].tolist()
    keys = sorted(sorted(range(1, 15), key=lambda k: -power[k - 1])[:3])
    assert matched.attrs["key_freqs"] == keys
    logits = run.config.model.logits(run.at(178), run.task.inputs)[:, :29].double()
    t, waves = torch.arange(29) * 2 * torch.pi / 29, [torch.ones(29)]
    for k in keys:
        waves += [torch.cos(k * t), torch.sin(k * t)]
    of_pair = torch.stack(waves).double()[:, (run.task.inputs[:, 0] + run.task.inputs[:, 1]) % 29].T
    fit = of_pair @ torch.linalg.lstsq(of_pair, logits).solution
    expected = torch.nn.functional.cross_entropy(fit, run.task.labels).item()
    # least squares over 841 pairs in float64, of logits that were float32 products of a few hundred terms
    assert matched["restricted_loss[all]"].item() == pytest.approx(expected, rel=1e-5)
    assert matched["restricted_loss[all]"].item() > alone["restricted_loss[all]"].item()


@for_each("n", [0, 15, -1])
def test_a_number_of_key_frequencies_that_there_are_not_is_refused(n):
    with pytest.raises(UserError, match=f"n_keys must be in 1..14, all frequencies; got {n}"):
        measure(reference(), "circuits", 4000, n_keys=n)


@for_each("together", [1, 2, 4])
def test_how_many_checkpoints_are_taken_at_a_time_does_not_change_the_values(finished, measured, monkeypatch, together):
    monkeypatch.setattr(table, "_NUMBERS", together * 11**2 * 16)
    seen = []
    chunked = measure(finished, tick=lambda done, total: seen.append((done, total)))
    assert chunked.columns.tolist() == measured.columns.tolist()
    np.testing.assert_allclose(chunked.to_numpy(), measured.to_numpy(), rtol=1e-6, atol=1e-7)
    count = len(finished.steps)
    assert seen == [(min(i + together, count), count) for i in range(0, count, together)]


def test_steps_are_measured_in_order_and_once(finished, measured):
    chosen = measure(finished, ["scale"], steps=[8, 0, 8])
    assert chosen.index.tolist() == [0, 8]
    assert chosen.loc[8, "logit_std"] == pytest.approx(measured.loc[8, "logit_std"], rel=1e-6)


def test_polar_path_of_some_checkpoints_goes_through_those_alone(finished):
    some = measure(finished, ["polar"], steps=[0, 24])
    chord = polar_path(finished.stack([0, 24]), torch.tensor([0, 24]))["global"].arc_length[-1]
    assert some.loc[24, "arc_length"] == pytest.approx(chord.item(), rel=1e-12)
    assert chord < measure(finished, ["polar"])["arc_length"][24]


@for_each(
    ("names", "said"),
    [
        (
            ["polr"],
            r"unknown measures \['polr'\]; there are polar, fourier, circuits, .*, updates, llc",
        ),
        (["scale", ""], r"\[''\]"),
    ],
)
def test_unknown_measures_are_refused_with_those_there_are(finished, names, said):
    with pytest.raises(ValueError, match=said):
        measure(finished, names)


def test_unknown_rule_and_missing_step_are_refused(finished):
    with pytest.raises(ValueError, match=f"unknown .* rule 'wl'; there are {', '.join(KEY_FREQUENCY_RULES)}"):
        measure(finished, rule="wl")  # pyright: ignore
    with pytest.raises(RunError, match="no checkpoint at step 3"):
        measure(finished, ["scale"], steps=[3])


@for_each("leaves", [{"d_vocab_out": "p"}, {"n_layers": 2}, {"normalization": "LN", "act": "gelu"}])
def test_other_architectures_are_measured_too(tmp_path, leaves):
    [run] = train([tiny(steps=4, **leaves)], tmp_path, names=["run"])
    logits = transformer_of(run.config.model).activations(run.at(4), run.task.inputs)["logits"][:, -1, :11]
    loss = slow_cross_entropy(logits.double(), run.task.labels, run.task.is_train)
    assert measure(run).loc[4, "loss[train]"] == pytest.approx(loss, rel=1e-5)


def test_split_without_a_pair_has_no_number_and_spoils_no_other(tmp_path):
    """The only test pair of 25 has an unseen mirror: itself."""
    [run] = train([tiny(p=5, frac_train=0.96, steps=2)], tmp_path, names=["run"])
    empty = [split for split in SPLITS if not run.task.where(split).any()]
    assert empty == ["test_mirror_seen"]
    measured = measure(run, ["circuits"])
    for split in SPLITS:
        for name in ("loss", "accuracy", "restricted_loss", "excluded_loss"):
            assert measured[f"{name}[{split}]"].isna().all() == (split in empty)


def test_slow_groups_are_measured_when_they_are_asked_for(finished, tmp_path):
    run, how = copied(finished, tmp_path), Sampling(step_size=2e-4, localization=1000.0, n_draws=24)
    others = {"scores", "irreps"}  # groups of other tasks
    assert set(names_of_groups()) - set(quick_groups(run.config)) == {"circles", "ablations", "hessian", "llc"} | others
    table = measure(run, ["scale", "hessian", "llc"], steps=[8, 24], sampling=how)
    assert table.index.tolist() == [8, 24]
    assert table["llc"].tolist() == llc_along(run, how, [8, 24])["llc"].tolist()
    assert table.attrs["llc_sampling"] == how.model_dump(mode="json")
    assert list(table.attrs["llc_step_bias"]) == ["8", "24"] and table.attrs["key_freqs"]
    spectrum = spectrum_columns(run.stack([8, 24]), run.config.model, run.task)
    for name, values in spectrum.items():
        assert table[name].tolist() == values.tolist(), name


def test_orbit_and_sparsity_columns_are_the_public_measures_of_that_step(finished, measured):
    step, model = finished.steps[-1], finished.config.model
    params, row = finished.at(step), measured.loc[finished.steps[-1]]
    plain, least = orbits.part_norms(params, model), orbits.orbit_minimal_norm(params, model)
    assert row["norm_min"] == pytest.approx(least.total.item(), rel=1e-12)
    assert row["norm_excess"] == pytest.approx((plain.total / least.total).item(), rel=1e-12)
    assert row["norm_excess[qk]"] == pytest.approx((plain.qk / least.qk).item(), rel=1e-12)
    assert row["path_norm[mlp]"] == pytest.approx(orbits.path_norm(params, model).item(), rel=1e-12)
    W_E = params["embed.W_E"][: model.p].double()
    assert row["ipr[W_E]"] == pytest.approx(neurons.inverse_participation(W_E).mean().item(), rel=1e-12)
    W_L = params["blocks.0.mlp.W_out"].double() @ params["unembed.W_U"].double()[:, : model.p]
    rank = 2 * len(measured.attrs["key_freqs"])
    residual = neurons.low_rank_residual(W_L, rank).item()
    assert row["low_rank_residual[W_L]"] == pytest.approx(residual, rel=1e-6, abs=1e-15)
