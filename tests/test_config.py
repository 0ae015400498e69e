"""One config, one run: what is refused before any work, what is the same run, what may share a stack."""

import json
import math
import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pydantic import ValidationError
from tiny import kinds_of, tiny

from circuitgrok.canonical import canonical_json
from circuitgrok.config.explain import explain
from circuitgrok.config.leaves import DEFAULT_KINDS, KINDS, LEAVES, SECTIONS, leaf_fields
from circuitgrok.config.objects import owners
from circuitgrok.config.presets import PRESETS
from circuitgrok.config.sections import Schedule
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.config.upgrade import FIRST
from circuitgrok.interventions.base import KINDS as INTERVENTIONS
from circuitgrok.interventions.constraints import RescaleOnce
from circuitgrok.interventions.fixed_norm import FixedNorm
from circuitgrok.interventions.gradients import GrokfastEMA
from circuitgrok.interventions.noise import WalkNoise, WeightNoise
from circuitgrok.interventions.penalties import L1, Penalty
from circuitgrok.models.dense import DenseMLP

FIXTURES = Path(__file__).parent / "fixtures"
PENALTIES = kinds_of(Penalty)

# --- its own file format ----------------------------------------------------------------------------

CONFIGS = {name: TrainConfig.preset(name) for name in PRESETS} | {
    "tiny": tiny(),
    "held": tiny(fixed_norm=True, norm_grain="tensor", norm_radius=3.5, norm_from_step=7, weight_decay=0.1 + 0.2),
    "deep": tiny(n_layers=3, normalization="LN", act="gelu", train_biases=("attention", "unembed")),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_json_round_trip_gives_an_equal_config_with_the_same_hash(config):
    text = canonical_json(config.model_dump(mode="json"))
    back = TrainConfig.model_validate_json(text)
    assert back == config and back.hash == config.hash
    assert TrainConfig.model_validate(json.loads(text)) == config  # as `Run.config` reads it
    assert canonical_json(back.model_dump(mode="json")) == text


def test_hash_of_a_literal_config_is_what_it_always_was():
    """If this fails, runs on disk no longer are the runs of their configs: change FORMAT, not the literal."""
    literal = {
        "p": 11, "frac_train": 0.5, "data_seed": 0, "split": "nanda",
        "n_layers": 1, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 16, "act": "relu", "normalization": "none",
        "d_vocab_out": "p+1", "train_biases": ("mlp",), "allow_narrow_heads": False,
        "scheme": "nanda", "alpha": 1.0, "alpha_embed": 1.0, "alpha_attention": 1.0, "alpha_mlp": 1.0,
        "alpha_unembed": 1.0, "seed": 0,
        "lr": 0.001, "beta1": 0.9, "beta2": 0.98, "eps": 1e-8, "warmup": 10, "weight_decay": 1.0,
        "fixed_norm": False, "norm_grain": "global", "norm_radius": None, "norm_from_step": 0,
        "steps": 100, "eval_every": 20, "checkpoint_every": 50, "checkpoints_per_decade": 12, "checkpoint_on_move": 0.5,
        "precision": "float32",
    }  # fmt: skip
    parts = ("modular_addition", "transformer", *SECTIONS)
    assert set(literal) == {name for part in parts for name in FIRST.get(part, ())} - {"kind"}
    assert TrainConfig().with_(**literal).hash == "edb22fe9b1134daa"


def test_what_came_later_enters_the_hash_only_where_it_is_not_at_its_default():
    config = TrainConfig()
    assert config.with_(**config.leaves()).hash == config.hash
    assert config.with_(causal=False).hash != config.hash


@pytest.mark.parametrize("name", ["nanda", "omnigrok", "prieto-orthograd", "golechha", "nanda-dropout"])
def test_hash_is_taken_of_leaves_by_section_and_not_of_how_a_file_groups_them(name):
    config = TrainConfig.preset(name)
    grouped = config.model_dump(mode="json")
    assert TrainConfig.model_validate(grouped | {"interventions": grouped["interventions"][::-1]}).hash == config.hash


# Another valid value of every leaf, seen from a config in which each of them changes something.
BASE = tiny(fixed_norm=True, norm_from_step=3)
OTHER: dict[str, Any] = {
    "p": 13, "frac_train": 0.6, "data_seed": 1, "split": "randperm",
    "operation": "subtract", "corrupted": 0.25, "label_seed": 1,
    "n_layers": 2, "n_heads": 1, "d_model": 16, "d_head": 8, "d_mlp": 32, "act": "gelu", "normalization": "LN",
    "d_vocab_out": "p", "train_biases": (), "allow_narrow_heads": True,
    "equals": False, "own_tokens": True, "causal": False, "attention_rate": 0.5, "start": "runs/x@3",
    "scheme": "bridge", "alpha": 2.0, "alpha_embed": 2.0, "alpha_attention": 2.0, "alpha_mlp": 2.0,
    "alpha_unembed": 2.0, "seed": 1,
    "lr": 0.002, "beta1": 0.8, "beta2": 0.9, "eps": 1e-7, "warmup": 6, "weight_decay": 0.5,
    "fixed_norm": False, "norm_grain": "tensor", "norm_radius": 2.0, "norm_from_step": 4,
    "fixed_direction": True, "direction_from_step": 2,
    "steps": 50, "eval_every": 6, "checkpoint_every": 11, "checkpoints_per_decade": 4, "checkpoint_on_move": 1.0,
    "precision": "float64", "start_moments": True, "keep_moments": True,
    "loss": "mse", "loss_precision": "float32", "label_smoothing": 0.1, "temperature": 2.0,
    "rule": "sgd", "lr_rest": 0.01, "momentum": 0.9, "decay_roles": ("mlp",), "decay_to_init": True,
    "target_radius": 5.0, "repel_from": "runs/x@3", "repel_bound": 2.0, **dict.fromkeys(PENALTIES, 0.25),
    "grokfast_ema": 2.0, "grokfast_decay": 0.9, "grokfast_ma": 5.0, "grokfast_window": 7, "orthograd": "tensor",
    "orthograd_rescale": False, "norm_factor": 1.1, "norm_motion": "geodesic", "norm_transport": True,
    "hold_from_train_acc": 0.99, "norm_cap": 2.0, "rescale_factor": 1.5, "rescale_at_step": 3,
    "kick": 2.0, "kick_at_step": 3, "kick_scrambled": True, "forward_precision": "float64",
    "weight_noise": 0.1, "walk_noise": 0.1, "gradient_noise": 0.1, "noise_tangential": True, "label_noise": 0.1,
    "dropout_embed": 0.1, "dropout_attention": 0.1, "dropout_mlp": 0.1, "noise_seed": 1,
    "dropout_parts": "averaged", "dropout_masks": 3,
    "batch_size": 8, "batch_replacement": True, "batch_noise": "isotropic", "batch_noise_times": 2.0,
}  # fmt: skip
WITH: dict[str, dict[str, Any]] = {  # what must change along for the config to stay valid
    "n_heads": {"d_head": 8},
    "d_model": {"d_head": 8},
    "d_head": {"n_heads": 1},
    "fixed_norm": {"norm_from_step": 0},
    "fixed_direction": {"fixed_norm": False, "norm_from_step": 0},
    "direction_from_step": {"fixed_direction": True, "fixed_norm": False, "norm_from_step": 0},
    "start_moments": {"start": "runs/x@3"},
    "lr_rest": {"rule": "muon"},
    "momentum": {"rule": "sgd"},
    "target_radius": {"target_norm": 0.25, "fixed_norm": False, "norm_from_step": 0},
    "target_norm": {"target_radius": 5.0, "fixed_norm": False, "norm_from_step": 0},
    "batch_replacement": {"batch_size": 8},
    "dropout_parts": {"dropout_mlp": 0.1},
    "dropout_masks": {"dropout_mlp": 0.1, "dropout_parts": "averaged"},
    "batch_noise": {"batch_size": 8},
    "batch_noise_times": {"batch_size": 8, "batch_noise": "sized"},
    "grokfast_decay": {"grokfast_ema": 2.0},
    "grokfast_window": {"grokfast_ma": 5.0},
    "repel_from": {"repulsion": 0.25},
    "repel_bound": {"repulsion": 0.25},
    "orthograd_rescale": {"orthograd": "tensor"},
    "norm_transport": {"norm_motion": "geodesic"},
    "hold_from_train_acc": {"norm_from_step": 0},
    "rescale_factor": {"fixed_norm": False, "norm_from_step": 0},
    "rescale_at_step": {"rescale_factor": 1.5, "norm_from_step": 4},
    "kick_at_step": {"kick": 2.0},
    "kick_scrambled": {"kick": 2.0},
    "noise_tangential": {"walk_noise": 0.1},
}


def changed(name: str) -> TrainConfig:
    return BASE.with_(**{name: OTHER[name]} | WITH.get(name, {}))


def test_every_leaf_has_another_value_to_be_tried():
    assert set(OTHER) == set(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_hash_changes_with_every_leaf(name):
    other = changed(name)
    assert other.leaves()[name] == OTHER[name] != BASE.leaves()[name]
    assert other.hash != BASE.hash
    assert set(BASE.differences(other)) == {name, *WITH.get(name, {})}
    assert BASE.differences(other)[name] == (BASE.leaves()[name], OTHER[name])


def test_hashes_of_all_those_configs_differ():
    hashes = {changed(name).hash for name in LEAVES} | {BASE.hash}
    # one head of width 8 is reached from either side, and so is a norm to aim at
    same = (changed("n_heads") == changed("d_head")) + (changed("target_norm") == changed("target_radius"))
    assert same == 2 and len(hashes) == len(LEAVES) + 1 - same


def test_hashes_are_those_that_every_commit_before_had():
    """Of every preset, kind and leaf, as they were when a config had a field for all that could be varied (f920188)."""
    then = json.loads((FIXTURES / "hashes.json").read_text())
    now = {f"preset {name}": config.hash for name, config in CONFIGS.items() if name in PRESETS}
    now |= {f"changed {name}": changed(name).hash for name in LEAVES} | {"base": BASE.hash}
    for task in KINDS["task"]:
        for model in KINDS["model"]:
            if f"kinds {task} {model}" in then:
                chosen: dict[str, Any] = {"task": task, "model": model}
                chosen |= {"loss": "mse"} if task == "teacher_student" else {}
                now[f"kinds {task} {model}"] = TrainConfig().with_(**chosen).hash
    beside_nothing = {"changed grokfast_decay", "changed grokfast_window"}  # which changed nothing: no config any more
    assert now.keys() >= then.keys()
    assert not {name for name in then if now[name] != then[name]} - beside_nothing


# --- interventions ----------------------------------------------------------------------------------


def test_interventions_are_objects_of_which_a_leaf_brings_or_takes_one():
    config = tiny(l1=0.5, grokfast_ema=2.0)
    assert config.interventions == (L1(l1=0.5), GrokfastEMA(grokfast_ema=2.0))
    assert config.with_(grokfast_decay=0.9).interventions[1] == GrokfastEMA(grokfast_ema=2.0, grokfast_decay=0.9)
    assert config.with_(l1=0).with_(grokfast_ema=0.0) == tiny()
    given = TrainConfig(interventions=(GrokfastEMA(grokfast_ema=2.0), L1(l1=0.5)))
    assert given == TrainConfig().with_(l1=0.5, grokfast_ema=2.0)  # in one order, whatever the order they are given in
    assert given.intervention(L1) == L1(l1=0.5) and given.intervention(FixedNorm) is None


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([L1(l1=0.5), L1(l1=0.25)], "must be of different kinds; got l1 twice"),
        ([WalkNoise(walk_noise=1), WeightNoise(weight_noise=1, noise_tangential=True)], "noise_tangential is one"),
        ([{"kind": "l3"}], "unknown kind of intervention 'l3'; did you mean"),
        ([{"kind": "l1", "l1": -1}], "l1: must be greater than or equal to 0; got -1"),
        ([{"kind": "l1", "l1": 0}], "l1 = 0.0 is no l1: leave it out"),
        ([{"kind": "l1", "l2": 1}], "l1 is needed: give it a value; unknown field 'l2'; did you mean 'l1'"),
        ("l1", "must be a list, an object each; got 'l1'"),
    ],
)
def test_objects_that_cannot_be_of_one_config_are_refused_with_the_rule(objects, said):
    with pytest.raises(ValidationError) as refused:
        TrainConfig(interventions=objects)
    assert said in "; ".join(explain(refused.value))


