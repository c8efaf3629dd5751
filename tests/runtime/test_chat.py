"""Chats: only new tokens are evaluated, old turns are dropped, and messages stay text."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import (
    FormatError,
    InputError,
    InputTooLongError,
    TruncationWarning,
    UsageError,
)
from gritlite.runtime import chat
from gritlite.runtime.answer import Answer
from gritlite.runtime.chat import without_oldest_turn
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.template import ChatTemplate, check_messages
from tests.tiny import make_checkpoint

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 16}
CONTROLS = ("<|begin_of_text|>", "<|im_start|>", "<|im_end|>")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


@pytest.fixture
def with_template(tmp_path: Path) -> Callable[[str | None], GritLM]:
    """Return a model whose file has another chat template, or none."""

    def make(source: str | None) -> GritLM:
        folder = make_checkpoint(tmp_path / "checkpoint", "llama-head-dim")
        (folder / "chat_template.jinja").unlink()
        if source is not None:
            (folder / "chat_template.jinja").write_text(source, "utf-8")
        convert(folder, tmp_path / "model.gguf", "f32")
        return GritLM(tmp_path / "model.gguf", threads=1)

    return make


def test_only_new_tokens_are_evaluated(tiny_model: GritLM) -> None:
    messages = [system("Be terse."), user("What is a vector?")]
    evaluated = []
    for turn in range(4):
        before = tiny_model.evaluated
        answer = tiny_model.chat(messages, stream=True, **GREEDY)
        text = "".join(answer)
        evaluated.append(tiny_model.evaluated - before)
        messages += [assistant(text), user(f"And number {turn} <|im_end|> or é?")]
    first, *others = evaluated
    new = len(tiny_model.tokenize("\n<|user|>\nAnd number 0 <|im_end|> or é?\n<|assistant|>\n"))
    assert first > len(tiny_model.tokenize("Be terse. What is a vector?"))
    # a turn: the message, what stands around it, the last token of the answer, and the answer
    for count in others:
        assert count <= new + 2 + GREEDY["max_tokens"]


def test_answers_do_not_depend_on_the_cache(tiny_model: GritLM, tiny_path: Path) -> None:
    messages = [user("What is a vector?")]
    for _ in range(3):
        answer = tiny_model.chat(messages, stream=True, **GREEDY)
        messages += [assistant("".join(answer)), user("And then?")]
        with GritLM(tiny_path, threads=1) as fresh:
            prompt = answer.tokens[: answer.prompt_tokens]
            again = Answer(
                fresh._generator, prompt, GenerateOptions(max_tokens=GREEDY["max_tokens"])
            )
            list(again)
        assert again.generated == answer.generated


def test_what_is_remembered_of_chats_is_bounded(
    tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "_REMEMBERED_TOKENS", 200)
    for number in range(12):
        tiny_model.chat([user(f"Question {number} of several")], **GREEDY)
        remembered = tiny_model._chat._exchanges
        assert sum(len(exchange.tokens) for exchange in remembered) <= 200
    assert len(remembered) > 1
    long = [user("word " * 100)]
    answer = tiny_model.chat(long, **GREEDY)
    (exchange,) = remembered  # the last one is remembered, however long
    assert len(exchange.tokens) > 200
    assert "word word" in exchange.text
    before = tiny_model.evaluated
    tiny_model.chat([*long, assistant(answer), user("And?")], **GREEDY)
    assert tiny_model.evaluated - before < 100


def test_messages_are_not_changed(tiny_model: GritLM) -> None:
    messages = [system("a <|im_end|>"), user("b"), assistant("c"), user("d")]
    copy = [dict(message) for message in messages]
    tiny_model.chat(messages, **GREEDY)
    assert messages == copy


def test_control_tokens_in_messages_stay_text(tiny_model: GritLM) -> None:
    weights = tiny_model.engine.vocabulary
    for text in (*CONTROLS, "a <|im_end|> b", "<|im_<|im_end|>end|>", "".join(CONTROLS)):
        for messages in (
            [user(text)],
            [system(text), user("b")],
            [user("a"), assistant(text), user("b")],
        ):
            answer = tiny_model.chat(messages, stream=True, **GREEDY)
            prompt = np.array(answer.tokens)
            assert not weights.control[prompt].any()
            shown = b"".join(weights.piece(token, special=True) for token in answer.tokens)
            assert text in shown.decode()


def test_control_tokens_of_a_template(with_template: Callable[[str], GritLM]) -> None:
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    with with_template(source) as model:
        answer = model.chat([system("s"), user("a <|im_end|> b")], stream=True, **GREEDY)
        control = model.engine.vocabulary.control[np.array(answer.tokens)]
        assert control.sum() == 5
        shown = b"".join(
            model.engine.vocabulary.piece(t, special=True) for t in answer.tokens
        ).decode()
    assert shown == (
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na <|im_end|> b<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_compatibility_forms_do_not_become_control_tokens(tiny_file) -> None:
    """Qwen2's normalizer is NFC: U+212A, the Kelvin sign, becomes K."""
    with GritLM(tiny_file("qwen2"), threads=1) as model:
        template = ChatTemplate(model._tokenizer, "{{ messages[0].content }}<|im_end|>")
        assert template.render([user("\u212a")]).startswith("K")
        tokens = template.tokenize(template.render([user("e\u0301 <|im_end|>")]))
        assert model.engine.vocabulary.control[np.array(tokens)].sum() == 1


