"""A run in words: the numbers are those of its history and its table."""

import re

import pytest
from tiny import copied, kinds_of, rewritten, tiny
from tiny_kinds import LEAVES, tiny_kind

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.faces.fields import said_leaves
from circuitgrok.faces.listed import read
from circuitgrok.faces.summary import _of_unseen, interventions, summary_lines
from circuitgrok.interventions.base import KINDS
from circuitgrok.interventions.penalties import Penalty
from circuitgrok.measures.circuits.unseen import NO_SPARSE_SPECTRUM
from circuitgrok.measures.learning.crossings import events
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train

NUMBER = r"[-+]?\d+\.?\d*(?:e[-+]\d+)?"


@pytest.fixture(scope="module")
def told(finished):
    """The summary's lines by their first words, with the table they are told of."""
    table = measure(finished, ["polar", "circuits"])
    first, *lines = summary_lines(finished, table)
    return first, {line[2:15].strip(): line[15:] for line in lines}, table


def numbers(text: str) -> list[str]:
    return re.findall(NUMBER, text)


def test_summary_tells_state_steps_and_place(finished, told):
    assert told[0] == f"finished: finished after 24 steps, {len(finished.steps)} checkpoints in {finished.path}"


def test_summary_tells_alpha_with_its_base_init_and_the_norm(finished, told):
    norm = finished.manifest["start"]["norm"]
    assert told[1]["alpha"].startswith(f"1×nanda, |θ₀| = {norm:.2f}")
    assert "42.20" in told[1]["alpha"]


def test_numbers_of_the_summary_are_those_of_the_history(finished, told):
    history, lines = finished.history, told[1]
    norm = history["norm"]
    assert numbers(lines["norm r"]) == [f"{norm[0]:.2f}", f"{norm.max():.2f}", str(norm.idxmax()), f"{norm[24]:.2f}"]
    assert numbers(lines["accuracy"]) == [f"{history[f'{split}_acc'][24]:.4f}" for split in ("train", "test")]
    assert numbers(lines["loss"]) == [f"{history[f'{split}_loss'][24]:.2e}" for split in ("train", "test")]
    for name, event in events(history).items():
        assert lines[f"{name} at"].startswith(f"{event}   (")


def test_numbers_of_the_summary_are_those_of_the_table(told):
    _, lines, table = told
    end = table.loc[24]
    assert numbers(lines["turned"]) == [
        f"{end['angle_start']:.2f}", f"{end['radial_distance']:.1f}", f"{end['arc_length']:.1f}"
    ]  # fmt: skip
    restricted = numbers(lines["restricted"].replace(_of_unseen(table), ""))
    assert restricted == [f"{end['restricted_loss[all]']:.2e}", f"{end['loss[all]']:.2e}", "11"]
    assert numbers(lines["excluded"]) == [f"{end[f'excluded_loss[{split}]']:.2e}" for split in ("train", "all")]
    explained = [end["frac_explained"], end["frac_explained_within_classes"]]
    assert numbers(lines["explained"]) == [f"{share:.4f}" for share in explained]
    freqs, rule = lines["key freqs"].split("   ")
    assert freqs == ", ".join(map(str, table.attrs["key_freqs"]))
    assert rule.startswith("(rule wl_energy at step 24; but ")
    by_rule = table.attrs["key_freqs_by_rule"]
    differing = {name for name, found in by_rule.items() if found != table.attrs["key_freqs"]}
    assert differing and {name for name in by_rule if f"{name}:" in rule} == differing
    assert lines["phases"].startswith("memorisation to ")


def test_summary_tells_of_unseen_pairs_the_loss_or_why_there_is_none(told):
    table = told[2].copy()
    assert _of_unseen(table) in told[1]["restricted"]
    table["restricted_loss_unseen"], table.attrs["undefined"] = 0.25, {}
    assert _of_unseen(table) == "2.50e-01 from unseen pairs alone"
    table.attrs["undefined"] = {"restricted_loss_unseen": "no pair is unseen"}
    assert _of_unseen(table) == "undefined from unseen pairs alone (no pair is unseen)"


def test_summary_of_more_than_half_of_the_frequencies_says_that_restricted_loss_is_no_sign_of_a_circuit(finished, told):
    table = told[2].copy()
    for keys, spectrum in (([2, 5], "sparse"), ([1, 2, 5], NO_SPARSE_SPECTRUM)):
        table.attrs |= {"key_freqs": keys, "spectrum": spectrum}
        notes = [line for line in summary_lines(finished, table) if line.startswith("  NOTE")]
        assert len(notes) == (spectrum == NO_SPARSE_SPECTRUM)
    blank = table.loc[24, "restricted_loss_blank"]
    assert numbers(notes[0]) == ["3", "5", f"{blank:.2e}"]