def test_every_leaf_of_every_kind_is_a_leaf_of_the_config_and_no_section_has_it():
    for kind, cls in INTERVENTIONS.items():
        assert {kind, *cls.model_fields} == set(cls.leaves()) <= set(LEAVES)
        assert not any(LEAVES[name] for name in cls.leaves())


def test_a_held_norm_does_not_undo_a_rescaling_before_it():
    config = tiny(fixed_norm=True, norm_from_step=5, rescale_factor=2.0, rescale_at_step=4)
    assert config.interventions == (RescaleOnce(rescale_factor=2.0, rescale_at_step=4), FixedNorm(norm_from_step=5))


def test_what_is_done_once_comes_before_caps_and_directions_and_these_before_a_held_norm():
    both = tiny(norm_cap=1.0, rescale_factor=2.0, kick=1.0)
    assert [type(one).__name__ for one in both.interventions] == ["RescaleOnce", "Kick", "NormCap"]
    kinds = [
        name
        for name in INTERVENTIONS
        if name in ("rescale_factor", "kick", "norm_cap", "fixed_direction", "fixed_norm")
    ]
    assert kinds == ["rescale_factor", "kick", "norm_cap", "fixed_direction", "fixed_norm"]


# --- refused before any work ------------------------------------------------------------------------