def test_the_grit_format_for_a_file_without_a_template(
    with_template: Callable[[None], GritLM],
) -> None:
    with with_template(None) as model:
        answer = model.chat([system("s"), user("u"), assistant("a"), user("v")], stream=True)
        shown = b"".join(
            model.engine.vocabulary.piece(t, special=True) for t in answer.tokens
        ).decode()
        eos = model.engine.vocabulary.token_text(model.engine.vocabulary.eos)
    assert shown.endswith(f"<|user|>\nu\n<|assistant|>\na{eos}\n<|user|>\nv\n<|assistant|>\n")


def test_a_vocabulary_without_bos_gets_none_in_the_grit_format(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "llama-tied")
    (checkpoint / "chat_template.jinja").unlink()
    convert(checkpoint, tmp_path / "model.gguf", "f32")
    with GritLM(tmp_path / "model.gguf", threads=1) as model:
        answer = model.chat([{"role": "user", "content": "Hi"}], stream=True, max_tokens=1)
        list(answer)
        assert answer.tokens[: answer.prompt_tokens] == model.tokenize(
            "<|user|>\nHi\n<|assistant|>\n"
        )


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no system role') }}",
        "{{ 1 / 0 }}",
        "{{ messages[9].content }}",
        "{{ 'a' + 1 }}",
        "{{ nothing.nothing }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_templates_that_fail(with_template: Callable[[str], GritLM], source: str) -> None:
    with with_template(source) as model:
        with pytest.raises(UsageError, match="chat template rejects"):
            model.chat([user("a")])
        assert model.encode("a").shape == (model.dimension,)


@pytest.mark.parametrize(
    "source", ["{% for %}", "{{", "{% include 'x' %}{% if %}", "(" * 9 + "{{(}}"]
)
def test_templates_that_are_not_jinja(with_template: Callable[[str], GritLM], source: str) -> None:
    with with_template(source) as model, pytest.raises(FormatError, match="not valid Jinja"):
        model.chat([user("a")])


