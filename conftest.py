"""Tests and doctests: shapes checked while they run, each doctest in a folder of its own, any order, one thread."""

import os
import random
import tempfile
from pathlib import Path

import beartype._check.code.codemain as beartype_code
import hypothesis.configuration
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
    "circuitgrok.exact.analytic",
    "circuitgrok.tasks",
    "circuitgrok.interventions",
    "circuitgrok.samplers",
]

# Shape annotations of these packages become checks, if this runs before anything imports them. Of a container
# beartype looks at one item, drawn by Python's global generator, whose state some tests are about.
beartype_code.getrandbits = random.Random(0).getrandbits  # pyright: ignore[reportPrivateImportUsage]
_hook = jaxtyping.install_import_hook(CHECKED, "beartype.beartype")

import torch  # noqa: E402 - after the hook

if "OMP_NUM_THREADS" not in os.environ:  # as many as workers share the cores; who sets the variable means it
    torch.set_num_threads(1)

collect_ignore = ["docs/conf.py", "docs/site", "docs/_pages", "docs/_build"]  # of the site, which needs the extra docs

# Nothing is written into the checkout, which may be read-only: what hypothesis remembers lies elsewhere.
hypothesis.configuration.set_hypothesis_home_dir(
    Path(tempfile.gettempdir()) / f"hypothesis-{getattr(os, 'getuid', int)()}"
)


def pytest_addoption(parser):
    """Any order."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in an order drawn by this seed")


def pytest_collection_modifyitems(config, items):
    """The same order in every worker."""
    if config.getoption("--shuffle") is not None:
        random.Random(config.getoption("--shuffle")).shuffle(items)


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