def owner(name: str) -> str | None:
    """The last kind of intervention that has a leaf."""
    return owners().get(name, [None])[-1]


def switched_on(name: str) -> dict[str, Any]:
    """What must be given beside a leaf, so that what has it is there."""
    kind = owner(name)
    return {} if kind in (None, name) else {kind: OTHER[kind] or True}


def schema_of(section: str, name: str) -> dict[str, Any]:
    """The JSON schema of a leaf, as pydantic tells it."""
    kind = owner(name)
    cls = INTERVENTIONS[kind] if kind else DEFAULT_KINDS.get(section) or SECTIONS[section]
    return cls.model_json_schema()["properties"].get(name, {"type": "boolean"})


def bad_values(schema: dict[str, Any]) -> list[Any]:
    """At least one value for every constraint that the schema states."""
    if "anyOf" in schema:  # a value or none
        return [bad for option in schema["anyOf"] if option.get("type") != "null" for bad in bad_values(option)]
    below = [schema["minimum"] - 1] if "minimum" in schema else []
    below += [schema["exclusiveMinimum"]] if "exclusiveMinimum" in schema else []
    above = [schema["maximum"] + 1] if "maximum" in schema else []
    above += [schema["exclusiveMaximum"]] if "exclusiveMaximum" in schema else []
    if "enum" in schema:
        return ["nonsense", 3]
    match schema.get("type"):
        case "integer":
            return [*below, *above, 1.5, "many", None, math.nan]
        case "number":
            return [*below, *above, math.nan, math.inf, "much"]
        case "boolean":
            return ["perhaps", 2]
        case "array":
            return ["mlp", *([bad] for bad in bad_values(schema["items"]))]
    if schema.get("pattern"):
        return ["a run without a step"]
    raise NotImplementedError(f"no bad value is known for {schema}")


