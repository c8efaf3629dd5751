"""Answers decoded together: the scheduling, with a fake engine."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gritlite.errors import ClosedError, LibraryError
from gritlite.runtime.answer import Answer
from gritlite.runtime.engine import Step
from gritlite.runtime.generator import PREFILL_TOKENS, Generator
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.slots import Owner, Slot
from gritlite.runtime.together import Request, Together
from tests.runtime.fake_engine import FakeDecoders, FakeEngine, key_values
from tests.sent_signals import press_ctrl_c, signal_in

PROMPTS = [list(f"prompt {number}: {'x' * number * 7}".encode()) for number in range(8)]
OPTIONS = GenerateOptions(max_tokens=30)


def generator_of(engine: FakeEngine, parallel: int, *, context: int = 4096) -> Generator:
    return Generator(
        engine,
        Scheduler(),
        context_length=context,
        conversation_bytes=1 << 20,
        token_bytes=key_values([1], 0).nbytes,
        context_bytes=0,
        parallel=parallel,
    )


def in_threads(jobs: Sequence[Callable[[], object]]) -> list[object]:
    """Return the jobs' results, or the exceptions they ended with, run at the same time."""
    results: list[object] = [None] * len(jobs)

    def run(number: int) -> None:
        try:
            results[number] = jobs[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    return results


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


def tokens_of(generator: Generator, prompt: Sequence[int]) -> list[int]:
    answer = Answer(generator, prompt, OPTIONS)
    list(answer)
    return answer.generated


ALONE = [tokens_of(generator_of(FakeEngine(), 1), prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("parallel", [1, 2, 4, 8])
def test_answers_at_once_are_those_of_each_alone(parallel: int) -> None:
    engine = FakeEngine()
    generator = generator_of(engine, parallel)
    jobs = [lambda prompt=prompt: tokens_of(generator, prompt) for prompt in PROMPTS]
    assert in_threads(jobs) == ALONE
    assert max(map(len, engine.together)) <= parallel


def test_answers_that_are_read_at_the_same_pace_share_every_batch() -> None:
    engine = FakeEngine()
    engine.on_together = lambda: time.sleep(0.05)
    generator = generator_of(engine, 4)
    started = threading.Barrier(4)

    def read(prompt: list[int]) -> None:
        answer = Answer(generator, prompt, OPTIONS)
        next(answer)
        started.wait(10)
        list(answer)

    in_threads([lambda prompt=prompt: read(prompt) for prompt in PROMPTS[:4]])
    sizes = [len(members) for members in engine.together]
    assert sizes.count(4) >= OPTIONS.max_tokens - 6


def test_a_long_prompt_alternates_with_the_tokens_of_others() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 2, context=16 * PREFILL_TOKENS)
    events: list[str] = []
    short = Answer(generator, PROMPTS[0], GenerateOptions(max_tokens=200))
    next(short)
    member = generator._slots.of(short._sequence)
    assert member is not None
    decoder = generator._decoders.members[1 - member.index]  # type: ignore[union-attr]
    evaluate = decoder.evaluate

    def slow(tokens, start, outputs, attention="causal", cancel=None):
        if len(tokens) > 1:
            events.append("part")
            time.sleep(0.05)  # the other asks meanwhile
        evaluate(tokens, start, outputs, attention, cancel)

    decoder.evaluate = slow  # type: ignore[method-assign]
    engine.on_together = lambda: events.append("token")
    long = Answer(generator, [120] * (8 * PREFILL_TOKENS), GenerateOptions(max_tokens=1))
    in_threads([lambda: list(long), lambda: list(short)])
    parts = [number for number, event in enumerate(events) if event == "part"]
    assert len(parts) == 8
    assert all(after - before > 1 for before, after in itertools.pairwise(parts))


class Held:
    """Keeps a batch from ending until `go` is set; `running` is set once one has begun."""

    def __init__(self, engine: FakeEngine) -> None:
        self.running, self.go = threading.Event(), threading.Event()
        engine.on_together = self

    def __call__(self) -> None:
        self.running.set()
        assert self.go.wait(20)


def started(generator: Generator, number: int, count: int = 30) -> Answer:
    """An answer of which one token has been read, so that the next is evaluated in a batch."""
    answer = Answer(generator, PROMPTS[number], GenerateOptions(max_tokens=count))
    next(answer)
    return answer


def test_one_that_waits_for_a_batch_is_cancelled_at_once() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 2)
    answers = [started(generator, 0), started(generator, 1)]
    held = Held(engine)
    threads = [threading.Thread(target=list, args=(each,), daemon=True) for each in answers]
    threads[0].start()
    assert held.running.wait(10)
    threads[1].start()
    until(lambda: len(generator._together._queue) == 2)
    answers[1].cancel()
    threads[1].join(10)
    assert not threads[1].is_alive()
    assert answers[1].finish_reason == "cancelled"
    held.go.set()
    threads[0].join(10)
    assert answers[0].generated == ALONE[0]


def test_one_that_waits_for_a_slot_is_cancelled_at_once() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 2)
    answers = [started(generator, number) for number in (0, 1)]
    held = Held(engine)
    threads = [threading.Thread(target=list, args=(each,), daemon=True) for each in answers]
    for thread in threads:
        thread.start()
    assert held.running.wait(10)
    third = Answer(generator, PROMPTS[2], OPTIONS)
    waiting = threading.Thread(target=list, args=(third,), daemon=True)
    waiting.start()
    until(lambda: len(generator._slots._arrivals) == 1)
    third.cancel()
    waiting.join(10)
    assert third.finish_reason == "cancelled"
    held.go.set()
    for thread in threads:
        thread.join(10)
    assert [answer.generated for answer in answers] == ALONE[:2]


