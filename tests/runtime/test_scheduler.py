"""Turns on the processor: one at a time, in fair shares, never stuck."""

import threading
import time
from collections import Counter

import pytest

from gritlite.runtime.scheduler import Kind, Turns


def work(turns: Turns, kind: Kind, seconds: float, until: float) -> float:
    """Take turns until a moment; the time held."""
    held = 0.0
    while time.perf_counter() < until:
        with turns.turn(kind):
            start = time.perf_counter()
            time.sleep(seconds)
            held += time.perf_counter() - start
    return held


def run_all(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_one_at_a_time() -> None:
    turns = Turns()
    inside, seen = 0, Counter[int]()

    def enter(kind: Kind) -> None:
        nonlocal inside
        for _ in range(200):
            with turns.turn(kind):
                inside += 1
                seen[inside] += 1
                time.sleep(0)
                inside -= 1

    kinds: list[Kind] = ["embed", "generate"] * 3
    run_all(*(threading.Thread(target=enter, args=(kind,)) for kind in kinds))
    assert seen == {1: 1200}


def test_long_passes_and_short_tokens_share_the_time() -> None:
    turns = Turns()
    held: dict[Kind, float] = {}
    until = time.perf_counter() + 1.5

    def share(kind: Kind, seconds: float) -> None:
        held[kind] = work(turns, kind, seconds, until)

    run_all(
        threading.Thread(target=share, args=("embed", 0.05)),
        threading.Thread(target=share, args=("generate", 0.002)),
    )
    assert 0.6 < held["generate"] / held["embed"] < 1.7


def test_a_kind_that_was_idle_is_owed_no_more_than_a_second() -> None:
    turns = Turns()
    turns._spent["embed"] = 3600.0  # an hour of embedding alone
    with turns.turn("embed"):
        pass
    until = time.perf_counter() + 3.0
    embedded = threading.Event()

    def embed() -> None:
        with turns.turn("embed"):
            embedded.set()

    chat = threading.Thread(target=work, args=(turns, "generate", 0.01, until))
    run_all(chat, threading.Thread(target=embed))
    assert embedded.is_set()
    assert turns._spent["embed"] - turns._spent["generate"] < 1.5


def test_an_error_inside_gives_the_turn_back() -> None:
    turns = Turns()
    with pytest.raises(KeyError), turns.turn("embed"):
        raise KeyError
    run_all(threading.Thread(target=work, args=(turns, "generate", 0.0, 0.0)))
    with turns.turn("generate"):
        pass


def test_a_wait_that_is_broken_off_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a wait."""
    turns = Turns()
    turns._spent["generate"] = 0.5  # so that embedding would go first

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with turns.turn("generate"):
        monkeypatch.setattr(turns._condition, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt), turns.turn("embed"):
            pass
        monkeypatch.undo()
    done = threading.Event()

    def generate() -> None:
        with turns.turn("generate"):
            done.set()

    threading.Thread(target=generate, daemon=True).start()
    assert done.wait(5)