CONSTRAINTS = [
    pytest.param(name, bad, id=f"{section}.{name}={bad}")
    for section, name, _ in leaf_fields()
    for bad in bad_values(schema_of(section, name))
    if not (bad is None and owner(name) == name and INTERVENTIONS[name].off is None)
]


@pytest.mark.parametrize(("name", "bad"), CONSTRAINTS)
def test_bad_value_is_refused_with_field_and_value(name, bad):
    with pytest.raises(ValueError) as refused:
        TrainConfig().with_(**switched_on(name) | {name: bad})
    message = str(refused.value)
    assert message.startswith(f"{name}: ") or f"; {name}: " in message or f"{name}.0: " in message, message
    assert "\n" not in message
    if not isinstance(bad, list):
        assert repr(bad) in message


def test_every_numeric_leaf_has_a_lower_bound():
    """A number without any bound is a field that somebody forgot to think about."""
    for section, name, _ in leaf_fields():
        schema = schema_of(section, name)
        options = [schema, *schema.get("anyOf", [])]
        numeric = [o for o in options if o.get("type") in ("integer", "number")]
        assert all({"minimum", "exclusiveMinimum"} & set(o) for o in numeric), name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("aplha", "alpha"), ("learning_rate", None), ("weight_deacy", "weight_decay"), ("step", "steps")],
)
def test_unknown_field_is_refused_with_the_nearest_name(typed, meant):
    with pytest.raises(ValueError, match=f"unknown field '{typed}'") as refused:
        TrainConfig().with_(**dict[str, Any]({typed: 1}))
    assert (f"did you mean '{meant}'?" in str(refused.value)) == (meant is not None)


