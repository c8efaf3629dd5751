"""Calls in a thread of their own: results, errors, cancelling, Ctrl-C."""

import os
import signal
import threading
import time

import pytest

from gritlite.errors import CancelledError, ClosedError, OutOfMemoryError
from gritlite.runtime.compute_thread import ComputeThread


@pytest.fixture
def thread():
    with ComputeThread("test") as made:
        yield made


def stoppable(stopped):
    """Work that goes on until it is stopped."""
    if not stopped.wait(60):
        raise TimeoutError
    raise InterruptedError


def test_all_calls_run_in_one_other_thread(thread):
    names = {thread.call(threading.get_ident) for _ in range(3)}
    assert len(names) == 1
    assert names != {threading.get_ident()}


def test_a_call_within_a_call_runs_at_once(thread):
    assert thread.call(lambda: thread.call(lambda: 5) + 1) == 6


def test_an_error_is_raised_as_it_is(thread):
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0, cancel=threading.Event())


def test_cancelled_work_is_stopped(thread):
    cancel, stopped = threading.Event(), threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(CancelledError):
        thread.call(lambda: stoppable(stopped), stopped.set, cancel)


def test_work_that_ended_before_it_was_stopped_has_its_result(thread):
    cancel = threading.Event()
    assert thread.call(lambda: cancel.set() or 5, cancel=cancel) == 5


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_ctrl_c_pressed_again_and_again_stops_work_once_it_can(thread):
    stopped, ended = threading.Event(), []

    def work():
        for _ in range(3):  # each while the first is being obeyed
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        assert stopped.wait(60)
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        thread.call(work, stopped.set)
    assert ended == [True]
    assert thread.call(lambda: 7) == 7


def test_an_error_meanwhile_stops_the_work_and_is_raised_when_it_has_ended(thread):
    stopped, threads, ended = threading.Event(), set(), []

    def work():
        assert stopped.wait(60)
        ended.append(True)

    def meanwhile():
        threads.add(threading.get_ident())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        thread.call(work, stopped.set, meanwhile=meanwhile)
    assert (ended, threads) == ([True], {threading.get_ident()})


def test_no_memory_for_a_thread(thread, monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OutOfMemoryError, match="thread"):
        thread.call(lambda: 5)


def test_a_closed_thread_takes_no_work(thread):
    thread.close()
    with pytest.raises(ClosedError):
        thread.call(lambda: 5)
