"""What type checkers are told of `with_` is what it takes."""

import json
import subprocess
import sys
from typing import get_args

from circuitgrok.config.leaf_types import Leaves
from circuitgrok.config.leaves import KINDS
from circuitgrok.config.named import FILE, generated
from circuitgrok.faces.fields import every_leaf
from circuitgrok.table.checkpoints import KEY_FREQUENCY_RULES
from circuitgrok.table.groups import GROUPS
from circuitgrok.table.needs import Group, Rule

CODE = """
import circuitgrok as cg

cg.TrainConfig().with_(weight_decay=3, steps=10, model="dense", train_biases=["mlp"])
cg.TrainConfig().with_(weigth_decay=3)
cg.TrainConfig().with_(loss="mes")
cg.TrainConfig().with_(steps=1.5)
cg.measure(cg.reference(), ["polar", "circuits"], rule="logit_energy")
cg.measure(cg.reference(), ["polrr"])
cg.measure(cg.reference(), "polar", rule="wl")
"""


def test_file_is_made_of_the_configs_fields():
    made = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--line-length", "120", "-"],
        input=generated(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert FILE.read_text() == made.stdout, "run: python -m circuitgrok.config.named, then ruff format"


def test_every_leaf_of_every_kind_is_there_and_nothing_else():
    kinds = [dict(task=task, model=model) for task in KINDS["task"] for model in KINDS["model"]]
    every = {leaf.name for chosen in kinds for leaf in every_leaf(chosen)}
    assert set(Leaves.__annotations__) == every | set(KINDS)


def test_a_type_checker_sees_what_would_be_refused(tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(tmp_path / "code.py")],
        capture_output=True, text=True,
    )  # fmt: skip
    lines = [one["range"]["start"]["line"] for one in json.loads(done.stdout)["generalDiagnostics"]]
    assert lines == [4, 5, 6, 8, 9], done.stdout


def test_a_type_checker_sees_a_group_of_measures_that_is_none():
    """The names that it is told are those of the functions."""
    assert set(get_args(Group)) == {"polar", "updates", "llc", *GROUPS} and set(get_args(Rule)) == {
        *KEY_FREQUENCY_RULES
    }