def test_unknown_field_in_a_file_is_refused_with_the_nearest_name():
    content = TrainConfig().model_dump(mode="json")
    content["optimizer"]["wieght_decay"] = 1.0
    with pytest.raises(ValidationError) as refused:
        TrainConfig.model_validate(content)
    assert explain(refused.value, LEAVES) == ["unknown field 'wieght_decay'; did you mean 'weight_decay'?"]


def test_several_faults_are_all_named_at_once():
    with pytest.raises(ValueError) as refused:
        TrainConfig().with_(alpha=0, steps=0, beta1=1)
    assert re.findall(r"(\w+): ", str(refused.value)) == ["alpha", "beta1", "steps"]


def test_other_kind_of_task_or_model_is_refused():
    for section in ("task", "model"):
        content = TrainConfig().model_dump()
        content[section]["kind"] = "something_else"
        with pytest.raises(ValidationError, match="kind"):
            TrainConfig.model_validate(content)


@pytest.mark.parametrize("section", TrainConfig.model_fields)
def test_assignment_is_refused(section):
    config = TrainConfig().with_(l1=0.5, norm_cap=2.0)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, section, getattr(config, section))
    part = getattr(config, section)
    for one in part if section == "interventions" else [part]:
        for name in type(one).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(one, name, getattr(one, name))


_ARC = {"fixed_norm": True, "norm_motion": "geodesic", "norm_transport": True}


