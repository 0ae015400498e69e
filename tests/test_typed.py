"""Words as people type them: whole numbers keep their value or are refused, choices are known, help is about a word."""

from typing import Annotated, Any, Literal, Optional

import pytest

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.faces.fields import config_leaves, every_leaf, kinds_of
from circuitgrok.faces.flags import ALIASES, field_flags, headings
from circuitgrok.faces.typed import about, help_word, mended, values_of
from circuitgrok.store.run import load

KINDS = kinds_of("quickstart")
FLAGS = field_flags(config_leaves("quickstart", KINDS), KINDS, many=False)
TYPES = {name: kind for name, (kind, _, _) in FLAGS.items()}
WHOLE = {"1e4": 10_000, "1E+2": 100, "2.5e1": 25, "1_000": 1000, "007": 7, "4.0": 4, "-3": -3, "12": 12}
NO_WHOLE = ("1.5", "1e-3", "2.55e1", "1e400", "9e99")


def test_whole_numbers_keep_their_value_or_are_refused():
    for word, number in WHOLE.items():
        for typed in ([f"--steps={word}"], ["--steps", word]):
            assert mended(typed, TYPES, ALIASES) == [w.replace(word, str(number)) for w in typed], word
    for word in NO_WHOLE:
        with pytest.raises(UserError, match="--steps takes a whole number"):
            mended(["--steps", word], TYPES, ALIASES)
    untouched = ["--lr", "1e-3", "--alpha=1e0", "--from", "runs/1e4@5", "--steps", "many", "-h", "--nothing", "1e4"]
    assert mended(untouched, TYPES, ALIASES) == untouched


def test_choices_are_known_and_the_nearest_is_told():
    for name, near in {"split": "nanda", "loss": "mse", "fixed_norm": "off"}.items():
        for dashed in (f"--{name.replace('_', '-')}", f"--{name}"):
            with pytest.raises(UserError, match=f"^{dashed} takes one of .*; got .*; did you mean '{near}'"):
                mended([dashed, f"{near}e"], TYPES, ALIASES)
    assert values_of(Annotated[Optional[Literal["a", "b"]], 1]).words == ("a", "b")  # noqa: UP045


def test_a_run_can_be_trained_for_1e1_steps(tmp_path):
    small = ["--p", "5", "--d-model", "8", "--d-head", "2", "--d-mlp", "8"]
    assert call(["train", "quickstart", "--steps", "1e1", *small, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert load(tmp_path / "run").history.index[-1] == 10


def test_help_about_a_word_shows_its_flags_and_only_those(capsys):
    assert help_word(["--help", "norm"]) == "norm" and help_word(["--help"]) is None
    assert help_word(["--steps", "5", "-h", "--quiet"]) is None
    assert help_word(["--help", "weight-decay"]) == "weight_decay"
    lines = list(about("norm", FLAGS))
    shown = {line.split()[0].rstrip(":").strip("-").replace("-", "_") for line in lines}
    assert {"fixed_norm", "norm_cap", "normalization"} <= shown
    assert shown == {name for name, (_, _, text) in FLAGS.items() if "norm" in name or "norm" in text}
    with pytest.raises(SystemExit) as stop:
        call(["train", "quickstart", "--help", "weight-decay"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("--weight-decay  [2.0]: ")
    assert call(["train", "quickstart", "--help", "wieght"]) == 2
    assert "no flag is about 'wieght', --help lists all; did you mean 'weight_noise'?" in capsys.readouterr().err


def test_every_field_stands_under_its_section_and_with_its_range(capsys):
    under = headings(KINDS)
    assert set(FLAGS) <= set(under)
    with pytest.raises(SystemExit):
        call(["train", "quickstart", "--help"])
    shown = capsys.readouterr().out
    assert all(f" {section} options " in shown for section in dict.fromkeys(under.values()))
    ranges = {leaf.name: leaf.range for leaf in every_leaf(KINDS)}
    assert (ranges["frac_train"], ranges["steps"], ranges["seed"], ranges["rule"]) == ("> 0, < 1", "≥ 1", "≥ 0", "")
    assert all(ranges[name] in text for name, (_, _, text) in FLAGS.items() if name in ranges)


def test_ranges_that_are_told_are_those_that_are_kept():
    """One step past each bound is refused, for every field with one."""
    for leaf in every_leaf(KINDS):
        for bound in filter(None, leaf.range.split(", ")):
            sign, number = bound.split()
            beyond = float(number) if sign in "<>" else float(number) + (1 if sign == "≤" else -1)
            with pytest.raises(UserError):
                TrainConfig().with_(**dict[str, Any]({leaf.name: int(beyond) if leaf.type == "int" else beyond}))
