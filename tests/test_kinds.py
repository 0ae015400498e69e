"""Which groups fit which run: a refusal says why, and lists what there is."""

import pytest
from loops import for_each
from tiny import tiny
from tiny_kinds import LEAVES, NUMBERS, tiny_kind

from circuitgrok.config.leaves import KINDS
from circuitgrok.models.kinds import transformer_of
from circuitgrok.table.groups import GROUPS
from circuitgrok.table.measure import check_groups, names_of_groups, quick_groups
from circuitgrok.table.needs import NEEDS, why_not
from circuitgrok.tasks.kinds import check_classes, modular

OF_NUMBERS = ("fourier", "circuits", "memorization", "scale", "sparsity", "neurons")
QUICK = {
    **{name: ("polar", *OF_NUMBERS, "updates") for name in NUMBERS},
    "composition": ("polar", "orbits", "scores", "irreps", "updates"),
    "dihedral": ("polar", "scores", "irreps", "updates"),
    **{name: ("polar", "scores", "updates") for name in ("parity", "teacher", "digits")},
}
OF_TRANSFORMERS = (
    "polar", "fourier", "circuits", "memorization", "scale", "orbits", "sparsity", "neurons", "attention", "forms",
    "updates",
)  # fmt: skip


@for_each("name", LEAVES)
def test_quick_groups_are_those_that_make_sense_for_the_run(name):
    assert quick_groups(tiny_kind(name)) == QUICK[name]


def test_a_transformer_on_numbers_has_the_groups_that_it_always_had():
    assert quick_groups(tiny()) == quick_groups() == OF_TRANSFORMERS
    assert quick_groups(tiny(operation="divide", n_layers=2)) == OF_TRANSFORMERS


def test_needs_are_those_of_groups_and_every_kind_of_network_answers_what_is_asked_of_it():
    assert set(NEEDS) <= set(names_of_groups()) and set(GROUPS) <= set(NEEDS)
    kinds = KINDS["model"].values()
    assert len({kind.called for kind in kinds}) == len(kinds)
    for kind in kinds:
        names = kind().shapes()
        assert kind.has_heads == any("attn" in name for name in names)
        assert kind.has_embedding == ("embed.W_E" in names)


@for_each(
    ("name", "config", "reason"),
    [
        ("attention", tiny_kind("dense"), "needs heads: a dense network has none"),
        ("orbits", tiny_kind("embedding"), "needs heads: an MLP on embeddings has none"),
        ("circles", tiny(operation="multiply"), "needs circles whose angles are added: a * b mod 11 has none"),
        ("circles", tiny_kind("embedding"), "needs heads: an MLP on embeddings has none"),
        ("ablations", tiny_kind("quadratic"), "needs heads: a quadratic MLP has none"),
        ("attention", tiny_kind("composition"), "needs numbers modulo p: a b in S3 has none"),
        ("circuits", tiny_kind("parity"), "needs numbers modulo p: parity of 2 of 9 bits has none"),
        ("irreps", tiny(), "needs the elements of a finite group, task = composition: this one is a + b mod 11"),
        ("scores", tiny(), "is for other tasks: circuits has these columns and more"),
        ("hessian", tiny_kind("quadratic"), "is of the mean cross-entropy: this run's loss is mse"),
        ("llc", tiny(label_smoothing=0.1), "is of plain labels: this run's are smoothed by 0.1"),
        ("llc", tiny(temperature=4.0), "needs logits at temperature 1: the loss saw them divided by 4"),
        ("ablations", tiny(temperature=4.0), "needs logits at temperature 1: the loss saw them divided by 4"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason_and_the_groups_there_are(name, config, reason):
    assert why_not(name, config) == reason
    fitting = [known for known in names_of_groups() if why_not(known, config) is None]
    with pytest.raises(ValueError) as refused:
        check_groups(["polar", name], config)
    assert str(refused.value) == f"{name} {reason}; groups for this run: {', '.join(fitting)}"
    assert name not in fitting and "polar" in fitting


def test_all_groups_that_make_no_sense_are_told_at_once():
    with pytest.raises(
        ValueError, match="^attention needs heads.*; irreps needs the elements.*; groups for this run: pol"
    ):
        check_groups(["attention", "circuits", "irreps"], tiny_kind("dense"))


def test_code_for_transformers_numbers_or_classes_refuses_other_networks_and_tasks():
    assert transformer_of(tiny().model) == tiny().model
    with pytest.raises(ValueError, match="needs a transformer, .*; the network is a dense"):
        transformer_of(tiny_kind("dense").model)
    assert modular(tiny().task.draw()).p == 11
    with pytest.raises(ValueError, match="all pairs of numbers modulo p"):
        modular(tiny_kind("composition").task.draw())
    check_classes(tiny_kind("parity").task.draw())
    with pytest.raises(ValueError, match="needs classes; the answers of this task are real numbers"):
        check_classes(tiny_kind("teacher").task.draw())