@pytest.mark.parametrize(
    ("leaves", "said"),
    [
        ({"n_heads": 3}, r"n_heads \* d_head must be d_model; got 3 \* 32 = 96 and d_model 128"),
        ({"p": 3, "frac_train": 0.1}, "frac_train must leave at least one pair on each side.* 0.1 of 9 pairs is 0"),
        ({"fixed_norm": True, "steps": 10, "norm_from_step": 10}, "norm_from_step must lie before the last step"),
        ({"norm_radius": 2.0}, "norm_radius is of fixed_norm, which is off: set fixed_norm too; got norm_radius = 2.0"),
        ({"norm_grain": "tensor"}, "norm_grain is of norm_cap or fixed_norm, which is off"),
        ({"norm_from_step": 1}, "norm_from_step is of fixed_norm, which is off"),
        ({"start": "checkpoints/quickstart"}, "start: must be RUN_FOLDER@STEP, such as .*@4000; got"),
        ({"direction_from_step": 1}, "is of fixed_direction, which is off"),
        ({"fixed_direction": True, "steps": 10, "direction_from_step": 10}, "direction_from_step must lie before"),
        ({"fixed_direction": True, "fixed_norm": True}, "together leave no motion: choose one"),
        ({"fixed_direction": True, "norm_grain": "tensor"}, "norm_grain is of norm_cap or fixed_norm, which is off"),
        ({"fixed_norm": True, "target_norm": 1, "target_radius": 3}, "a norm that is held cannot be pulled"),
        ({"fixed_norm": True, "norm_radius": 3, "norm_factor": 2}, "norm_radius is the radius itself"),
        ({"fixed_norm": True, "norm_transport": True}, "norm_transport needs norm_motion = geodesic"),
        (_ARC | {"rule": "sgd"}, "needs a rule with one first moment.*sgd with momentum 0 has none to carry"),
        (_ARC | {"rule": "rmsprop", "momentum": 0.5}, "rmsprop with momentum 0.5 has none to carry"),
        (_ARC | {"rule": "muon", "momentum": 0.5}, "muon with momentum 0.5 has none to carry"),
        ({"hold_from_train_acc": 0.99}, "is of fixed_direction or fixed_norm, which is off"),
        ({"fixed_norm": True, "hold_from_train_acc": 0.99, "norm_from_step": 5}, "leave its step at 0"),
        ({"rescale_at_step": 5}, "is of rescale_factor, which is off"),
        ({"rescale_factor": 2, "rescale_at_step": 10, "steps": 10}, "rescale_at_step must lie before the last step"),
        ({"fixed_norm": True, "rescale_factor": 2, "rescale_at_step": 3}, "undoes a rescaling at step 3"),
        ({"target_norm": 1}, "target_radius is needed"),
        ({"target_radius": 1}, "target_radius is of target_norm, which is off"),
        ({"repel_bound": 2}, "repel_bound is of repulsion, which is off"),
        ({"l1": -1}, "l1: must be greater than or equal to 0; got -1"),
        ({"start_moments": True}, "needs start = RUN_FOLDER@STEP"),
        ({"start_moments": True, "start": "x@3", "alpha": 2}, "with every alpha 1"),
        ({"loss": "mse", "loss_precision": "float32"}, "are for loss = cross_entropy"),
        ({"label_smoothing": 0.1, "loss_precision": "float32"}, "label_smoothing needs loss_precision = float64"),
        ({"momentum": 0.9}, "momentum is of sgd, rmsprop and muon"),
        ({"lr_rest": 0.1}, "lr_rest is for rule = muon"),
        ({"orthograd_rescale": False}, "is of orthograd, which is off"),
        ({"noise_tangential": True}, "is of weight_noise or walk_noise or gradient_noise, which is off"),
        ({"p": 111, "operation": "divide"}, "p must be prime to divide"),
        ({"model": "embedding_mlp", "attention_rate": 0.5}, "'attention_rate' belongs to transformer"),
        ({"model": "embedding_mlp", "dropout_attention": 0.5}, "needs attention, which a embedding_mlp has not"),
        ({"model": "dense", "alpha_embed": 2.0}, "needs an embedding, which a dense has not"),
        ({"model": "dense", "n_in": 7}, "inputs and outputs must be the task's.*n_in = 7, not 226"),
        ({"model": "dense", "scheme": "nanda"}, "scheme of a dense must be one of torch, fan_in, he; got 'nanda'"),
        ({"task": "digits"}, "reads two tokens, and .* has none: choose model = dense"),
        ({"task": "composition", "group": "S4", "p": 23}, "'p' belongs to .*|p must be one number; got task.p = 24"),
        ({"task": "teacher_student", "model": "dense"}, "are real numbers: loss must be mse"),
        ({"task": "teacher_student", "model": "dense", "loss": "mse", "label_noise": 0.1}, "redraws classes"),
        ({"task": "sorting"}, "task must be one of modular_addition, .*; got 'sorting'"),
    ],
)  # fmt: skip
def test_fields_that_contradict_each_other_are_refused_with_the_rule(leaves, said):
    with pytest.raises(ValueError, match=said):
        TrainConfig().with_(**leaves)


def test_two_different_p_in_a_file_are_refused_with_both():
    content = TrainConfig().model_dump()
    content["task"]["p"] = 59
    with pytest.raises(ValidationError, match="task.p = 59 and model.p = 113"):
        TrainConfig.model_validate(content)


# --- derived values ---------------------------------------------------------------------------------