def test_slots_are_given_in_order_of_arrival() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 2)
    answers = [started(generator, number) for number in (0, 1)]
    held, given = Held(engine), []
    free = generator._slots._free

    def noted(owner: Owner) -> Slot | None:
        slot = free(owner)
        if slot is not None:
            given.append(owner)
        return slot

    generator._slots._free = noted  # type: ignore[method-assign]
    answers += [Answer(generator, PROMPTS[number], OPTIONS) for number in range(2, 6)]
    threads = [threading.Thread(target=list, args=(each,), daemon=True) for each in answers]
    for count, thread in enumerate(threads):
        thread.start()
        if count == 1:
            assert held.running.wait(10)
        until(lambda count=count: len(generator._slots._arrivals) >= count - 1)
    held.go.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert given == [answer._sequence for answer in answers[2:]]


def test_a_conversation_returns_to_its_slot() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 4)
    chats = [[*PROMPTS[n], *tokens_of(generator, PROMPTS[n])] for n in range(4)]
    for chat in reversed(chats):
        before = engine.evaluated
        tokens_of(generator, [*chat, 1, 2, 3])
        assert engine.evaluated - before == 1 + 3 + OPTIONS.max_tokens - 1


def test_closing_while_answers_wait_ends_them() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 2)
    answers = [started(generator, number) for number in (0, 1)]
    held = Held(engine)
    jobs = [lambda answer=answer: list(answer) for answer in answers]
    jobs.append(lambda: list(Answer(generator, PROMPTS[2], OPTIONS)))
    closing = threading.Thread(target=generator.close, daemon=True)

    def close() -> None:
        assert held.running.wait(10)
        until(lambda: len(generator._slots._arrivals) == 1)
        closing.start()
        until(lambda: generator._closing.is_set())
        held.go.set()
        closing.join(10)

    results = in_threads([*jobs, close])
    assert all(isinstance(result, ClosedError) for result in results[:3])
    assert not closing.is_alive()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LibraryError("it failed")])
