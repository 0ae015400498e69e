"""Jobs behind the trainer: in order, bounded, and what fails is said with its own words."""

import signal
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from circuitgrok.store.behind import Behind

LONG_S = 30.0  # far longer than anything here takes: what waits so long has failed


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < LONG_S
        time.sleep(0.001)


def test_jobs_are_done_in_order_by_one_other_thread():
    done: list[tuple[int, int]] = []
    with Behind() as behind:
        for number in range(200):
            behind.give(lambda number=number: done.append((number, threading.get_ident())))
        behind.flush()
        assert [number for number, _ in done] == list(range(200))
    assert len({thread for _, thread in done}) == 1 and done[0][1] != threading.get_ident()


def test_giver_waits_while_too_much_waits_and_goes_on_when_there_is_room():
    go, given = threading.Event(), []
    with Behind(most=10_000) as behind:
        behind.give(go.wait, 4_000)
        behind.give(lambda: None, 3_000)

        def give() -> None:
            behind.give(lambda: None, 4_000)
            given.append(1)

        giver = threading.Thread(target=give)
        giver.start()
        giver.join(0.1)
        assert giver.is_alive() and not given
        go.set()
        giver.join(LONG_S)
        assert given == [1]


def test_a_job_larger_than_all_that_may_wait_is_done_alone():
    done = []
    with Behind(most=10) as behind:
        for number in range(3):
            behind.give(lambda number=number: done.append(number), 10**6)
    assert done == [0, 1, 2]


def test_the_first_failure_is_the_last_job_and_is_raised_as_it_was():
    planted, done = OSError(28, "No space left on device"), []

    def fail() -> None:
        raise planted

    with pytest.raises(OSError) as ended, Behind() as behind:
        behind.give(lambda: done.append(0))
        behind.give(fail)
        for ask in (behind.flush, lambda: behind.give(lambda: done.append(1))):
            with pytest.raises(OSError) as raised:
                ask()
            assert raised.value is planted
    assert ended.value is planted
    assert done == [0] and "fail" in [entry.name for entry in ended.traceback]


def test_what_waits_is_done_though_the_trainer_failed_and_its_own_error_is_raised():
    done, go = [], threading.Event()
    with pytest.raises(ZeroDivisionError), Behind() as behind:
        behind.give(go.wait)
        behind.give(lambda: done.append(0))
        threading.Timer(0.05, go.set).start()
        _ = 1 / 0
    assert done == [0]


def test_a_signal_while_the_rest_is_done_leaves_out_all_but_what_is_at_work():
    done, main = [], threading.get_ident()
    behind = Behind()

    def interrupted() -> None:
        until(lambda: not behind._open)  # the trainer waits for the rest
        signal.pthread_kill(main, signal.SIGINT)
        until(lambda: not behind._jobs)
        done.append("at work")

    with pytest.raises(KeyboardInterrupt), behind:
        behind.give(interrupted)
        behind.give(lambda: done.append("waiting"))
    assert done == ["at work"] and not behind._thread.is_alive()


def test_what_a_job_holds_is_let_go_when_it_is_done():
    class Held:
        pass

    held, seen = Held(), []
    gone = weakref.ref(held)
    with Behind() as behind:
        behind.give(lambda held=held: seen.append(type(held)))
        del held
        behind.flush()
        until(lambda: gone() is None)
    assert seen == [Held]