def planted(finished, folder, train_acc, test_acc, every=2):
    """The finished run with another history."""
    run = copied(finished, folder)
    records = [
        {"step": every * i, "train_acc": a, "test_acc": b, "train_loss": 0.5, "test_loss": 2.0, "norm": 3.0}
        for i, (a, b) in enumerate(zip(train_acc, test_acc, strict=True))
    ]
    return rewritten(run, "history.jsonl", records)


def test_summary_and_table_of_runs_tell_when_a_run_memorised_and_grokked(finished, tmp_path, told):
    run = planted(finished, tmp_path, [0.1, 0.9] + [1.0] * 11, [0.0] * 5 + [0.99] * 8)
    lines = summary_lines(run, told[2])
    assert any("memorised at step 2–4   (train_acc ≥ 0.99" in line for line in lines)
    assert any("grokked at   step 8–10   (test_acc ≥ 0.95" in line for line in lines)
    row = read(run).cells
    assert (row.memorised, row.grokked, row.state, row.steps) == ("2–4", "8–10", "finished", "24/24")


@pytest.mark.parametrize(
    ("later", "mark", "said"),
    [
        ([0.99] * 10, "", ""),
        ([0.5] + [0.99] * 9, "", "; below at 1 of 15 later evaluations, not at the end"),
        (
            [0.94] * 10,
            ", lost 100–110",
            "; lost again at step 100–110, below at 10 of 15 later evaluations, and at the end",
        ),
        (
            [0.94] * 6 + [0.99] * 4,
            ", lost 100–110 and back",
            "; lost again at step 100–110, below at 6 of 15 later evaluations, not at the end",
        ),
    ],
)
def test_summary_and_table_of_runs_tell_when_a_level_was_lost_again(finished, tmp_path, told, later, mark, said):
    test_acc = [0.0] * 5 + [0.99] * 6 + later
    run = planted(finished, tmp_path, [0.1] + [1.0] * (len(test_acc) - 1), test_acc, every=10)
    [line] = [line for line in summary_lines(run, told[2]) if line.startswith("  grokked")]
    assert line == f"  grokked at   step 40–50   (test_acc ≥ 0.95, kept for 50 steps){said}"
    row = read(run).cells
    assert (row.memorised, row.grokked) == ("0–10", f"40–50{mark}")


def test_row_of_a_run_tells_alpha_with_base_init_and_norm(tmp_path):
    [run] = train([tiny(alpha=0.5, scheme="bridge", fixed_norm=True, steps=2)], tmp_path, names=["run"])
    row, norm = read(run).cells, run.manifest["start"]["norm"]
    assert row.alpha == f"0.5×bridge r₀={norm:.1f}"
    assert row.name == str(run.path) and row.task == "modular addition p=11 f=0.5"
    last = run.history.iloc[-1]
    assert (row.train_acc, row.test_acc) == (f"{last['train_acc']:.4f}", f"{last['test_acc']:.4f}")


def test_row_of_a_run_that_has_not_begun_or_has_diverged_says_so(finished, tmp_path):
    run = copied(finished, tmp_path)
    diverged = rewritten(run, "history.jsonl", [{"diverged": "train_loss is nan", "step": 3}], outcome="diverged")
    assert read(diverged).cells.state == "diverged"
    new = rewritten(run, "history.jsonl", [], outcome=None)
    assert read(new).cells[3:] == ("new", "0/24", "–", "–", "–", "–", "–")


