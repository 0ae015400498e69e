"""Fixtures: one finished tiny run, and a process that forks workers."""

import signal

import pytest
from tiny import tiny
from workers import Workers

from circuitgrok.store.run import Run
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train


def pytest_configure() -> None:
    """Ctrl-C interrupts, also where the suite was started by a shell that has it ignored (`pytest &` in a script)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def signals_as_before():
    """What is done on a signal is after each test what it was before: nothing that listens to them stays behind."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


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
