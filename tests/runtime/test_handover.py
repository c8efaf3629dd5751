"""Prompts that a prefill engine evaluates: which, how far, and that answers stay the same."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from gritlite.errors import ClosedError
from gritlite.runtime.answer import Answer
from gritlite.runtime.generator import Generator
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.state import DocumentState, joined
from tests.runtime.fake_engine import FakeEngine, FakePrefillEngine, key_values

LONG = [i * 7 % 250 for i in range(300)]
OPTIONS = GenerateOptions(max_tokens=5)


def generator_of(prefills: FakePrefillEngine | None, budget: int = 0) -> Generator:
    return Generator(
        FakeEngine(),
        Scheduler(),
        context_length=1024,
        conversation_bytes=budget,
        token_bytes=key_values([1], 0).nbytes,
        context_bytes=0,
        prefill_engine=prefills,
    )


def say(generator: Generator, prompt: Sequence[int], document=None) -> list[int]:
    """Return the prompt and its answer."""
    answer = Answer(generator, prompt, OPTIONS, document=document)
    list(answer)
    return answer.tokens


def state_of(ids: list[int]) -> DocumentState:
    return DocumentState(tuple(ids), 0, "causal", "m", False, key_values(ids, 0))


def test_all_but_the_last_token_are_handed_over():
    prefills = FakePrefillEngine()
    generator = generator_of(prefills)
    assert say(generator, LONG) == say(generator_of(None), LONG)
    assert prefills.parts == [(n, min(16, 299 - n)) for n in range(0, 299, 16)]
    assert generator.engine.evaluated == 1 + OPTIONS.max_tokens - 1
    assert generator.evaluated == 300 + OPTIONS.max_tokens - 1
    assert prefills.open == 0


@pytest.mark.parametrize(("length", "wanted"), [(128, 0), (129, 128)])
def test_short_prompts_are_not(length, wanted):
    prefills = FakePrefillEngine()
    say(generator_of(prefills), LONG[:length])
    assert prefills.evaluated == wanted


def test_a_conversation_goes_on_from_what_the_decoder_holds():
    prefills = FakePrefillEngine()
    generator, alone = generator_of(prefills), generator_of(None)
    said = say(generator, LONG)
    prefills.parts.clear()
    assert say(generator, [*said, *LONG[:150]]) == say(alone, [*said, *LONG[:150]])
    held = len(said) - 1  # an answer's last token was not evaluated
    assert (prefills.parts[0], prefills.evaluated) == ((held, 16), 150)


def test_an_edited_prompt_keeps_its_beginning():
    prefills = FakePrefillEngine()
    generator, edited = generator_of(prefills), [*LONG[:100], 9, *LONG[101:]]
    say(generator, LONG)
    prefills.parts.clear()
    assert say(generator, edited) == say(generator_of(None), edited)
    assert (prefills.parts[0], prefills.evaluated) == ((100, 16), 199)


def test_a_prompt_behind_documents():
    documents = joined([state_of(LONG[:50]), state_of(LONG[20:90])], bos=1, recompute=3)
    prefills = FakePrefillEngine()
    found = say(generator_of(prefills), LONG, documents)
    assert found == say(generator_of(None), LONG, documents)
    assert prefills.parts[0] == (119, 16)


def test_saved_conversations_are_restored_first():
    prefills = FakePrefillEngine()
    generator, alone = generator_of(prefills, 1 << 20), generator_of(None)
    said = say(generator, LONG)
    say(generator, LONG[::-1])
    prefills.parts.clear()
    assert say(generator, [*said, *LONG[:140]]) == say(alone, [*said, *LONG[:140]])
    assert prefills.parts[0] == (len(said) - 1, 16)


def test_states_of_prefixes_are_the_same():
    generator, alone = generator_of(FakePrefillEngine()), generator_of(None)
    for ids in (LONG, [*LONG[:20], *LONG]):
        assert generator.prefill(ids) == alone.prefill(ids)
        assert np.array_equal(alone.prefill(ids).keys[0][:, 0, 0], ids)


def test_longer_prompts_than_the_engine_reads_are_left_to_the_decoder():
    prefills = FakePrefillEngine(prefill_limit=298)
    say(generator_of(prefills), LONG)
    assert not prefills.parts
    say(generator_of(prefills), LONG[1:])
    assert prefills.evaluated == 298


@pytest.mark.parametrize("after", [0, 32])
def test_the_decoder_goes_on_where_memory_runs_out(after):
    prefills = FakePrefillEngine(fails_after=after)
    generator = generator_of(prefills)
    assert say(generator, LONG) == say(generator_of(None), LONG)
    assert prefills.evaluated == after
    assert generator.engine.evaluated == 300 - after + OPTIONS.max_tokens - 1
    assert prefills.open == 0


def test_cancelled_between_two_parts():
    prefills = FakePrefillEngine()
    generator = generator_of(prefills)
    answer = Answer(generator, LONG, OPTIONS)
    prefills.on_part = lambda: answer.cancel() if len(prefills.parts) == 3 else None
    assert list(answer) == []
    assert answer.finish_reason == "cancelled"
    assert (len(prefills.parts), prefills.open, generator.evaluated) == (3, 0, 48)
    prefills.parts.clear()
    assert say(generator, LONG) == say(generator_of(None), LONG)  # from where it ended
    assert prefills.parts[0] == (48, 16)


def test_closed_between_two_parts():
    prefills = FakePrefillEngine()
    generator = generator_of(prefills)
    closing = threading.Thread(target=generator.close)

    def on_part() -> None:
        if len(prefills.parts) == 2:
            closing.start()
            while not generator._closing.is_set():
                pass

    prefills.on_part = on_part
    with pytest.raises(ClosedError):
        list(Answer(generator, LONG, OPTIONS))
    closing.join(10)
    assert (len(prefills.parts), prefills.open) == (2, 0)


def test_interrupted_within_a_part():
    prefills = FakePrefillEngine()
    generator = generator_of(prefills)

    def interrupt() -> None:
        if len(prefills.parts) == 2:
            raise KeyboardInterrupt

    prefills.on_part = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(Answer(generator, LONG, OPTIONS))
    assert prefills.open == 0
    assert say(generator, LONG) == say(generator_of(None), LONG)
