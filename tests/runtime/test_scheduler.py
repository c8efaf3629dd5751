"""The scheduler: one turn at a time, in fair shares, without deadlock."""

import threading
import time
from collections import Counter

import pytest

from gritlite.runtime.scheduler import _MAX_OVERTAKES, Scheduler, Work


def work(scheduler: Scheduler, kind: Work, seconds: float, until: float) -> float:
    """Take turns until a deadline, and return the time held."""
    held = 0.0
    while time.perf_counter() < until:
        with scheduler.turn(kind):
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
    scheduler = Scheduler()
    inside, seen = 0, Counter[int]()

    def enter(kind: Work) -> None:
        nonlocal inside
        for _ in range(200):
            with scheduler.turn(kind):
                inside += 1
                seen[inside] += 1
                time.sleep(0)
                inside -= 1

    kinds: list[Work] = ["bulk", "query", "generate"] * 2
    run_all(*(threading.Thread(target=enter, args=(kind,)) for kind in kinds))
    assert seen == {1: 1200}


def test_long_passes_and_short_tokens_share_the_time() -> None:
    scheduler = Scheduler()
    held: dict[Work, float] = {}
    until = time.perf_counter() + 1.5

    def share(kind: Work, seconds: float) -> None:
        held[kind] = work(scheduler, kind, seconds, until)

    run_all(
        threading.Thread(target=share, args=("bulk", 0.05)),
        threading.Thread(target=share, args=("generate", 0.002)),
    )
    assert 0.6 < held["generate"] / held["bulk"] < 1.7


def test_an_answer_gets_its_share_though_it_asks_for_one_token_after_another() -> None:
    """Passes that always wait would otherwise come after each token."""
    scheduler = Scheduler()
    held = {"generate": 0.0, "query": 0.0}
    until = time.perf_counter() + 1.5

    def generate() -> None:
        while time.perf_counter() < until:
            with scheduler.turn("generate"):
                time.sleep(0.003)
            held["generate"] += 0.003
            time.sleep(0.003)  # the text is sent, and the next token asked for

    def embed() -> None:
        held["query"] += work(scheduler, "query", 0.05, until)

    run_all(*(threading.Thread(target=each) for each in (generate, embed, embed)))
    assert held["generate"] / held["query"] > 0.3  # 0.06 if each token were followed by a pass


def test_a_pass_does_not_wait_for_an_answer_that_has_ended() -> None:
    scheduler = Scheduler()
    scheduler._spent["embed"] = 0.5
    with scheduler.turn("generate"):
        pass
    done = threading.Event()

    def embed() -> None:
        with scheduler.turn("bulk"):
            done.set()

    threading.Thread(target=embed, daemon=True).start()
    assert done.wait(5)


def test_an_idle_kind_gets_at_most_one_second_of_credit() -> None:
    scheduler = Scheduler()
    scheduler._spent["embed"] = 3600.0  # an hour of embedding alone
    with scheduler.turn("bulk"):
        pass
    until = time.perf_counter() + 3.0
    embedded = threading.Event()

    def embed() -> None:
        with scheduler.turn("bulk"):
            embedded.set()

    chat = threading.Thread(target=work, args=(scheduler, "generate", 0.01, until))
    run_all(chat, threading.Thread(target=embed))
    assert embedded.is_set()
    assert scheduler._spent["embed"] - scheduler._spent["generate"] < 1.5


def test_an_error_within_a_turn_releases_it() -> None:
    scheduler = Scheduler()
    with pytest.raises(KeyError), scheduler.turn("bulk"):
        raise KeyError
    run_all(threading.Thread(target=work, args=(scheduler, "generate", 0.0, 0.0)))
    with scheduler.turn("generate"):
        pass


def test_an_interrupted_wait_does_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C arrives during a wait."""
    scheduler = Scheduler()
    scheduler._spent["generate"] = 0.5  # so that embedding would go first

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with scheduler.turn("generate"):
        monkeypatch.setattr(scheduler._condition, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt), scheduler.turn("bulk"):
            pass
        monkeypatch.undo()
    done = threading.Event()

    def generate() -> None:
        with scheduler.turn("generate"):
            done.set()

    threading.Thread(target=generate, daemon=True).start()
    assert done.wait(5)


def test_a_query_overtakes_a_bulk_job_after_the_pass_in_progress() -> None:
    scheduler = Scheduler()
    order: list[str] = []
    started, waiting = threading.Event(), threading.Event()

    def bulk() -> None:
        for number in range(4):
            with scheduler.turn("bulk"):
                order.append(f"pass {number}")
                started.set()
                if not number:
                    assert waiting.wait(10)
                    while not scheduler._waiting["query"] or not scheduler._waiting["bulk"]:
                        time.sleep(0.001)

    def second_bulk() -> None:
        with scheduler.turn("bulk"):
            order.append("other bulk")

    def query() -> None:
        waiting.set()
        with scheduler.turn("query"):
            order.append("query")

    first = threading.Thread(target=bulk)
    first.start()
    assert started.wait(10)
    others = [threading.Thread(target=second_bulk), threading.Thread(target=query)]
    run_all(*others)
    first.join(20)
    assert order[:2] == ["pass 0", "query"]
    assert len(order) == 6


def test_endless_queries_do_not_starve_a_bulk_job() -> None:
    scheduler = Scheduler()
    done = threading.Event()
    overtakes = 0

    def query() -> None:
        nonlocal overtakes
        until = time.perf_counter() + 10
        while not done.is_set() and time.perf_counter() < until:
            with scheduler.turn("query"):
                overtakes += scheduler._waiting["bulk"]
                while not done.is_set() and not scheduler._waiting["query"]:
                    time.sleep(0.0001)  # so that another query always waits

    def bulk() -> None:
        with scheduler.turn("bulk"):
            done.set()

    queries = [threading.Thread(target=query) for _ in range(3)]
    for thread in queries:
        thread.start()
    while scheduler._waiting["query"] < 2:
        time.sleep(0.001)
    run_all(threading.Thread(target=bulk))
    for thread in queries:
        thread.join(20)
    assert overtakes <= _MAX_OVERTAKES + 1  # the last of them may have begun just before


def test_a_query_shares_with_generation() -> None:
    """It overtakes bulk jobs, not answers."""
    scheduler = Scheduler()
    scheduler._spent["embed"] = 0.5
    order: list[str] = []

    def enter(work: Work) -> None:
        with scheduler.turn(work):
            order.append(work)

    works: tuple[Work, ...] = ("query", "generate")
    threads = [threading.Thread(target=enter, args=(work,)) for work in works]
    with scheduler.turn("bulk"):
        for thread in threads:
            thread.start()
        while not all(scheduler._waiting[work] for work in works):
            time.sleep(0.001)
    for thread in threads:
        thread.join(20)
    assert order == ["generate", "query"]
