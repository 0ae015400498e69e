"""Whether this machine keeps the promise about bits, and what is said where it does not."""

import os
import subprocess
import sys

import pytest
import torch
from surroundings.not_intel import not_intel

from circuitgrok.apart import APART, PLAIN, Arithmetic
from circuitgrok.faces import machine
from circuitgrok.faces.commands.looking import doctor
from circuitgrok.store.environment import DECISIVE, environment


@pytest.mark.bits
def test_promise_holds_here_and_the_facts_are_told(capsys):
    before = torch.get_num_threads()
    assert doctor(["--machine"]) == 0
    said = capsys.readouterr().out
    assert sum(line.startswith("ok ") for line in said.splitlines()) == 2 * len(machine.TRIED)
    assert "BROKEN" not in said
    facts = environment(1)
    assert all(f"{key:18s} {facts[key]}" in said for key in DECISIVE if facts[key] != "")
    assert torch.get_num_threads() == before


def test_a_broken_promise_is_named_with_the_kind_and_ends_with_1(monkeypatch, capsys):
    """Two runs that share their arithmetic: in a stack everything is a little larger."""

    def larger(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return PLAIN.product(a, b) * (1.0 if a.shape[0] == 1 else 1.001)

    spoiled: Arithmetic = APART._replace(product=larger)
    monkeypatch.setattr("circuitgrok.models.mlp.APART", spoiled)
    assert doctor(["--machine"]) == 1
    said = capsys.readouterr().out
    assert "BROKEN  quadratic MLP: alone as in a stack" in said and "ok      quadratic MLP: again" in said
    assert "does not keep the promise" in said and "ok      transformer: alone as in a stack" in said


def test_widths_at_which_the_library_looks_at_places_are_found(monkeypatch):
    alone = torch.mm  # of copies: there are processors where place matters at 6, too

    def place_matters(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        products = [alone(one.clone(), other.clone()) for one, other in zip(a, b, strict=True)]
        return torch.stack(products) + (a.shape[0] > 1 and b.shape[2] == 7)

    monkeypatch.setattr(torch.Tensor, "__matmul__", place_matters)
    assert machine.sensitive_widths([6, 7, 8]) == [7]


def test_promise_holds_where_the_library_takes_the_path_of_other_processors(tmp_path):
    library = not_intel(tmp_path)
    if library is None:
        pytest.skip("needs Linux, a C compiler and Intel's library")
    command = [sys.executable, "-m", "circuitgrok", "doctor", "--machine"]
    there = {name: value for name, value in os.environ.items() if not name.startswith("MKL_")}
    done = subprocess.run(command, env=there | {"LD_PRELOAD": str(library)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "depend on its place at widths" in done.stdout  # so that the path was another