def test_p_is_set_in_task_and_model_and_the_classes_follow():
    config = TrainConfig().with_(p=59)
    assert (config.modular.p, config.transformer.p, config.transformer.n_classes) == (59, 59, 60)
    assert config.with_(d_vocab_out="p").model.n_classes == 59
    assert config.with_(p=7).model.shapes()["unembed.W_U"] == (128, 8)
    assert config.task.draw().inputs.shape == (59**2, 3)


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_rate_rises_linearly_from_zero_over_the_warm_up(warmup):
    optimizer = TrainConfig().with_(lr=0.5, warmup=warmup).optimizer
    expected = [0.5 * min(1.0, step / warmup) if warmup else 0.5 for step in range(20)]
    assert [optimizer.rate(step) for step in range(20)] == pytest.approx(expected, rel=1e-15)
    assert optimizer.rate(0) == (0.0 if warmup else 0.5)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    steps=st.integers(1, 3000),
    every=st.integers(1, 500),
    per_decade=st.integers(0, 20),
)
def test_checkpoints_begin_end_and_never_leave_a_wider_gap_than_asked(steps, every, per_decade):
    schedule = Schedule(steps=steps, checkpoint_every=every, checkpoints_per_decade=per_decade)
    found = sorted(schedule.checkpoint_steps())
    assert found[0] == 0 and found[-1] == steps
    assert set(found) <= set(range(steps + 1))
    assert set(range(0, steps + 1, every)) <= set(found)
    assert max(b - a for a, b in zip(found, found[1:], strict=False)) <= every
    if per_decade == 0:
        assert set(found) == {*range(0, steps + 1, every), steps}
    elif steps >= 100 and every >= 100:  # the first two decades are asked for, as far as steps can be told apart
        early = [step for step in found if 1 <= step <= 100]
        asked = {round(10 ** (i / per_decade)) for i in range(2 * per_decade + 1)}
        assert set(early) == asked


# --- kinds ------------------------------------------------------------------------------------------


def test_fields_of_equal_name_keep_their_values_when_the_kind_changes():
    config = tiny(data_seed=5).with_(model="embedding_mlp", d_hidden=24)
    assert (config.model.kind, config.leaves()["p"], config.modular.data_seed) == ("embedding_mlp", 11, 5)
    assert config.init.scheme == config.model.schemes[0]
    back = config.with_(model="transformer", d_model=8, n_heads=2, d_head=4, d_mlp=16, act="relu")
    assert back.model == tiny().model and back.init.scheme == "nanda"


def sizes(config: TrainConfig) -> tuple[int, int]:
    assert isinstance(config.model, DenseMLP)
    return config.model.n_in, config.model.n_out


def test_sizes_follow_from_the_task():
    dense = TrainConfig().with_(model="dense", p=11)
    assert sizes(dense) == (22, 11)
    assert sizes(dense.with_(p=13)) == (26, 13)
    digits = dense.with_(task="digits", n_train=100)
    assert sizes(digits) == (64, 10)
    assert TrainConfig().with_(task="composition", group="S4").transformer.p == 24


def test_differences_name_kinds_and_what_only_one_side_has():
    found = tiny().differences(tiny().with_(model="embedding_mlp"))
    assert found["model"] == ("transformer", "embedding_mlp")
    assert found["n_heads"] == (2, None) and found["d_hidden"][0] is None


def test_a_penalty_that_is_registered_is_a_field_and_one_that_is_off_leaves_no_trace():
    assert tiny(l1=0.5).kinds == {"l1": L1(l1=0.5)}
    off = tiny(l1=0.0)
    assert off == tiny() and off.hash == tiny().hash and off.leaves()["l1"] == 0.0


# --- presets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_preset_says_only_what_differs_from_the_default(name):
    said, leaves = PRESETS[name].leaves, TrainConfig().leaves()
    if not KINDS.keys() & said:  # presets of other kinds spell theirs out
        assert not {field for field, value in said.items() if leaves[field] == value}
    assert TrainConfig.preset(name) == TrainConfig().with_(**said)


