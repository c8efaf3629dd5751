"""Answers decoded together by llama.cpp are, byte for byte, those of each alone."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import UsageError
from gritlite.runtime.engine import Step
from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.llama import LlamaEngine
from gritlite.runtime.llama.decoders import LlamaDecoders
from gritlite.runtime.state import State
from tests.runtime.test_together import in_threads
from tests.sent_signals import press_ctrl_c
from tests.tiny import make_checkpoint

GREEDY: dict[str, Any] = {"temperature": 0, "repeat_penalty": 1.3, "max_tokens": 24}
WORDS = "The ferry leaves at noon and the inn on the hill has nine rooms with a view. "
# their caches take less than 256 cells, more than 512, and numbers between
REPEATS = (1, 7, 2, 9, 0, 8, 4, 3)
PROMPTS = [f"{number}. {WORDS * count}" for number, count in enumerate(REPEATS)]


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Makes files of a tiny checkpoint that is wide enough for every type."""
    folder = tmp_path_factory.mktemp("quantized")

    def make(case: str, kind: str) -> Path:
        checkpoint, path = folder / case, folder / f"{case}.{kind}.gguf"
        if not checkpoint.exists():
            make_checkpoint(checkpoint, case, hidden=256, feed_forward=512)
        if not path.exists():
            convert(checkpoint, path, kind)
        return path

    return make


@contextmanager
def opened(path: Path, count: int, threads: int = 2) -> Iterator[tuple[LlamaEngine, LlamaDecoders]]:
    engine = LlamaEngine(path, threads=threads, gpu_layers=0)
    decoders = engine.open_decoders(count, 768, 512)
    assert isinstance(decoders, LlamaDecoders)
    try:
        yield engine, decoders
    finally:
        decoders.close()
        engine.close()


@pytest.mark.parametrize("kind", ["f32", "bf16", "q8_0", "q4_0", "q4_k_m"])
@pytest.mark.parametrize("case", ["llama-head-dim", "mixtral"])
def test_logits_do_not_depend_on_others(
    quantized: Callable[[str, str], Path], case: str, kind: str
) -> None:
    """Nor on the place among them: long and short sequences, in batches of any members."""
    random = np.random.default_rng(0)
    lengths = [600, 20, 300, 5]
    ids = [random.integers(5, 250, length + 1).tolist() for length in lengths]
    with opened(quantized(case, kind), 4) as (_, decoders):

        def fill(places: Sequence[int]) -> None:
            for place, tokens in zip(places, ids, strict=True):
                member = decoders.members[place]
                member.truncate(0)
                for start in range(0, len(tokens) - 1, 512):
                    part = tokens[:-1][start : start + 512]
                    member.evaluate(part, start, np.zeros(len(part), np.bool_))

        def logits(places: Sequence[int], wanted: Sequence[int]) -> list[bytes]:
            steps = [Step(places[n], ids[n][-1], lengths[n]) for n in wanted]
            found = [row.tobytes() for row in decoders.evaluate_together(steps)]
            for n in wanted:
                decoders.members[places[n]].truncate(lengths[n])
            return found

        fill(range(4))
        alone = [logits(range(4), [n])[0] for n in range(4)]
        assert len(set(alone)) == 4
        for places in ((0, 1, 2, 3), (3, 1, 0, 2)):
            fill(places)
            for wanted in ([0], [3], [0, 1], [1, 3], [2, 0, 3], [0, 1, 2, 3]):
                assert logits(places, wanted) == [alone[n] for n in wanted]


@pytest.mark.parametrize(
    ("least", "positions", "size"),
    [
        (1, {0: 10}, 1),
        (1, {0: 256}, 2),  # its 257 keys are two blocks of 256
        (1, {3: 255}, 1),
        (1, {1: 10, 2: 900}, 2),
        (1, {0: 10, 2: 10}, 4),
        (2, {3: 10}, 2),
        (2, {0: 10, 3: 10}, 4),
        (4, {0: 10}, 4),
    ],
)
def test_the_size_of_a_batch(
    tiny_path: Path, least: int, positions: dict[int, int], size: int
) -> None:
    with opened(tiny_path, 4) as (_, decoders):
        decoders._least = least
        steps = [Step(member, 0, position) for member, position in positions.items()]
        assert decoders._size(steps) == size


