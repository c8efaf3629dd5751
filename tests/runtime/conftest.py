"""Loads and passes that last until they are told to stop."""

import threading
import time

import pytest

from gritlite.runtime.llama.library import C
from gritlite.runtime.llama.model_load import ModelLoad
from gritlite.runtime.llama.stop_flag import StopFlag


@pytest.fixture
def endless_load(monkeypatch):
    """Loads stay at half of the file until they are stopped; set once one is there."""
    begun = threading.Event()

    def wait(load, share, data):
        load._share = 0.5
        begun.set()
        end = time.monotonic() + 60
        while not load._stopped and time.monotonic() < end:
            time.sleep(0.005)
        return not load._stopped

    monkeypatch.setattr(ModelLoad, "_on_progress", wait)
    return begun


@pytest.fixture
def endless_pass(monkeypatch):
    """The next pass of llama.cpp begins only when it was told to stop; set once one is there."""
    begun, stopped, decode, stop = threading.Event(), threading.Event(), C.llama_decode, []

    def wait(context, batch):
        if not begun.is_set():
            begun.set()
            assert stopped.wait(60)
            stop[0]()
        return decode(context, batch)

    def told(flag):
        stop.append(lambda: setter(flag))
        stopped.set()

    setter = StopFlag.set
    monkeypatch.setattr(C, "llama_decode", wait)
    monkeypatch.setattr(StopFlag, "set", told)
    return begun
