"""What the command line knows without torch: the file is what the classes say, and all help is answered from it."""

import json
import subprocess
import sys
from itertools import product
from typing import Any

from loops import for_each

from circuitgrok.config.leaves import KINDS
from circuitgrok.config.presets import PRESETS
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.faces.cli import COMMANDS
from circuitgrok.faces.fields import FILE, config_leaves, generated, kinds_of, sampling_leaves
from circuitgrok.faces.flags import field_flags
from circuitgrok.landscape.sampling import Sampling

HEAVY = ("torch", "transformer_lens", "matplotlib", "sklearn", "pandas", "scipy", "pydantic", "numpy")


def test_file_is_what_the_classes_say():
    assert json.loads(FILE.read_text(encoding="utf-8")) == json.loads(json.dumps(generated())), (
        "fields.json is behind: `python -m circuitgrok.faces.fields` writes it anew"
    )


@for_each("preset", PRESETS)
def test_described_leaves_are_those_of_the_config_for_every_kind_that_it_can_have(preset):
    config = TrainConfig.preset(preset)
    assert kinds_of(preset) == {section: getattr(config, section).kind for section in KINDS}
    fitting = 0
    task: Any
    model: Any
    for task, model in product(*KINDS.values()):
        try:
            leaves = config.with_(task=task, model=model).leaves()
        except UserError:
            continue
        said = config_leaves(preset, {"task": task, "model": model})
        assert {name: leaf.default for name, leaf in said.items()} == leaves and list(said) == list(leaves)
        assert [type(leaf.default) for leaf in said.values() if leaf.type == "bool"] == [
            bool for leaf in said.values() if leaf.type == "bool"
        ]
        fitting += 1
    assert fitting >= 1


def test_described_settings_are_those_of_a_sampling():
    assert list(sampling_leaves()) == list(Sampling.model_fields)
    for name, leaf in sampling_leaves().items():
        field = Sampling.model_fields[name]
        assert leaf.required == field.is_required() and (leaf.required or leaf.default == field.default)
        assert leaf.annotation == field.annotation


def test_flags_of_two_kinds_differ_by_their_fields():
    kinds = {"task": "digits", "model": "dense"}
    flags = field_flags(config_leaves("nanda", kinds), kinds, many=False)
    assert {"n_train", "width", "depth"} <= set(flags) and not {"operation", "n_heads", "n_layers"} & set(flags)
    assert flags["n_in"][1] == 64 and flags["model"][1] == "dense"


def imported_by(*argv: str) -> tuple[int, str, str, set[str]]:
    """Exit code, output, and the heavy libraries of a fresh process that runs a command."""
    code = (
        "import sys\nfrom circuitgrok.faces.cli import run\n"
        "try:\n    code = run(sys.argv[1:])\nexcept SystemExit as ended:\n    code = ended.code or 0\n"
        f"print('|'.join(sorted(set({HEAVY}) & set(sys.modules))), file=sys.stderr, end='')\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    *said, last = done.stderr.split("\n")
    return done.returncode, done.stdout, "\n".join(said), set(last.split("|")) - {""}


HELP = {
    "nothing": ["--help"],
    "version": ["--version"],
    "presets": ["presets"],
    **{command: [command, "--help"] for command in COMMANDS},
    "train nanda": ["train", "nanda", "--help"],
    "train nanda dense": ["train", "nanda", "--model", "dense", "--help"],
    "sweep digits": ["sweep", "--preset", "muon", "--task", "digits", "--model=dense", "--help"],
}


@for_each("argv", HELP.values(), ids=HELP.keys())
def test_help_is_answered_without_any_heavy_library(argv):
    code, out, err, heavy = imported_by(*argv)
    assert (code, heavy, err) == (0, set(), "") and len(out) > 4


REFUSED = {
    "flag": (["train", "nanda", "--aplha", "2"], "--alpha"),
    "choice": (["train", "nanda", "--act", "rleu"], "relu"),
    "number": (["train", "nanda", "--p", "many"], "many"),
    "preset": (["train", "nand"], "did you mean 'nanda'?"),
    "kind": (["train", "nanda", "--model", "cnn"], "model must be one of transformer, embedding_mlp"),
    "another kind's": (["train", "nanda", "--width", "8"], "--width belongs to dense; got modular_addition and tr"),
    "preset of a sweep": (["sweep", "--preset", "nand"], "did you mean 'nanda'?"),
    "group": (["measure", "somewhere", "--measures", "polr"], "polar"),
    "sampling": (["measure", "somewhere", "--step-size", "1"], "--step-size is for llc"),
    "no run": (["measure", "somewhere"], "somewhere holds no run"),
    "place": (["explore", "somewhere", "--step-size", "1"], "start must be RUN_FOLDER@STEP"),
    "layout": (["import", "file.pth", "--as", "clock"], "nanda"),
}


@for_each(("argv", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_be_refused_without_torch_is(argv, said):
    code, out, err, heavy = imported_by(*argv)
    assert (code, out, heavy) == (2, "", set()) and said in err
    assert "loading torch" not in err
