"""Generation: reproducible, stops as requested, unaffected by other answers."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import ClosedError, InputTooLongError, UsageError
from gritlite.runtime.options import generate_options

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 24}
SAMPLED: dict[str, Any] = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "max_tokens": 24}
LETTERS = "root ::= [a-z]{60}"
LONG: dict[str, Any] = {  # too long to end by itself while a test watches
    "temperature": 0,
    "max_tokens": 900,
    "grammar": "root ::= [a-z]{1900}",
}


def test_greedy_answers_repeat(tiny_model: GritLM) -> None:
    first = tiny_model.generate("Once", **GREEDY)
    tiny_model.generate("Another prompt", **GREEDY)
    assert tiny_model.generate("Once", **GREEDY) == first
    assert "".join(tiny_model.generate("Once", stream=True, **GREEDY)) == first
    assert tiny_model.generate("Twice", **GREEDY) != first


def test_seeds(tiny_model: GritLM) -> None:
    answers = [tiny_model.generate("Once", seed=seed, **SAMPLED) for seed in (1, 1, 2, 3)]
    assert answers[0] == answers[1]
    assert len(set(answers)) == 3
    assert len({tiny_model.generate("Once", **SAMPLED) for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "options",
    [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"temperature": 1e-30}, {"temperature": 1e-3}],
)
def test_filters_that_leave_one_token(tiny_model: GritLM, options: dict[str, Any]) -> None:
    wide = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": 24}
    greedy = tiny_model.generate("Once", **GREEDY)
    assert tiny_model.generate("Once", seed=1, **{**wide, **options}) == greedy
    assert tiny_model.generate("Once", seed=1, **wide) != greedy


def test_max_tokens(tiny_model: GritLM) -> None:
    for count in (1, 2, 17):
        answer = tiny_model.generate("Once", stream=True, temperature=0, max_tokens=count)
        assert "".join(answer) == answer.text
        assert len(answer.generated) == count
        assert answer.finish_reason == "length"
        assert answer.tokens[answer.prompt_tokens :] == answer.generated


def test_a_stop_string_anywhere(tiny_model: GritLM) -> None:
    """A stop string may begin and end within tokens or across them."""
    options = {"temperature": 0, "max_tokens": 60, "grammar": LETTERS, "repeat_penalty": 1.3}
    whole = tiny_model.generate("Once", **options)
    assert len(set(whole)) > 5
    for start in range(0, len(whole) - 9, 3):
        for length in (1, 2, 5, 9):
            stop = whole[start : start + length]
            answer = tiny_model.generate("Once", stream=True, stop=["\0never", stop], **options)
            pieces = list(answer)
            assert "".join(pieces) == answer.text == whole[: whole.index(stop)]
            assert answer.finish_reason == "stop"


def test_a_partial_stop_string_is_returned_at_the_end(tiny_model: GritLM) -> None:
    options = {"temperature": 0, "max_tokens": 60, "grammar": 'root ::= "abcabcab"'}
    answer = tiny_model.generate("Once", stream=True, stop=["abcabcabc", "cc"], **options)
    assert "".join(answer) == "abcabcab"
    assert tiny_model.generate("Once", stop="bca", **options) == "a"


def test_characters_are_never_split(tiny_model: GritLM) -> None:
    text = "é😀ñ漢🦙字é😀ñ漢🦙字"
    grammar = f'root ::= "{text}"'
    assert tiny_model.generate("Once", temperature=0, grammar=grammar, max_tokens=99) == text
    seen = set()
    for count in range(1, 45):
        answer = tiny_model.generate(
            "Once", stream=True, temperature=0, grammar=grammar, max_tokens=count
        )
        pieces = list(answer)
        assert all(pieces)
        assert "".join(pieces) == answer.text
        assert text.startswith(answer.text)
        assert len(answer.text) <= len(answer.generated)
        seen.add(answer.text)
    assert text in seen
    assert len(seen) > 10


def test_stop_strings_of_wide_characters(tiny_model: GritLM) -> None:
    options = {"temperature": 0, "max_tokens": 99, "grammar": 'root ::= "é😀ñ漢"'}
    assert tiny_model.generate("Once", stop=["ñ"], **options) == "é😀"
    assert tiny_model.generate("Once", stop=["😀ñ", "x"], **options) == "é"


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        "ok": {"type": "boolean"},
    },
    "required": ["name", "age", "tags", "ok"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA)], ids=["mapping", "text"])
def test_answers_match_their_json_schema(tiny_model: GritLM, schema: Any, seed: int) -> None:
    options = {**SAMPLED, "max_tokens": 400, "temperature": 1.0}
    person = json.loads(tiny_model.generate("Once", json_schema=schema, seed=seed, **options))
    assert set(person) == {"name", "age", "tags", "ok"}
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)
    assert set(person["tags"]) <= {"a", "b"}
    assert isinstance(person["ok"], bool)


BAD_GRAMMARS = {
    "empty": "",
    "space": "  \n",
    "no root": 'x ::= "a"',
    "undefined": "root ::= nothing",
    "left recursion": 'root ::= root "a" | "b"',
    "no literal's end": 'root ::= "abc',
    "no class's end": "root ::= [abc",
    "nothing to repeat": "root ::= *",
    "bad escape": 'root ::= "\\q"',
    "zero byte": 'root ::= "a\0b"',
    "dead end": "root ::= [z-a]",
    "dead end later": 'root ::= "ab" [z-a]',
    "unknown token": "root ::= <[99999999]>",
    "nested": "root ::= " + "(" * 100_000 + '"a"' + ")" * 100_000,
    "chain": "\n".join(
        ["root ::= r0", *(f"r{i} ::= r{i + 1}" for i in range(50_000)), 'r50000 ::= "a"']
    ),
    "backward repetition": 'root ::= "a"{3,1}',
    "huge repetition": 'root ::= "a"{99999999999999999999}',
    "surrogate": 'root ::= "\ud800"',
}


TRY_BAD_GRAMMARS = """
import sys
from gritlite import GritLM, UsageError
from tests.runtime.test_answer import BAD_GRAMMARS
with GritLM(sys.argv[1], threads=1) as model:
    for name, grammar in BAD_GRAMMARS.items():
        print(name, end=": ", flush=True)
        try:
            model.generate("Once", grammar=grammar, max_tokens=9)
        except UsageError as error:
            print("refused:", error)
    print(len(model.generate("Once", temperature=0, max_tokens=3)) > 0)
