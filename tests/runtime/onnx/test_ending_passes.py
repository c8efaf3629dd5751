"""Passes that are ended early, and sessions that are idle."""

import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from gritlite.errors import CancelledError
from gritlite.runtime.onnx.onnx_session import OnnxSession
from tests.graph.write_graph import write_graph
from tests.sent_signals import signal_in

WIDTH = 64


def inputs(batch: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    embeddings = random.standard_normal((batch, tokens, WIDTH), np.float32)
    return embeddings, np.full(batch, tokens, np.int32)


@pytest.fixture(scope="module")
def session(tiny_file, tmp_path_factory) -> Iterator[OnnxSession]:
    folder = tmp_path_factory.mktemp("graph")
    session = OnnxSession(
        folder, write_graph(tiny_file("llama-tied"), folder, "float32"), threads=2
    )
    yield session
    session.close()


def test_a_cancelled_pass_ends_and_the_next_is_as_ever(session: OnnxSession) -> None:
    expected, _ = session.run(*inputs(2, 50), "bidirectional")
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(CancelledError):  # it ended with an error, so it was not finished
        session.run(*inputs(400, 1000), "bidirectional", cancel=cancel)
    found, _ = session.run(*inputs(2, 50), "bidirectional", cancel=threading.Event())
    assert np.array_equal(found, expected)


def test_a_pass_that_is_cancelled_before_it_begins(session: OnnxSession) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        session.run(*inputs(400, 1000), "bidirectional", cancel=cancel)


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_ctrl_c_ends_a_pass(session: OnnxSession) -> None:
    with pytest.raises(KeyboardInterrupt), signal_in(0.2):
        session.run(*inputs(400, 1000), "bidirectional")
    session.run(*inputs(1, 8), "bidirectional")


def test_no_thread_spins_between_passes(session: OnnxSession) -> None:
    session.run(*inputs(8, 100), "bidirectional")
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.1  # two spinning threads would take 2 seconds