@pytest.mark.parametrize("least", [1, 2, 4, 8])
def test_a_trial_finds_the_sizes_with_the_same_bits(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    def rounded(_: LlamaDecoders, steps: Sequence[Step], size: int) -> np.ndarray:
        return np.full((len(steps), 3), 1 if size >= least else 1 + 1e-7, np.float32)

    monkeypatch.setattr(LlamaDecoders, "_evaluate", rounded)
    with opened(tiny_path, 8) as (_, decoders):
        assert decoders._least == least


def answers(model: GritLM, prompts: Sequence[str], documents: Sequence[State | None]) -> list[Any]:
    """Each alone, by a cleared cache."""
    found = []
    for prompt, document in zip(prompts, documents, strict=True):
        model.clear_cache()
        found.append(model.generate(prompt, document=document, **GREEDY))
    return found


def at_once(model: GritLM, prompts: Sequence[str], documents: Sequence[State | None]) -> list[Any]:
    model.clear_cache()
    jobs = [
        lambda prompt=prompt, document=document: model.generate(prompt, document=document, **GREEDY)
        for prompt, document in zip(prompts, documents, strict=True)
    ]
    return in_threads(jobs)


@pytest.mark.parametrize("parallel", [2, 4, 8])
@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_greedy_answers(quantized: Callable[[str, str], Path], kind: str, parallel: int) -> None:
    prompts, none = PROMPTS[:parallel], [None] * parallel
    with GritLM(quantized("llama-head-dim", kind), threads=2, parallel=parallel) as model:
        alone = answers(model, prompts, none)
        assert len(set(alone)) == parallel
        for _ in range(2):
            assert at_once(model, prompts, none) == alone


def test_answers_from_documents(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=2, parallel=4) as model:
        states = [model.prefix_state(f"{WORDS} {number}") for number in range(3)]
        joined = [model.join_states(states[:2]), model.join_states(states, recompute=4)]
        documents: list[State | None] = [*joined, states[2], None]
        prompts = ["Who?", "What?", "When?", "Where?"]
        alone = answers(model, prompts, documents)
        assert at_once(model, prompts, documents) == alone


@pytest.mark.parametrize("kind", ["prefix_state", "document_state"])
def test_states_are_those_of_a_context_of_its_own(tiny_path: Path, kind: str) -> None:
    """Restored, appended and shifted ones too."""
    with GritLM(tiny_path, threads=1) as model:
        states = [getattr(model, kind)(f"{WORDS} {number}") for number in range(3)]
        joined = model.join_states(states, recompute=3)
        found = []
        lone = model.engine.open_decoders(1, 768, 512)
        with opened(tiny_path, 4, threads=1) as (_, several):
            for decoders, member in ((lone, 0), (several, 2)):
                decoder = decoders.members[member]
                cache = KVCache(decoder)
                list(cache.restore(joined))
                cache.append([7] * states[0].tokens, states[0].key_values)
                found.append(decoder.state())
        lone.close()
        assert found[0] == found[1]


@pytest.mark.real
def test_real_answers(smollm2: Path) -> None:
    questions = ["Name the capital of France.", "Count to ten.", WORDS * 40 + "What leaves?", "Hi!"]
    with GritLM(smollm2, threads=2, context_length=1024, parallel=4) as model:

        def ask(question: str) -> str:
            message = {"role": "user", "content": question}
            return model.chat([message], temperature=0, max_tokens=20)

        alone = []
        for question in questions:
            model.clear_cache()
            alone.append(ask(question))
        model.clear_cache()
        jobs = [lambda question=question: ask(question) for question in questions]
        assert in_threads(jobs) == alone


def test_ctrl_c_ends_one_answer_and_no_other(tiny_path: Path) -> None:
    long = {**GREEDY, "max_tokens": 200, "grammar": "root ::= [a-z]{1900}"}
    with GritLM(tiny_path, threads=1, parallel=4) as model:
        alone = answers(model, PROMPTS[4:6], [None, None])
        model.clear_cache()
        mine = model.generate(PROMPTS[0], stream=True, **{**long, "max_tokens": 900})
        next(mine)
        found: list[str] = []

        def others() -> None:
            found.append(model.generate(PROMPTS[4], **GREEDY))
            press_ctrl_c()
            found.append(model.generate(PROMPTS[5], **GREEDY))

        other = threading.Thread(target=others, daemon=True)
        other.start()
        with pytest.raises(KeyboardInterrupt):
            list(mine)
        mine.close()
        other.join(60)
        assert not other.is_alive()
        assert found == alone


def test_closing_while_answers_are_decoded(tiny_path: Path) -> None:
    model = GritLM(tiny_path, threads=1, parallel=4)
    answers = [model.generate(prompt, stream=True, temperature=0) for prompt in PROMPTS[:4]]
    for answer in answers:
        next(answer)
    closing = threading.Timer(0.2, model.close)
    closing.start()
    in_threads([lambda answer=answer: list(answer) for answer in answers])
    closing.join(20)
    assert not closing.is_alive()


@pytest.mark.parametrize("parallel", [0, 3, 32])
def test_other_numbers_are_refused(tiny_path: Path, parallel: int) -> None:
    with pytest.raises(UsageError, match="parallel"):
        GritLM(tiny_path, parallel=parallel)