"""


def test_bad_grammars(tiny_path: Path) -> None:
    """Runs in a child process: llama.cpp would abort on some of them, and print for others."""
    done = subprocess.run(
        [sys.executable, "-c", TRY_BAD_GRAMMARS, str(tiny_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    *refused, after = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-500:]
    assert done.stderr == ""
    assert after == "True"
    assert [line.partition(": ")[0] for line in refused] == list(BAD_GRAMMARS)
    for line in refused:
        assert ": refused: the grammar" in line
        assert "no reason" not in line


@pytest.mark.parametrize(
    "schema",
    [
        "not json",
        "[]",
        "3",
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.org/schema.json"},
        {"type": "string", "pattern": "(("},
        {"type": frozenset()},
        {"enum": []},
        {"type": "array", "contains": {}},
    ],
    ids=str,
)
def test_bad_schemas(schema: Any) -> None:
    with pytest.raises(UsageError):
        generate_options(json_schema=schema)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"stop": [""]}, "stop string is empty"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"min_p": -0.1}, "min_p"),
        ({"top_k": -1}, "top_k"),
        ({"seed": 2**32 - 1}, "seed"),
        ({"repeat_penalty": 0}, "repeat_penalty is 0"),
        ({"grammar": LETTERS, "json_schema": {}}, "exclude each other"),
        ({"max_tokens": 2.5}, "max_tokens is 2.5: expected an integer"),
        ({"max_tokens": "3"}, "max_tokens is '3': expected an integer"),
        ({"seed": True}, "seed is True: expected an integer"),
        ({"seed": 1.5}, "seed is 1.5: expected an integer"),
        ({"top_k": 1.5}, "top_k is 1.5: expected an integer"),
        ({"temperature": "hot"}, "temperature is 'hot': expected a number"),
        ({"temperature": None}, "temperature is None: expected a number"),
        ({"stop": None}, "stop is None: expected a string or several"),
        ({"stop": b"x"}, "stop is .*: expected strings"),
        ({"grammar": 5}, "grammar is 5: expected GBNF"),
        (
            {"max_token": 3},
            "there is no option 'max_token': expected one of .*grammar, .*max_tokens",
        ),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate_options(**options)


def test_a_model_refuses_bad_options(tiny_model: GritLM) -> None:
    messages = [{"role": "user", "content": "Hello!"}]
    for options in ({"max_tokens": 0}, {"json_schema": {"not": {}}}, {"max_token": 3}):
        for stream in (False, True):
            with pytest.raises(UsageError):
                tiny_model.generate("Once", stream=stream, **options)
            with pytest.raises(UsageError):
                tiny_model.chat(messages, stream=stream, **options)


def test_numbers_of_numpy_are_options(tiny_model: GritLM) -> None:
    options: dict[str, Any] = {"seed": 3, "top_k": 9, "max_tokens": 4, "temperature": 0.5}
    same = {name: np.asarray(value)[()] for name, value in options.items()}
    assert tiny_model.generate("Once", **same) == tiny_model.generate("Once", **options)


def test_repeat_penalty(tiny_model: GritLM) -> None:
    plain = tiny_model.generate("Once", stream=True, temperature=0, max_tokens=50)
    varied = tiny_model.generate(
        "Once", stream=True, temperature=0, max_tokens=50, repeat_penalty=1.8
    )
    list(plain), list(varied)
    assert len(set(varied.generated)) > len(set(plain.generated)) + 5


def test_a_prompt_longer_than_the_context(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=40) as model:
        with pytest.raises(InputTooLongError, match="context holds 40"):
            model.generate("word " * 100)
        with pytest.raises(InputTooLongError, match="context holds 40"):
            model.chat([{"role": "user", "content": "word " * 100}])
        assert len(model.generate("Once", **GREEDY)) > 0


def test_the_end_of_the_context(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=40) as model:
        answer = model.generate("Once", stream=True, temperature=0)
        "".join(answer)
        assert answer.finish_reason == "context"
        assert len(answer.tokens) == 40
    with GritLM(tiny_path, threads=1) as longer:
        same = longer.generate("Once", stream=True, temperature=0, max_tokens=len(answer.generated))
        list(same)
        assert same.generated == answer.generated


def test_long_prompts_are_evaluated_in_batches(tiny_path: Path) -> None:
    """A prompt over 512 tokens answers the same as when all but its last token is cached."""
    prompt = "some words and more " * 45
    with GritLM(tiny_path, threads=1) as model, GritLM(tiny_path, threads=1) as other:
        assert len(model.tokenize(prompt)) > 600
        whole = model.generate(prompt, **GREEDY)
        for length in (100, 450, len(prompt)):
            part = other.generate(prompt[:length], **GREEDY)
        assert part == whole


def test_cancel_stops_within_a_token(tiny_model: GritLM) -> None:
    answer = tiny_model.generate("Once", stream=True, temperature=0)
    next(answer)
    answer.cancel()
    before = len(answer.generated)
    list(answer)
    assert len(answer.generated) == before
    assert answer.finish_reason == "cancelled"
    again = tiny_model.generate("Once", temperature=0, max_tokens=before)
    assert again.startswith(answer.text)


def test_cancel_from_another_thread(tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both while it is being read, and while it waits for another answer."""
    monkeypatch.setattr("gritlite.runtime.slots._IDLE_SECONDS", 60.0)
    busy = tiny_model.generate("Once", stream=True, **LONG)
    waiting = tiny_model.generate("Twice", stream=True, **LONG)
    begun = threading.Event()

    def read() -> None:
        for _ in busy:
            begun.set()
            time.sleep(0.002)  # so that it ends by itself on no machine

    reader = threading.Thread(target=read)
    waiter = threading.Thread(target=list, args=(waiting,))
    reader.start()
    assert begun.wait(20)
    waiter.start()
    time.sleep(0.05)
    waiting.cancel()
    waiter.join(5)
    assert not waiter.is_alive()
    assert waiting.finish_reason == "cancelled"
    said = len(busy.generated)
    while reader.is_alive() and len(busy.generated) == said:
        time.sleep(0.001)
    busy.cancel()
    reader.join(5)
    assert busy.finish_reason == "cancelled"
    # nothing was evaluated twice: the waiting answer did not take the cache
    assert tiny_model.evaluated <= busy.prompt_tokens + len(busy.generated)


