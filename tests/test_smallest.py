"""The smallest networks and tasks: what has no value there is nan and says why, and everything else stays."""

import math

import pytest
from tiny import tiny

from circuitgrok.errors import Undefined, UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.faces.summary import summary_lines
from circuitgrok.figures import run_figure, save
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.measures.parts import clock_pizza
from circuitgrok.table.measure import measure, names_of_groups, quick_groups
from circuitgrok.table.needs import why_not
from circuitgrok.training.loop import train

WIDE, NARROW = "centred rows of width 8 have", "centred rows of width 1 have"
# Fields, and why circularity has no value.
SMALLEST = {
    "p 3": ({"p": 3}, f"3 {WIDE} 2 components; asked for 4"),
    "p 4": ({"p": 4}, f"4 {WIDE} 3 components; asked for 4"),
    "products modulo 5": ({"p": 5, "operation": "multiply"}, f"4 {WIDE} 3 components; asked for 4"),
    "d_model 1, one head": ({"d_model": 1, "n_heads": 1, "d_head": 1}, f"11 {NARROW} 1 components; asked for 4"),
    "one neuron": ({"d_mlp": 1}, None),
    "one head": ({"n_heads": 1, "d_head": 8}, None),
    "one training pair": ({"frac_train": 0.01}, None),
    "one test pair": ({"frac_train": 0.99}, None),
    "all at once": (
        {"p": 3, "d_model": 1, "n_heads": 1, "d_head": 1, "d_mlp": 1, "frac_train": 0.12},
        f"3 {NARROW} 1 components; asked for 4",
    ),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_smallest_runs_have_every_column_and_a_summary_and_a_figure(name, tmp_path):
    fields, reason = SMALLEST[name]
    [run] = train([tiny(**fields)], tmp_path)
    table = measure(run, [*quick_groups(run.config), "ablations"])
    undefined = table.attrs.get("undefined", {})
    assert undefined.get("circularity") == reason
    assert bool(table["circularity"].isna().all()) == (reason is not None)
    assert not table[["gradient_symmetricity", "distance_irrelevance", "loss[train]", "norm"]].isna().any(axis=None)
    assert all(table[column].isna().any() for column in undefined)
    assert summary_lines(run, table)[0].startswith(f"{run.name}: finished")
    assert all(path.stat().st_size for path in save(run_figure(run, table), tmp_path / "figure"))


def test_means_over_no_pairs_say_that_there_are_none(tmp_path):
    """A single test pair has a mirror in training or not, and one of the two splits is empty."""
    [run] = train([tiny(p=5, frac_train=0.99)], tmp_path)
    table = measure(run, "circuits", run.steps[0])
    empty = [
        split for split in ("test_mirror_seen", "test_mirror_unseen") if math.isnan(table[f"loss[{split}]"].iloc[0])
    ]
    assert len(empty) == 1 and not run.task.where(empty[0]).any()
    said = {str(name): f"no pair is in {empty[0]}" for name in table if str(name).endswith(f"[{empty[0]}]")}
    assert said.items() <= table.attrs["undefined"].items()
    assert {name for name in table if bool(table[name].isna().any())} == set(table.attrs["undefined"])


@pytest.mark.parametrize("operation", ["multiply", "divide"])
def test_products_modulo_3_have_no_frequency_and_are_measured_without(operation, tmp_path):
    config = tiny(p=3, operation=operation)
    assert (
        why_not("circuits", config) == f"needs a frequency: {config.task.formula} is addition modulo 2, which has none"
    )
    [run] = train([config], tmp_path)
    table = measure(run, [name for name in names_of_groups() if why_not(name, config) is None and name != "llc"])
    assert {"loss[train]", "accuracy[test]", "angle_start", "norm"} <= set(table)
    assert "key_freqs" not in table.attrs
    assert save(run_figure(run, table), tmp_path / "figure") and summary_lines(run, table)


def test_command_prints_what_is_undefined_and_why(tmp_path, capsys):
    train([tiny(p=3)], tmp_path, names=["small"])
    assert call(["measure", str(tmp_path / "small"), "--quiet"]) == 0
    assert f"  undefined    circularity: {SMALLEST['p 3'][1]}" in capsys.readouterr().out.splitlines()


def test_an_undefined_number_is_a_value_error_that_names_its_reason(finished):
    with pytest.raises(Undefined, match="11 centred rows of width 8 have 8 components; asked for 9"):
        clock_pizza._principal(finished.at(0)["embed.W_E"][:11], 9)


def test_one_training_pair_has_no_temperature_of_its_own(tmp_path):
    [run] = train([tiny(frac_train=0.01)], tmp_path)
    how = Sampling(step_size=1e-5, localization=100.0, n_draws=8, n_burnin=2, n_chains=2)
    with pytest.raises(UserError, match="n / ln n is no temperature for 1 training example: give nbeta"):
        measure(run, "llc", 24, sampling=how)
    assert measure(run, "llc", 24, sampling=how.model_copy(update={"nbeta": 1.0}))["llc"].notna().all()
