"""Fixtures: one finished tiny run, and a process that forks workers."""

import pytest
from tiny import tiny
from workers import Workers

from circuitgrok.store.run import Run
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Run:
    """A finished tiny run; tests that change it copy it first."""
    [run] = train([tiny()], tmp_path_factory.mktemp("runs"), names=["finished"])
    return run


@pytest.fixture(scope="session")
def workers(tmp_path_factory):
    """A process that forks children which train, to be killed."""
    forking = Workers(tmp_path_factory.mktemp("workers"))
    yield forking
    forking.close()


@pytest.fixture(scope="session")
def measured(finished):
    """Its table of measures, the quick groups."""
    return measure(finished)