def test_answers_closed_from_another_thread(tiny_model: GritLM) -> None:
    """Closing frees the sampler, which the reader may be using."""

    def read(answer: Iterator[str]) -> None:
        for _ in answer:
            time.sleep(0.001)  # so that it does not end by itself

    for number in range(60):
        answer = tiny_model.generate("Once", stream=True, **LONG)
        reader = threading.Thread(target=read, args=(answer,))
        reader.start()
        time.sleep(0.003 * (number % 7))
        answer.close()
        reader.join(10)
        assert answer.finish_reason == "cancelled"


def test_an_answer_as_a_context_manager(tiny_model: GritLM) -> None:
    with tiny_model.generate("Once", stream=True, **GREEDY) as answer:
        next(answer)
    assert answer.finish_reason == "cancelled"
    assert list(answer) == []
    assert tiny_model.generate("Once", **GREEDY)


@pytest.mark.parametrize("round", range(6))
def test_the_model_closed_while_it_streams(tiny_path: Path, round: int) -> None:
    model = GritLM(tiny_path, threads=1)
    outcomes: list[type[BaseException]] = []

    def read() -> None:
        try:
            while True:
                list(model.generate("Once", stream=True, temperature=0, max_tokens=100))
        except Exception as error:
            outcomes.append(type(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    time.sleep(0.03 * round)
    model.close()
    for reader in readers:
        reader.join(20)
    assert outcomes == [ClosedError] * 2


def test_after_close(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1) as model:
        answer = model.generate("Once", stream=True, grammar=LETTERS)
        next(answer)
    with pytest.raises(ClosedError):
        next(answer)
    for call in (model.generate, model.encode, model.tokenize):
        with pytest.raises(ClosedError):
            call("Once")
    with pytest.raises(ClosedError):
        model.chat([{"role": "user", "content": "Hi"}])
    answer.close()


def test_two_answers_read_in_turn(tiny_model: GritLM) -> None:
    options = {**GREEDY, "max_tokens": 6}
    alone = [tiny_model.generate(prompt, **options) for prompt in ("Once", "Twice upon")]
    answers = [tiny_model.generate(p, stream=True, **options) for p in ("Once", "Twice upon")]
    texts = ["", ""]
    while any(answer.finish_reason is None for answer in answers):
        for number, answer in enumerate(answers):
            texts[number] += next(answer, "")
    assert texts == alone


def test_answers_in_many_threads(tiny_model: GritLM) -> None:
    prompts = [f"{number} times" for number in range(6)]
    options = {**SAMPLED, "seed": 7, "repeat_penalty": 1.1}
    alone = [tiny_model.generate(prompt, **options) for prompt in prompts]
    found: dict[int, str] = {}

    def read(number: int) -> None:
        found[number] = "".join(tiny_model.generate(prompts[number], stream=True, **options))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [found[number] for number in range(6)] == alone


def test_an_interrupted_pass_leaves_the_engine_usable(
    tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C arrives after llama.cpp evaluated tokens that are not recorded yet."""
    whole = tiny_model.generate("Once upon a time", **GREEDY)
    answer = tiny_model.generate("Once upon", stream=True, **GREEDY)
    next(answer)
    assert tiny_model._generator._decoders is not None
    context = tiny_model._generator._decoders.members[0]._context
    decode = context.decode

    def interrupted(batch: Any, cancel: Any = None) -> np.ndarray:
        decode(batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(context, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(answer)
    monkeypatch.undo()
    assert tiny_model.generate("Once upon a time", **GREEDY) == whole


def test_an_empty_prompt(tiny_model: GritLM) -> None:
    with pytest.raises(UsageError, match="prompt is empty"):
        tiny_model.generate("")
