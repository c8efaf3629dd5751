"""Signals that arrive while C runs are not lost, and Ctrl-C ends long work."""

import contextlib
import ctypes
import signal
import threading
import time

import numpy as np
import pytest

from gritlite.errors import CancelledError
from gritlite.runtime.llama.context import Batch, Context, ContextOptions
from gritlite.runtime.signals import signals_deferred

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


def test_only_an_interrupt_that_raises_is_to_end_the_work():
    noticed = []

    def job():
        with signals_deferred() as deferred:
            interrupt()
            noticed.append(deferred.interrupted)

    with pytest.raises(KeyboardInterrupt):
        job()
    assert noticed == [True]
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with signals_deferred() as deferred:
            interrupt()
            assert not deferred.interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_at_the_first(seen):
    """A watcher that presses Ctrl-C once, and gives it time to be heard."""

    def watch(item):
        seen.append(item)
        if len(seen) == 1:
            interrupt()
            time.sleep(0.5)

    return watch


def test_an_interrupt_ends_an_embedding_pass_at_once(tiny_model):
    ids, seen, whole = np.arange(60, dtype=np.int32), [], []
    with contextlib.closing(tiny_model.engine.open_pass(64, "bidirectional", whole.append)) as full:
        expected, _ = full.run([ids], [0])
    watch = interrupt_at_the_first(seen)
    with contextlib.closing(tiny_model.engine.open_pass(64, "bidirectional", watch)) as broken:
        with pytest.raises(KeyboardInterrupt):
            broken.run([ids], [0])
        assert len(seen) < len(whole) / 2
        again, _ = broken.run([ids], [0])
    np.testing.assert_array_equal(again, expected)


def test_a_cancelled_embedding_pass_ends_at_once(tiny_model):
    ids, seen, cancel = np.arange(60, dtype=np.int32), [], threading.Event()

    def watch(item):
        seen.append(item)
        cancel.set()
        time.sleep(0.2)  # until it is noticed

    with contextlib.closing(tiny_model.engine.open_pass(64, "bidirectional", watch)) as broken:
        with pytest.raises(CancelledError):
            broken.run([ids], [0], cancel=cancel)
        assert len(seen) < 10


def test_an_interrupt_ends_the_reading_of_a_prompt_and_leaves_no_trace(tiny_model):
    nodes = []

    def show(node):
        nodes.append(node)
        if len(nodes) == 1 + skipped:
            interrupt()
            time.sleep(0.5)  # until it is heard

    options = ContextOptions(n_ctx=128, n_batch=128, threads=1)
    tokens = np.arange(64, dtype=np.int32)
    first = Batch.of([tokens[:4]], [3])
    rest = Batch(tokens[4:], tokens[4:], tokens[4:] * 0, tokens[4:] == 63)
    skipped = 10**9
    with Context(tiny_model.engine.weights, options, show_nodes=show) as context:
        context.decode(first)
        skipped = len(nodes)
        with pytest.raises(KeyboardInterrupt):
            context.decode(rest)
        context.decode(rest)
        found = context.logits(1).copy()
    with Context(tiny_model.engine.weights, options) as context:
        context.decode(first)
        context.decode(rest)
        np.testing.assert_array_equal(found, context.logits(1))


def test_other_threads_do_not_change_handlers():
    handlers = []

    def job():
        with signals_deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