OTHERS = [name for name in LEAVES if name != "digits"]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Runs of every other kind of network and task, with their tables."""
    folder = tmp_path_factory.mktemp("kinds")
    runs = {name: train([tiny_kind(name)], folder, names=[name])[0] for name in OTHERS}
    return {name: (run, measure(run)) for name, run in runs.items()}


@pytest.mark.parametrize("name", OTHERS)
def test_summary_of_any_run_tells_its_task_network_and_loss_and_of_a_circuit_only_where_one_can_be(others, name):
    run, table = others[name]
    _, *told = summary_lines(run, table)
    lines = {line[2:15].strip(): line[15:] for line in told}
    history, config = run.history, run.config
    assert lines["task"] == f"{config.task.formula}; model {config.model.kind}"
    assert ("42.20" in lines["alpha"]) == (config.model.kind == "transformer")
    losses = [f"{history[f'{split}_loss'].iloc[-1]:.2e}" for split in ("train", "test")]
    assert numbers(lines["loss"]) == losses and lines["loss"].endswith("(mse)") == (config.objective.loss == "mse")
    of_circuits = {"phases", "key freqs", "restricted", "excluded", "explained"}  # and a NOTE where they are too many
    assert of_circuits & set(lines) == (of_circuits if "key_freqs" in table.attrs else set())
    assert ("irreps" in lines) == (config.task.kind == "composition")
    if "restricted" in lines:
        end = table.iloc[-1]
        losses = [f"{end[name]:.2e}" for name in ("restricted_loss[all]", "loss[all]")]
        assert numbers(lines["restricted"].replace(_of_unseen(table), "")) == [*losses, "11"]
        assert (NO_SPARSE_SPECTRUM in lines.get("NOTE", "")) == (2 * len(table.attrs["key_freqs"]) > 5)
        assert ("cross-entropy" in lines["restricted"]) == (config.objective.loss == "mse")


def test_summary_tells_the_irreps_of_largest_share_without_the_trivial_one(others):
    run, table = others["dihedral"]
    shares = {name: table.loc[16, f"irrep_share[{name}]"] for name in ("A2", "B1", "B2", "E1")}
    best = sorted(shares, key=lambda name: -shares[name])[:3]
    [line] = [line for line in summary_lines(run, table) if line.startswith("  irreps")]
    assert ", ".join(f"{name} {shares[name]:.4f}" for name in best) in line and "A1" not in line


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("embedding", "modular addition p=11 f=0.5, embedding_mlp"),
        ("summed", "modular divide p=11 f=0.5, embedding_mlp"),
        ("quadratic", "modular addition p=11 f=0.5, quadratic_mlp"),
        ("composition", "composition S3 f=0.5"),
        ("parity", "parity 2 of 9 bits n=50, dense"),
        ("teacher", "teacher α=1 n=30, dense"),
    ],
)
def test_row_of_a_run_tells_task_and_network_in_few_words(others, name, task):
    row = read(others[name][0]).cells
    assert (row.task, row.state, row.steps) == (task, "finished", "16/16")
    assert row.interventions == {"quadratic": "mse", "teacher": "mse"}.get(name, "–")


def test_row_and_summary_tell_what_is_done_beside_plain_training(tmp_path):
    leaves = {"fixed_norm": True, "grokfast_ema": 2.0, "l1": 1e-4, "label_noise": 0.1, "loss_precision": "float32"}
    [run] = train([tiny(steps=2, **leaves)], tmp_path, names=["run"])
    said = "float32 loss, l1 0.0001, grokfast 2, norm held, label noise 0.1"
    assert read(run).cells.interventions == said
    assert f"  with         {said}" in summary_lines(run, measure(run))


# Every field that is said, at a value that is no default, and what goes with it.
SAID = {
    "label_smoothing": 0.1, "temperature": 2.0, "loss": "mse", "loss_precision": "float32", "grokfast_ema": 1.0,
    "grokfast_ma": 1.0, "orthograd": "global", "fixed_norm": True, "fixed_direction": True, "norm_cap": 2.0,
    "rescale_factor": 0.5, "kick": 10.0, "weight_noise": 0.1, "walk_noise": 0.1, "gradient_noise": 0.1,
    "label_noise": 0.1, "dropout_embed": 0.1, "dropout_attention": 0.1, "dropout_mlp": 0.1,
    "rule": "sgd", "decay_to_init": True, "batch_size": 8, "batch_noise": "sized",
    "dropout_parts": "noise", **dict.fromkeys(kinds_of(Penalty), 0.1),
}  # fmt: skip


def test_every_field_that_intervenes_is_said_and_nothing_is_said_of_plain_training():
    assert {leaf.name for leaf in said_leaves()} == set(SAID) >= set(KINDS)
    assert interventions(TrainConfig().model_dump(mode="json")) == interventions({}) == ""
    beside = {
        "target_norm": {"target_radius": 5.0},
        "batch_noise": {"batch_size": 8},
        "dropout_parts": {"dropout_mlp": 0.1},
    }
    configs = [tiny(**{name: value}, **beside.get(name, {})).model_dump(mode="json") for name, value in SAID.items()]
    texts = [interventions(config) for config in configs]
    assert all(texts) and len(set(texts)) == len(texts)
    assert [text.count(",") for text in texts] == [
        int(name in ("batch_noise", "dropout_parts")) for name in SAID
    ]  # beside theirs


def test_an_intervention_of_ones_own_is_said_also_where_nobody_has_defined_it():
    content = {"interventions": [{"kind": "fourth_powers", "fourth_powers": 0.5}, {"kind": "l1", "l1": 0.25}]}
    assert interventions(content) == "l1 0.25, fourth_powers 0.5"


def test_summary_tells_of_test_pairs_whose_mirror_was_not_trained_on_where_they_are_otherwise(finished, tmp_path, told):
    run = planted(finished, tmp_path, [1.0] * 3, [0.97] * 3)
    records = [*run.records("history.jsonl")]
    for unseen, expected in ((None, []), (0.97, []), (0.5, ["  of these     0.5000 on test pairs whose mirror"])):
        known = [record | ({} if unseen is None else {"test_mirror_unseen_acc": unseen}) for record in records]
        lines = summary_lines(rewritten(run, "history.jsonl", known), told[2])
        assert [
            line[: len("  of these     0.5000 on test pairs whose mirror")] for line in lines if "mirror" in line
        ] == expected
