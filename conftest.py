"""Tests and doctests: one thread, shapes checked while they run, each doctest in a folder of its own."""

import random

import beartype._check.code.codemain as beartype_code
import jaxtyping
import pytest

CHECKED = [  # of the models those with shapes in their types: the hook has its price in every call
    "circuitgrok.measures",
    "circuitgrok.polar",
    "circuitgrok.landscape",
    "circuitgrok.models.transformer",
    "circuitgrok.models.fused",
    "circuitgrok.models.dropout",
    "circuitgrok.models.mlp",
    "circuitgrok.models.dense",
    "circuitgrok.models.embedding_mlp",
    "circuitgrok.models.analytic",
    "circuitgrok.tasks",
    "circuitgrok.interventions",
    "circuitgrok.samplers",
]

# Shape annotations of these packages become checks, if this runs before anything imports them. Of a container
# beartype looks at one item, drawn by Python's global generator, whose state some tests are about.
beartype_code.getrandbits = random.Random(0).getrandbits  # pyright: ignore[reportPrivateImportUsage]
_hook = jaxtyping.install_import_hook(CHECKED, "beartype.beartype")

import torch  # noqa: E402 - after the hook

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _doctest_surroundings(request, doctest_namespace):
    """`torch` in every doctest; a scratch folder to write in, where the repository's runs can be read."""
    doctest_namespace["torch"] = torch
    if isinstance(request.node, pytest.DoctestItem):
        scratch = request.getfixturevalue("tmp_path")
        (scratch / "checkpoints").mkdir()
        for config in (request.config.rootpath / "checkpoints").glob("*/config.json"):
            (scratch / "checkpoints" / config.parent.name).symlink_to(config.parent)
        request.getfixturevalue("monkeypatch").chdir(scratch)