def test_what_ends_a_leaders_batch_does_not_end_others(error: BaseException) -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 4)
    answers = [started(generator, number) for number in range(4)]
    raised: list[BaseException] = []

    def fail_once() -> None:
        if not raised:
            time.sleep(0.01)  # the others ask meanwhile
        if not raised and len(engine.together[-1]) > 1:
            raised.append(error)
            raise error

    engine.on_together = fail_once
    results = in_threads([lambda answer=answer: list(answer) for answer in answers])
    assert len([result for result in results if result is error]) == 1
    for number, answer in enumerate(answers):
        if results[number] is not error:
            assert answer.generated == ALONE[number]
        else:  # the next token is what it would have been
            assert [*answer.generated, *map(ord, answer)][: len(ALONE[number])] == ALONE[number]


def test_ctrl_c_waits_for_the_leader_that_chooses_the_token() -> None:
    engine = FakeEngine()
    together = Together(FakeDecoders(engine, 2, 64, 8), Scheduler())
    held, ended = Held(engine), threading.Event()
    events: list[str] = []

    def lead() -> None:
        together.decode(Request(Step(0, 65, 0), lambda _: 0), lambda: False)

    def press() -> None:
        assert held.running.wait(10)
        press_ctrl_c()
        assert not ended.wait(0.3)
        held.go.set()

    together._queue.append(None)  # keeps the first from beginning before the second asks
    leader = threading.Thread(target=lead, daemon=True)
    leader.start()
    until(lambda: len(together._queue) == 2)

    def begin() -> None:
        until(lambda: len(together._queue) == 3)
        together._leave(None)

    others = [threading.Thread(target=job, daemon=True) for job in (begin, press)]
    for thread in others:
        thread.start()
    chosen = Request(Step(1, 66, 0), lambda _: events.append("chosen") or 0)
    with pytest.raises(KeyboardInterrupt):
        together.decode(chosen, lambda: False)
    events.append("left")
    ended.set()
    for thread in [leader, *others]:
        thread.join(10)
        assert not thread.is_alive()
    assert events == ["chosen", "left"]


def test_ctrl_c_gives_up_a_token_that_waits() -> None:
    engine = FakeEngine()
    together = Together(FakeDecoders(engine, 2, 64, 8), Scheduler())
    held = Held(engine)

    def lead() -> None:
        together.decode(Request(Step(0, 65, 0), lambda _: 0), lambda: False)

    leader = threading.Thread(target=lead, daemon=True)
    leader.start()
    assert held.running.wait(10)
    with pytest.raises(KeyboardInterrupt), signal_in(0.1):
        together.decode(Request(Step(1, 66, 0), lambda _: 0), lambda: False)
    assert engine.together == [[0]]
    held.go.set()
    leader.join(10)
    assert not leader.is_alive()
    assert together._queue == []


def test_an_error_of_one_answers_sampler_is_its_own() -> None:
    decoders = FakeDecoders(FakeEngine(), 2, 64, 8)
    together = Together(decoders, Scheduler())

    def ask(member: int) -> int | None:
        def choose(logits: np.ndarray) -> int:
            return [lambda: int(logits.argmax()), lambda: int("no number")][member]()

        return together.decode(Request(Step(member, 65, 0), choose), lambda: False)

    found = in_threads([lambda: ask(0), lambda: ask(1)])
    assert isinstance(found[0], int)
    assert isinstance(found[1], ValueError)


def test_many_answers_of_many_threads_end(request: pytest.FixtureRequest) -> None:
    """Cancels, new answers and slow readers in any order leave nobody waiting."""
    generator = generator_of(FakeEngine(), 4)
    request.addfinalizer(generator.close)

    def client(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        for _ in range(12):
            number = int(rng.integers(8))
            answer = Answer(generator, PROMPTS[number], OPTIONS)
            timer = threading.Timer(rng.random() / 50, answer.cancel)
            if rng.random() < 0.3:
                timer.start()
            for _piece in answer:
                if rng.random() < 0.05:
                    time.sleep(0.02)
            timer.cancel()
            if answer.generated != ALONE[number][: len(answer.generated)]:
                return False
        return True

    assert in_threads([lambda seed=seed: client(seed) for seed in range(12)]) == [True] * 12