def test_nanda_preset_has_the_numbers_of_the_authors_code():
    config = TrainConfig.preset("nanda")
    assert (config.modular.p, config.modular.frac_train, config.modular.data_seed, config.modular.split) == (
        113,
        0.3,
        0,
        "nanda",
    )
    model = config.transformer
    assert (model.n_layers, model.n_heads, model.d_model, model.d_head, model.d_mlp) == (1, 4, 128, 32, 512)
    assert (model.act, model.normalization, model.train_biases, model.n_classes) == ("relu", "none", ("mlp",), 114)
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.beta1, optimizer.beta2) == (1e-3, 1.0, 0.9, 0.98)
    assert (optimizer.warmup, optimizer.rate(0), optimizer.rate(5), optimizer.rate(10)) == (10, 0.0, 5e-4, 1e-3)
    assert (config.init.scheme, config.init.alpha, config.interventions) == ("nanda", 1.0, ())
    assert config.task.draw().n_train == 3830  # int(0.3 * 113**2)


def test_tl_demo_preset_has_the_numbers_of_the_notebook():
    config = TrainConfig.preset("tl-demo")
    assert (config.modular.split, config.modular.data_seed, config.init.seed) == ("randperm", 598, 999)
    assert (config.init.scheme, config.transformer.n_classes, config.transformer.train_biases) == (
        "hooked_transformer",
        113,
        (),
    )
    assert (config.optimizer.warmup, config.optimizer.rate(0), config.optimizer.beta2) == (0, 1e-3, 0.98)
    assert (config.optimizer.weight_decay, config.schedule.steps) == (1.0, 25_000)


def test_omnigrok_preset_holds_the_norm_without_decay():
    config = TrainConfig.preset("omnigrok")
    assert config.interventions == (FixedNorm(norm_from_step=0, norm_grain="global", norm_radius=None),)
    assert config.init.alpha == 0.8
    assert (config.optimizer.weight_decay, config.numerics.precision, config.schedule.steps) == (0.0, "float64", 15_000)


def test_unknown_preset_is_refused_with_the_nearest_and_all():
    with pytest.raises(ValueError, match=f"'nandas'; did you mean 'nanda'.*{', '.join(PRESETS)}"):
        TrainConfig.preset("nandas")


# --- stacks -----------------------------------------------------------------------------------------

OF_A_RUN = {  # of the task's content, not its size, and of the weights at step 0
    "operation", "corrupted", "label_seed", "data_seed", "split",
    "scheme", "alpha", "alpha_embed", "alpha_attention", "alpha_mlp", "alpha_unembed", "seed", "start",
}  # fmt: skip


FREE = {  # what runs of one stack may differ in, having the same objects at work; or in having a constraint
    "weight_decay", "decay_roles", "decay_to_init", "repel_from", "repel_bound", "grokfast_decay", "orthograd_rescale",
    "noise_tangential", "noise_seed", "fixed_norm", "norm_radius", "norm_from_step", "norm_factor", "fixed_direction",
    "direction_from_step", "hold_from_train_acc", "norm_cap", "rescale_factor", "rescale_at_step",
    "kick", "kick_at_step", "kick_scrambled", "batch_noise_times",
}  # fmt: skip
AT_WORK = {  # what all runs of a stack must have or not have, at any value
    "temperature", "grokfast_ema", "grokfast_ma", "weight_noise", "walk_noise", "gradient_noise", "label_noise",
}  # fmt: skip


@pytest.mark.parametrize("name", LEAVES)
def test_runs_share_a_stack_unless_shapes_optimizer_schedule_or_grain_differ(name):
    other = changed(name)
    alone = BASE.with_(**WITH.get(name, {})) if name in FREE else BASE
    assert (other.stack_key == alone.stack_key) == (name in FREE | OF_A_RUN)
    if name in AT_WORK | {"norm_cap", *PENALTIES}:
        assert other.with_(**{name: 0.75 * OTHER[name]}).stack_key == other.stack_key
    if name == "target_norm":
        assert other.with_(target_radius=7.0).stack_key == other.stack_key


def test_shares_that_give_as_many_training_pairs_share_a_stack():
    one, other, third = (tiny(frac_train=f) for f in (0.5, 0.4999, 0.49))
    assert one.task.draw().n_train == other.task.draw().n_train != third.task.draw().n_train
    assert one.stack_key == other.stack_key != third.stack_key
