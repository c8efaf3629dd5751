"""Interleaved chats: no history is evaluated again, and answers are those of each chat alone."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gritlite import GritLM
from gritlite.prompt import EmbedFormat
from gritlite.runtime.answer import Answer
from gritlite.runtime.conversations import Conversations
from gritlite.runtime.embed import Embedder, EmbedOptions
from gritlite.runtime.generator import Generator, TokenSequence
from gritlite.runtime.kv_cache import SavedCache
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.slots import Slots
from gritlite.runtime.state import DocumentState, JoinedState
from gritlite.runtime.tokens import Tokenizer
from tests.runtime.fake_engine import FakeEngine, key_values

A, B, C = (list(letter * 100) for letter in (b"a", b"b", b"c"))
OPTIONS = GenerateOptions(max_tokens=5)
TOKEN_BYTES = key_values([1], 0).nbytes


def generator_of(engine: FakeEngine, budget: int) -> Generator:
    return Generator(
        engine,
        Scheduler(),
        context_length=1024,
        conversation_bytes=budget,
        token_bytes=TOKEN_BYTES,
        context_bytes=0,
    )


def say(generator: Generator, prompt: Sequence[int]) -> list[int]:
    """Return the prompt and its answer."""
    answer = Answer(generator, prompt, OPTIONS)
    list(answer)
    return answer.tokens


def evaluated(engine: FakeEngine, generator: Generator, prompt: Sequence[int]) -> int:
    before = engine.evaluated
    say(generator, prompt)
    return engine.evaluated - before


def test_two_interleaved_chats_evaluate_only_new_tokens() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 1 << 20)
    chats = {"a": A, "b": B}
    for turn in range(4):
        for name, past in chats.items():
            new = list(b" and then?")
            alone = say(generator_of(FakeEngine(), 0), [*past, *new])
            before = engine.evaluated
            chats[name] = say(generator, [*past, *new])
            assert chats[name] == alone
            wanted = len(past) if not turn else 1  # the last token was not evaluated yet
            assert engine.evaluated - before == wanted + len(new) + OPTIONS.max_tokens - 1


def test_without_a_budget_every_turn_is_evaluated_again() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 0)
    for prompt in (A, B, A, B):
        assert evaluated(engine, generator, prompt) == 104


def test_the_least_recently_used_is_evicted_first() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 2 * 110 * TOKEN_BYTES)
    for prompt in (A, B, C):
        say(generator, prompt)
    said = say(generator_of(FakeEngine(), 0), B)
    say(generator, [*said, 1])  # removed by `take`, so that A and C stay
    say(generator, list(b"d" * 100))  # B comes back, and A has waited longest
    assert generator._conversations.nbytes <= 2 * 110 * TOKEN_BYTES
    assert evaluated(engine, generator, [*said, 1]) == 5
    assert evaluated(engine, generator, A) == 104


def test_a_branching_chat_reuses_its_common_prefix() -> None:
    engine = FakeEngine()
    generator = generator_of(engine, 1 << 20)
    say(generator, [*A, *B])
    say(generator, C)
    say(generator, [*A, *C])  # begins with what the first began with
    assert evaluated(engine, generator, [*A, *B]) == 5


def test_saved_conversations_are_found_by_document_and_tokens() -> None:
    conversations = Conversations(1 << 20, TOKEN_BYTES)
    short, long = (SavedCache(None, tuple(ids), key_values(ids, 0)) for ids in (A[:50], A))
    conversations.add(short)
    conversations.add(long)  # continues the short one, which goes
    assert conversations.nbytes == 100 * TOKEN_BYTES
    assert conversations.take(None, [*A[:60], 1], at_least=60) is long
    assert conversations.take(None, [*A[:60], 1], at_least=61) is None
    assert conversations.take(None, B, at_least=1) is None
    assert conversations.accepts(None, 1000)
    assert conversations.accepts(None, (1 << 20) // TOKEN_BYTES)
    assert not conversations.accepts(None, (1 << 20) // TOKEN_BYTES + 1)
    assert not conversations.accepts(None, 1 << 20)
    conversations.clear()
    assert conversations.nbytes == 0


def document_of(ids: Sequence[int]) -> DocumentState:
    return DocumentState(tuple(ids), 0, "causal", "m", False, key_values(ids, 0))


def test_documents_of_saved_conversations_count_once_each() -> None:
    conversations = Conversations(1000 * TOKEN_BYTES, TOKEN_BYTES)
    inn, ferry = document_of(A), document_of(B)
    both = JoinedState((inn, ferry), 0)
    for document, tokens in ((inn, A), (inn, B), (both, C)):
        start = 0 if document is inn else document.tokens
        conversations.add(SavedCache(document, tuple(tokens), key_values(tokens, start)))
    assert conversations.nbytes == (3 * 100 + 2 * 100) * TOKEN_BYTES
    assert conversations.accepts(both, 800)
    assert not conversations.accepts(both, 801)
    other = document_of(C * 5)
    conversations.add(SavedCache(other, tuple(A), key_values(A, 0)))
    assert conversations.nbytes == (2 * 100 + 200 + 600) * TOKEN_BYTES  # the first was evicted
    assert conversations.take(inn, A, at_least=1) is None


def test_the_memory_of_conversations_about_documents_is_bounded() -> None:
    budget = 500 * TOKEN_BYTES
    generator = generator_of(FakeEngine(), budget)
    for number in range(20):
        document = document_of([number] * 100)
        list(Answer(generator, A, OPTIONS, document=document))
    saved = generator._conversations._saved
    held = [*(one.document.key_values for one in saved), *(one.key_values for one in saved)]
    assert 0 < sum(one.nbytes for one in held) <= budget


@pytest.mark.parametrize("case", ["llama-head-dim", "qwen2"])
def test_interleaved_answers_are_those_of_each_chat_alone(tiny_file, case: str) -> None:
    def talk(model: GritLM, word: str, turns: int) -> list[list[dict[str, str]]]:
        messages = [{"role": "user", "content": f"{word} " * 30}]
        steps = []
        for _ in range(turns):
            text = model.chat(messages, temperature=0, max_tokens=8)
            said = [{"role": "assistant", "content": text}, {"role": "user", "content": "And?"}]
            messages = [*messages, *said]
            steps.append(messages)
        return steps

    with GritLM(tiny_file(case), threads=1) as model:
        alone = {word: talk(model, word, 3) for word in ("inn", "boat")}
    with GritLM(tiny_file(case), threads=1) as model:
        chats = {word: [{"role": "user", "content": f"{word} " * 30}] for word in alone}
        for turn in range(3):
            for word in chats:
                before = model.evaluated
                text = model.chat(chats[word], temperature=0, max_tokens=8)
                if turn:  # the template's words, "And?" and the answer
                    assert model.evaluated - before < 60
                said = {"role": "assistant", "content": text}
                chats[word] = [*chats[word], said, {"role": "user", "content": "And?"}]
                assert chats[word] == alone[word][turn]


def test_conversations_about_documents_are_not_mixed_up(tiny_path: Path) -> None:
    ask = [{"role": "user", "content": "Who founded it, and when, and why there of all places?"}]
    texts = ("The inn was founded by Ada.", "The ferry was built by Bo.")
    with GritLM(tiny_path, threads=1) as model:
        states = [model.document_state(text) for text in texts]

    def answer(model: GritLM, state: DocumentState) -> str:
        letters = "root ::= [a-z]{40}"  # so that the answer does not end at once
        return model.chat(ask, document=state, temperature=0, grammar=letters)

    alone = []
    for state in states:
        with GritLM(tiny_path, threads=1) as model:
            alone.append([answer(model, state) for _ in range(2)])
    with GritLM(tiny_path, threads=1) as model:
        mixed = [[answer(model, state) for state in states] for _ in range(2)]
        assert len(model._generator._conversations._saved) == 2
    assert [list(each) for each in zip(*mixed, strict=True)] == alone
    assert alone[0] != alone[1]


def test_an_answer_interrupted_right_after_its_claim_does_not_block_others() -> None:
    generator = generator_of(FakeEngine(), 0)
    claim = Slots.claim

    def interrupted(slots: Slots, sequence: TokenSequence, stopped: Callable[[], bool]) -> None:
        claim(slots, sequence, stopped)
        raise KeyboardInterrupt

    first = Answer(generator, A, OPTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slots, "claim", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(first)
    other = threading.Thread(target=say, args=(generator, B), daemon=True)
    other.start()
    other.join(5)
    assert not other.is_alive()


def test_a_query_waits_for_one_pass_of_a_bulk_job_at_most() -> None:
    engine, scheduler = FakeEngine(), Scheduler()
    embedder = Embedder(
        engine,
        Tokenizer(engine.vocabulary),
        EmbedFormat(),
        scheduler,
        pass_tokens=64,
        max_tokens=128,
        memory_need=lambda _: 0,
    )
    options = EmbedOptions(add_bos=False)
    running, waiting = threading.Event(), threading.Event()
    run = type(embedder._pass_for(64)).run
    counts: list[int] = []

    def slow(self, sequences, starts, *, return_states=False, cancel=None):
        running.set()
        assert waiting.wait(10)
        is_query = len(sequences) == 1
        while not is_query and not counts and not scheduler._waiting["query"]:
            pass
        counts.append(len(engine.passes))
        return run(self, sequences, starts, return_states=return_states)

    def bulk() -> None:
        list(embedder.stream(["some text"] * 40, options))

    def query() -> None:
        assert running.wait(10)
        waiting.set()
        list(embedder.stream(["what?"], options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(embedder._pass), "run", slow)
        threads = [threading.Thread(target=job) for job in (bulk, query)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    prompt = list(EmbedFormat().prompt.encode())
    assert [*prompt, *b"what?"] in engine.passes[1]
    assert len(engine.passes) > 5