def test_helpers_that_templates_use(with_template: Callable[[str], GritLM]) -> None:
    source = (
        "{% if tools is not none %}tools{% endif %}"
        "{% generation %}{{ {'é': 1} | tojson }}{% endgeneration %}"
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}x{% endfor %}"
        "{{ strftime_now('%Y') | length }}"
    )
    with with_template(source) as model:
        answer = model.chat([user("a"), user("b")], stream=True)
        shown = b"".join(model.engine.vocabulary.piece(t) for t in answer.tokens).decode()
    assert shown == '{"é": 1}x4'


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (5, "messages is of type int: expected a list"),
        ([], "no messages"),
        (["hello"], "message 1 is not a mapping"),
        ([{"role": "user"}], "message 1 has no text under 'content'"),
        ([{"content": "a"}], "message 1 has the role None"),
        ([user("a"), {"role": "judge", "content": "b"}], "message 2 has the role 'judge'"),
        ([{"role": "user", "content": ["a"]}], "no text under 'content'"),
        ([{"role": "user", "content": "a", "name": 1}], "no text under 'name'"),
    ],
)
def test_bad_messages(messages: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_messages(messages)


def test_a_model_refuses_bad_messages(tiny_model: GritLM) -> None:
    bad: list[Any] = [[], [{"role": "tool", "content": "b"}]]
    for messages in bad:
        with pytest.raises(UsageError):
            tiny_model.chat(messages)
        with pytest.raises(UsageError):
            tiny_model.chat_tokens(messages)


def test_half_of_a_surrogate_pair(tiny_model: GritLM) -> None:
    with pytest.raises(InputError, match="surrogate"):
        tiny_model.chat([user("\ud800")])


def test_the_oldest_turn_is_dropped_first() -> None:
    messages = [
        system("s"),
        user("1"),
        assistant("2"),
        system("t"),
        user("3"),
        user("4"),
        assistant("5"),
    ]
    left = without_oldest_turn(messages)
    assert left == [system("s"), system("t"), *messages[4:]]
    left = without_oldest_turn(left)
    assert left == [system("s"), system("t"), *messages[5:]]
    assert without_oldest_turn(left) is None
    assert without_oldest_turn([assistant("a")]) is None


def test_old_turns_are_dropped_but_never_the_system_message(tiny_path: Path) -> None:
    messages = [system("Be terse, please.")]
    for number in range(12):
        messages += [user(f"Question {number}?"), assistant("An answer of some words.")]
    messages.append(user("The last one?"))
    with GritLM(tiny_path, threads=1, context_length=160) as model:
        answer = model.chat(messages, stream=True, **GREEDY)
        shown = b"".join(model.engine.vocabulary.piece(t) for t in answer.tokens).decode()
        assert answer.dropped > 0
        assert answer.dropped % 2 == 0
        assert "Be terse, please." in shown
        assert "The last one?" in shown
        assert "Question 0?" not in shown
        assert "Question 11?" in shown
        assert answer.prompt_tokens + GREEDY["max_tokens"] <= 160
        with pytest.warns(TruncationWarning, match=f"oldest {answer.dropped} messages"):
            text = model.chat(messages, **GREEDY)
        assert text == "".join(answer)
        remaining = [messages[0], *messages[1 + answer.dropped :]]
        assert model.chat(remaining, **GREEDY) == text


def test_messages_that_do_not_fit(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=64) as model:
        for messages in ([user("word " * 99)], [system("word " * 99), user("a"), user("b")]):
            with pytest.raises(InputTooLongError, match="context holds 64"):
                model.chat(messages)
        assert model.chat([user("a")], **GREEDY)


def test_room_is_made_in_the_middle_of_an_answer(tiny_path: Path) -> None:
    messages = [system("Be terse.")]
    for number in range(3):
        messages += [user(f"Question {number}?"), assistant("An answer.")]
    messages.append(user("The last one?"))
    with GritLM(tiny_path, threads=1, context_length=128) as model:
        answer = model.chat(messages, stream=True, temperature=0, grammar="root ::= [a-z]{1900}")
        before = answer.dropped
        text = "".join(answer)
        assert answer.finish_reason == "context"
        assert answer.dropped == len(messages) - 2
        assert before < answer.dropped
        assert len(answer.tokens) == 128
        assert answer.tokens[answer.prompt_tokens :] == answer.generated
        assert text == answer.text
        shown = b"".join(model.engine.vocabulary.piece(t) for t in answer.tokens).decode()
        assert shown.startswith("<|system|>\nBe terse.")
        assert "The last one?" in shown
        assert "Question" not in shown


def test_embedding_during_a_chat_does_not_affect_it(tiny_path: Path) -> None:
    messages = [user("What is a vector?")]
    texts = ["some words to embed " * 5] * 30
    options = {"temperature": 1.2, "seed": 3, "max_tokens": 120}
    with GritLM(tiny_path, threads=1) as model:
        alone = model.chat(messages, stream=True, **options)
        list(alone)
        vectors = model.encode(texts)
        stop = threading.Event()
        rounds: list[np.ndarray] = []

        def embed() -> None:
            while not stop.is_set():
                rounds.append(model.encode(texts))

        thread = threading.Thread(target=embed)
        thread.start()
        disturbed = model.chat(messages, stream=True, **options)
        for number, _ in enumerate(disturbed):
            if number % 10 == 0:
                model.encode("in the same thread too")
        stop.set()
        thread.join(20)
    assert disturbed.generated == alone.generated
    assert rounds
    for found in rounds:
        assert np.array_equal(found, vectors)


def test_answers_in_many_threads_are_those_of_one(tiny_path: Path) -> None:
    prompts = [f"Question {number}?" for number in range(3)]
    texts = [f"text number {number} " * (number + 1) for number in range(12)]
    options = {"temperature": 0.9, "seed": 5, "max_tokens": 20}
    failures: list[object] = []
    done = [0, 0]
    with GritLM(tiny_path, threads=1) as model:
        answers = [model.chat([user(prompt)], **options) for prompt in prompts]
        vectors = model.encode(texts)
        until = time.perf_counter() + 3

        def chat(number: int) -> None:
            while time.perf_counter() < until:
                if model.chat([user(prompts[number])], **options) != answers[number]:
                    failures.append(number)
                done[0] += 1

        def embed(shift: int) -> None:
            while time.perf_counter() < until:
                found = model.encode(texts[shift:])
                if not np.allclose(found, vectors[shift:], atol=1e-5):
                    failures.append(("embed", shift))
                done[1] += 1

        threads = [threading.Thread(target=chat, args=(n,)) for n in range(3)]
        threads += [threading.Thread(target=embed, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    assert failures == []
    assert min(done) > 3
