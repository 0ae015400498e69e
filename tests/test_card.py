"""Whatever a folder holds, a run's line and card are short, true, and never an error."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

import circuitgrok as cg
from circuitgrok.config.presets import PRESETS
from circuitgrok.store.card import HEIGHT, WIDTH
from circuitgrok.store.run import Run
from tests.loops import for_each
from tests.tiny import copied, rewritten, tiny
from tests.tiny_kinds import LEAVES, tiny_kind


def test_line_and_card_tell_what_the_run_is(finished):
    history = finished.history
    assert repr(finished) == (
        f"Run({str(finished.path)!r}: a + b mod 11, finished after {history.index[-1]} steps, "
        f"{len(finished.steps)} checkpoints)"
    )
    [svg] = re.findall("<svg.*</svg>", finished._repr_html_())
    picture = ElementTree.fromstring(svg)
    assert [line.get("stroke") for line in picture] == ["#0072b2", "#d55e00"]
    for line, column in zip(picture, ("train_acc", "test_acc"), strict=True):
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert points[0][0] == 2 and points[-1][0] == WIDTH - 2
        assert points[-1][1] == round(2 + (HEIGHT - 4) * (1 - history[column].iloc[-1]), 1)


def test_a_run_that_cannot_be_read_says_so_in_its_line(finished, tmp_path):
    assert repr(Run(tmp_path)).startswith(f"Run({str(tmp_path)!r}: cannot be read: ")
    assert "cannot be read" in Run(tmp_path)._repr_html_()
    torn = rewritten(copied(finished, tmp_path), "history.jsonl", [], outcome=None)
    assert "a + b mod 11, new" in repr(torn) and "<svg" not in torn._repr_html_()


def test_names_are_escaped_in_a_card(finished, tmp_path):
    named = copied(finished, tmp_path / "<script>alert(1)</script>")
    assert "<script>" not in named._repr_html_() and "&lt;script&gt;" in named._repr_html_()


def test_tasks_are_shown_without_their_tensors():
    assert repr(tiny().task.draw()).startswith("Task(a + b modulo 11: 121 pairs, 60 of them trained on, split ")
    for name in LEAVES:
        assert len(repr(tiny_kind(name).task.draw())) < 120, name


@for_each("preset", PRESETS)
def test_the_repr_of_a_preset_makes_it_again(preset):
    config = cg.TrainConfig.preset(preset)
    assert eval(repr(config), {"TrainConfig": cg.TrainConfig}) == config


@for_each("name", LEAVES)
def test_the_repr_of_any_kind_of_config_makes_it_again(name):
    config = tiny_kind(name)
    assert eval(repr(config), {"TrainConfig": cg.TrainConfig}) == config


def test_the_repr_of_a_config_with_interventions_makes_it_again():
    config = tiny(fixed_norm=True, norm_radius=3.0, l1=1e-4, batch_size=7, start="checkpoints/reference@0")
    assert eval(repr(config), {"TrainConfig": cg.TrainConfig}) == config
    assert len(repr(config)) < 400 and repr(cg.TrainConfig()) == "TrainConfig()"


@pytest.mark.parametrize("kind", ["digits", "teacher_student"])
def test_the_repr_of_a_config_whose_kinds_need_more_than_their_names(kind):
    loss: dict[str, Any] = {"loss": "mse"} if kind == "teacher_student" else {}
    config = cg.TrainConfig().with_(task=kind, model="dense", **loss)
    assert eval(repr(config), {"TrainConfig": cg.TrainConfig}) == config
