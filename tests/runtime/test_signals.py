"""Signals that arrive during a callback from C are not lost."""

import ctypes
import signal
import threading

import pytest

from gritlite.runtime.llama.signals import signals_deferred

COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def call_back(function):
    """Call a Python function from C (libc's qsort)."""
    array = (ctypes.c_int * 2)(2, 1)
    ctypes.CDLL(None).qsort(array, 2, 4, COMPARE(lambda _a, _b: function() or 0))


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_within_a_callback_comes_after_the_block():
    reached = []

    def job():
        with signals_deferred():
            call_back(interrupt)
            reached.append("the end of the block")

    with pytest.raises(KeyboardInterrupt):
        job()
    assert reached == ["the end of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_handlers_run_too():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        with signals_deferred():
            signal.raise_signal(signal.SIGUSR1)
            assert seen == []
        assert seen == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_other_threads_do_not_change_handlers():
    handlers = []

    def job():
        with signals_deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
