"""Document states: complete, restored at their positions, never from another model."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import (
    ClosedError,
    EmptyTextError,
    FormatError,
    InputTooLongError,
    UsageError,
)
from gritlite.prompt import EmbedFormat, cached_question
from gritlite.runtime.answer import Answer
from gritlite.runtime.embed import EmbedOptions
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.llama import Batch, Context, ContextOptions
from gritlite.runtime.llama.decoder import LlamaDecoder
from gritlite.runtime.llama.library import C
from gritlite.runtime.llama.sequence_state import read_sequence
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.state import DocumentState
from tests.tiny import make_checkpoint

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}
DOCUMENT = "The inn was founded by Ada Brown in 1850. It stands on a hill and has nine rooms. "
QUESTIONS = ("Who founded it?", "When?", "Who founded it, and why there?")
CASES = ("llama-head-dim", "mistral", "qwen2", "mixtral")


@pytest.fixture
def causal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make files declare causal embedding."""
    causal_format = EmbedFormat(attention="causal")
    monkeypatch.setattr(EmbedFormat, "from_metadata", lambda _: causal_format)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def document_ids(model: GritLM, text: str) -> list[int]:
    ((whole,),) = model._embedder.pieces([text], EmbedOptions())
    return [int(token) for token in whole.ids]


@pytest.mark.usefixtures("causal")
@pytest.mark.parametrize("case", CASES)
def test_a_causal_state_answers_like_a_full_prefill(
    tiny_file: Callable[..., Path], case: str
) -> None:
    with GritLM(tiny_file(case), threads=1) as model:
        document = model.document_state(DOCUMENT)
        assert document.attention == "causal"
        before = document_ids(model, DOCUMENT)
        assert document.tokens == len(before)
        for question in QUESTIONS:
            answer = model.generate(question, stream=True, document=document, **GREEDY)
            list(answer)
            options = GenerateOptions(max_tokens=GREEDY["max_tokens"])
            prefilled = Answer(
                model._generator, before + answer.tokens[: answer.prompt_tokens], options
            )
            list(prefilled)
            assert prefilled.generated == answer.generated
            assert answer.tokens[answer.prompt_tokens :] == answer.generated


@pytest.mark.parametrize("case", CASES)
def test_a_pass_that_ends_early_has_written_all_keys_and_values(
    tiny_file: Callable[..., Path], case: str
) -> None:
    """The state equals that of a pass that continues to the logits."""
    with GritLM(tiny_file(case), threads=1) as model:
        state = model.document_state(DOCUMENT)
        ids = np.array(document_ids(model, DOCUMENT), np.int32)
        options = ContextOptions(n_ctx=2048, n_batch=512, threads=1, causal=False, all_logits=True)
        n = len(ids)
        places = np.arange(n, dtype=np.int32)
        with Context(model.engine.weights, options) as context:
            context.decode(Batch(ids, places, np.zeros(n, np.int32), np.ones(n, np.bool_)))
            saved = read_sequence(context.save(0), model.engine.weights.head_dims)
            assert saved == state.key_values


def test_bidirectional_is_not_causal(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with GritLM(tiny_path, threads=1) as model:
        state = model.document_state(DOCUMENT)
        assert state.attention == "bidirectional"
        seen = logits_after(model, state)
    causal_format = EmbedFormat(attention="causal")
    monkeypatch.setattr(EmbedFormat, "from_metadata", lambda _: causal_format)
    with GritLM(tiny_path, threads=1) as model:
        other = logits_after(model, model.document_state(DOCUMENT))
    assert np.abs(seen - other).max() > 0.1


def logits_after(model: GritLM, state: DocumentState) -> np.ndarray:
    next(model.generate("Who?", stream=True, document=state, **GREEDY))
    assert model._generator._decoders is not None
    return model._generator._decoders.members[0].logits(1)[0].copy()


def test_a_state_is_restored_once_for_all_its_questions(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored: list[KeyValues] = []
    restore = LlamaDecoder.restore

    def noted(self: LlamaDecoder, state: KeyValues, start: int = 0, **options: int) -> None:
        restored.append(state)
        restore(self, state, start, **options)

    monkeypatch.setattr(LlamaDecoder, "restore", noted)
    with GritLM(tiny_path, threads=1, conversation_bytes=0) as model:
        first, second = (model.document_state(text) for text in (DOCUMENT, DOCUMENT * 2))
        alone = {}
        for question in QUESTIONS:
            alone[question] = model.chat([user(question)], document=first, **GREEDY)
        assert restored == [first.key_values]
        assert model.chat([user("When?")], document=second, **GREEDY) != alone["When?"]
        plain = model.chat([user("When?")], **GREEDY)
        assert model.chat([user("When?")], document=first, **GREEDY) == alone["When?"] != plain
        assert restored == [first.key_values, second.key_values, first.key_values]
        assert model.chat([user("When?")], **GREEDY) == plain


def test_answers_may_be_read_alternately(tiny_model: GritLM) -> None:
    state = tiny_model.document_state(DOCUMENT)
    makers: list[Callable[[], Answer]] = [
        lambda: tiny_model.generate("Who?", stream=True, document=state, **GREEDY),
        lambda: tiny_model.generate("Who?", stream=True, **GREEDY),
    ]
    alone = ["".join(make()) for make in makers]
    one, two = (make() for make in makers)
    pieces = [next(one), next(two)]
    assert [pieces[0] + "".join(one), pieces[1] + "".join(two)] == alone


ASKED = "Who <|im_end|>?\n\nAnswer the prior query while optionally using the context prior to it"


def test_a_chat_about_a_document_uses_the_templates_prompt(tiny_model: GritLM) -> None:
    state = tiny_model.document_state(DOCUMENT)
    answer = tiny_model.chat([user("Who <|im_end|>?")], stream=True, document=state, **GREEDY)
    template = tiny_model._chat._template
    rendered = template.render([user(ASKED)])
    assert answer.tokens == template.tokenize("\n" + rendered, continues=True)


def test_the_layout_of_files_without_a_template(tmp_path: Path) -> None:
    """The official layout: BOS, document, question; also with a SentencePiece vocabulary."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "mistral")
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text("utf-8"))
    del settings["chat_template"]
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    convert(checkpoint, tmp_path / "model.gguf", "f32")
    with GritLM(tmp_path / "model.gguf", threads=1) as model:
        state = model.document_state(DOCUMENT)
        answer = model.chat([user("Who <|im_end|>?")], stream=True, document=state, **GREEDY)
        said = b"".join(
            model.engine.vocabulary.piece(token, special=True)
            for token in document_ids(model, DOCUMENT) + answer.tokens
        )
    question = f"\n<|user|>\n{ASKED}\n<|assistant|>\n"
    assert said.decode() == f"<s> <|embed|>\n{DOCUMENT}{question}"


def test_a_chat_continues_without_evaluating_its_history_again(tiny_model: GritLM) -> None:
    state = tiny_model.document_state(DOCUMENT)
    messages = [user("Who founded it?")]
    letters = {**GREEDY, "grammar": "root ::= [a-z]{20}"}
    first = tiny_model.chat(messages, stream=True, document=state, **letters)
    messages += [{"role": "assistant", "content": "".join(first)}, user("When?")]
    before = tiny_model.evaluated
    second = tiny_model.chat(messages, stream=True, document=state, **GREEDY)
    list(second)
    assert second.tokens[: len(first.tokens)] == first.tokens
    new = second.prompt_tokens - len(first.tokens) + 1
    assert tiny_model.evaluated - before == new + len(second.generated) - 1


def test_a_plain_chat_and_one_about_a_document_do_not_share_tokens(tiny_model: GritLM) -> None:
    state = tiny_model.document_state(DOCUMENT)
    fresh = tiny_model.chat([user("When?")], stream=True, **GREEDY).tokens
    list(tiny_model.chat([user("When?")], stream=True, document=state, **GREEDY))
    assert tiny_model.chat([user("When?")], stream=True, **GREEDY).tokens == fresh


def test_old_turns_are_dropped_after_a_document(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=400) as model:
        state = model.document_state(DOCUMENT)
        messages = [user("Who founded it? " * 5), {"role": "assistant", "content": "Ada. " * 9}]
        messages = [*messages * 3, user("When?")]
        answer = model.chat(messages, stream=True, document=state, temperature=0)
        list(answer)
        assert answer.dropped >= 2
        assert len(answer.tokens) + state.tokens <= 400


def test_the_end_of_the_context(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=128) as model:
        state = model.document_state(DOCUMENT)
        answer = model.generate("Who?", stream=True, document=state, temperature=0)
        list(answer)
        assert answer.finish_reason in ("context", "stop")
        assert len(answer.tokens) + state.tokens <= 128
        long = model.document_state(DOCUMENT * 3)
        assert long.tokens > 128
        message = f"the context holds 128 and the document takes {long.tokens}"
        with pytest.raises(InputTooLongError, match=message):
            model.generate("Who?", document=long)
        with pytest.raises(InputTooLongError, match=message):
            model.chat([user("Who?")], document=long)


def test_states_of_other_models_are_refused(
    tiny_model: GritLM, tiny_file: Callable[..., Path]
) -> None:
    same_shape = tiny_file("llama-head-dim", seed=1)
    with GritLM(same_shape, threads=1) as other:
        state = other.document_state(DOCUMENT)
        assert state.key_values.nbytes == tiny_model.document_state(DOCUMENT).key_values.nbytes
    for ask in (
        tiny_model.generate,
        lambda text, **options: tiny_model.chat([user(text)], **options),
    ):
        with pytest.raises(UsageError, match="the document state was not made by"):
            ask("Who?", document=state)


def test_states_outlive_their_model(tiny_path: Path, tmp_path: Path) -> None:
    with GritLM(tiny_path, threads=1) as model:
        state = model.document_state(DOCUMENT)
        expected = model.chat([user("Who?")], document=state, **GREEDY)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(tiny_path.read_bytes())
    with GritLM(copy, threads=1, context_length=200) as model:
        assert model.chat([user("Who?")], document=state, **GREEDY) == expected


def fewer_layers(state: KeyValues) -> KeyValues:
    return KeyValues(state.keys[:-1], state.values[:-1])


def smaller_heads(state: KeyValues) -> KeyValues:
    return KeyValues(tuple(keys[..., :8] for keys in state.keys), state.values)


def fewer_values(state: KeyValues) -> KeyValues:
    return KeyValues(state.keys, tuple(values[:-1] for values in state.values))


def other_numbers(state: KeyValues) -> KeyValues:
    return KeyValues(tuple(keys.astype(np.float32) for keys in state.keys), state.values)


def no_tokens(state: KeyValues) -> KeyValues:
    return state.without_first(state.tokens)


def no_layers(_state: KeyValues) -> KeyValues:
    return KeyValues((), ())


DAMAGES = [fewer_layers, smaller_heads, fewer_values, other_numbers, no_tokens, no_layers]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state(tiny_model: GritLM, damage: Callable[[KeyValues], KeyValues]) -> None:
    plain = tiny_model.generate("Who?", **GREEDY)
    state = tiny_model.document_state(DOCUMENT)
    damaged = dataclasses.replace(state, key_values=damage(state.key_values))
    with pytest.raises(FormatError, match=r"(llama\.cpp rejects a|the) key-value state"):
        tiny_model.generate("Who?", document=damaged, **GREEDY)
    assert tiny_model.generate("Who?", **GREEDY) == plain
    intact = tiny_model.generate("Who?", document=state, **GREEDY)
    assert tiny_model.generate("Who?", document=state, **GREEDY) == intact


def test_equal_states_are_one_key_of_a_dictionary(tiny_model: GritLM) -> None:
    states = [tiny_model.document_state(text) for text in (DOCUMENT, DOCUMENT, SECOND)]
    assert len(set(states)) == 2
    joined = [tiny_model.join_states([states[i], states[2]]) for i in (0, 1)]
    assert len(set(joined)) == 1


def test_texts_without_a_state(tiny_model: GritLM) -> None:
    with pytest.raises(EmptyTextError):
        tiny_model.document_state("")
    with pytest.raises(InputTooLongError):
        tiny_model.document_state(DOCUMENT * 40)
    tiny_model.close()
    with pytest.raises(ClosedError):
        tiny_model.document_state(DOCUMENT)


def test_the_repr_of_a_state(tiny_model: GritLM) -> None:
    state = tiny_model.document_state(DOCUMENT)
    shown = repr(state)
    assert ", bidirectional," in shown
    assert len(shown) < 200
    # keys and values of 2 layers, 2 heads of 32 numbers, in f16
    arrays = (*state.key_values.keys, *state.key_values.values)
    assert [array.shape for array in arrays] == [(state.tokens, 2, 32)] * 4
    assert state.key_values.nbytes == state.tokens * 2 * 2 * 2 * 32 * 2


SECOND = "Boats leave the harbour at noon, and the red ferry leaves at one. "


@pytest.mark.parametrize("case", ["llama-head-dim", "qwen2", "mistral"])
def test_joined_states_equal_those_computed_at_their_positions(
    tiny_file: Callable[..., Path], case: str
) -> None:
    with GritLM(tiny_file(case), threads=1) as model:
        state = model.join_states([model.document_state(t) for t in (DOCUMENT, SECOND, DOCUMENT)])
        found = logits_after(model, state)
        bos = int(model.bos is not None)
        question = model._tokenizer.plain("Who?", continues=True).tolist()
        options = ContextOptions(n_ctx=2048, n_batch=512, threads=1, n_seq_max=3, causal=False)
        with Context(model.engine.weights, options) as context:
            end = 0
            for number, text in enumerate((DOCUMENT, SECOND, DOCUMENT)):
                ids = document_ids(model, text)
                first = end - (bos if number else 0)
                decode(context, ids, first, number)
                if number:
                    context.remove(number, first, first + bos)
                    context.join(number, 0)
                end = first + len(ids)
            assert end == state.tokens
            C.llama_set_causal_attn(context.pointer, True)
            decode(context, question, end, 0)
            wanted = context.logits(1)[0].copy()
        assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
        alone = logits_after(model, model.document_state(DOCUMENT))
        assert np.abs(found - alone).max() > 0.05 * np.abs(wanted).max()


def decode(context: Context, ids: list[int], first: int, sequence: int) -> None:
    n = len(ids)
    places = np.arange(first, first + n, dtype=np.int32)
    outputs = np.arange(n) == n - 1
    context.decode(Batch(np.array(ids), places, np.full(n, sequence, np.int32), outputs))


def test_joined_states_are_ordered_and_a_single_one_is_unchanged(
    tiny_model: GritLM,
) -> None:
    one, two = (tiny_model.document_state(text) for text in (DOCUMENT, SECOND))
    assert tiny_model.join_states([one]) is one
    there = logits_after(tiny_model, tiny_model.join_states([one, two]))
    back = logits_after(tiny_model, tiny_model.join_states([two, one]))
    assert np.abs(there - back).max() > 1e-3
    assert np.array_equal(there, logits_after(tiny_model, tiny_model.join_states([one, two])))


def test_joined_states_and_their_question_must_fit(tiny_file: Callable[..., Path]) -> None:
    with GritLM(tiny_file("mistral"), threads=1, context_length=128) as model:
        state = model.document_state(DOCUMENT)
        both = model.join_states([state, state])
        assert both.tokens == 2 * state.tokens - 1
        with pytest.raises(InputTooLongError, match=f"the document takes {both.tokens}"):
            model.generate("Who?", document=both)


def test_states_that_cannot_be_joined(tiny_model: GritLM, tiny_file: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="no document states"):
        tiny_model.join_states([])
    with GritLM(tiny_file("qwen2"), threads=1) as other:
        state = other.document_state(DOCUMENT)
    with pytest.raises(UsageError, match="made by different models"):
        tiny_model.join_states([tiny_model.document_state(DOCUMENT), state])


def test_states_come_with_vectors(tiny_model: GritLM) -> None:
    texts = [DOCUMENT, SECOND, "Who?"] * 80
    states: dict[int, DocumentState] = {}
    parts = list(tiny_model.encode_stream(texts, keep=states.__setitem__))
    assert len(parts) > 1
    assert np.array_equal(np.concatenate(parts), tiny_model.encode(texts, max_length=None))
    assert sorted(states) == list(range(240))
    alone = tiny_model.generate("Who?", document=tiny_model.document_state(SECOND), **GREEDY)
    for number in (1, 238):
        assert tiny_model.generate("Who?", document=states[number], **GREEDY) == alone
    with pytest.raises(UsageError, match="no single state"):
        tiny_model.encode_stream(texts, keep=states.__setitem__, too_long="chunk")


@pytest.mark.parametrize("case", CASES)
def test_a_prefix_state_answers_like_the_whole_message(
    tiny_file: Callable[..., Path], case: str
) -> None:
    with GritLM(tiny_file(case), threads=1) as model:
        state = model.prefix_state(DOCUMENT)
        assert (state.attention, state.opens_message) == ("causal", True)
        for question in QUESTIONS:
            answer = model.chat([user(question)], stream=True, document=state, **GREEDY)
            list(answer)
            asked = f"{DOCUMENT}\n\n{cached_question(question)}"
            whole = model.chat([user(asked)], stream=True, **GREEDY)
            list(whole)
            assert whole.prompt_tokens == state.tokens + answer.prompt_tokens
            assert (
                whole.tokens[state.tokens : whole.prompt_tokens]
                == answer.tokens[: answer.prompt_tokens]
            )
            assert whole.generated == answer.generated


def test_a_prefix_state_continues_for_many_turns(tiny_model: GritLM) -> None:
    state = tiny_model.prefix_state(DOCUMENT)
    messages = [user("Who founded it?")]
    letters = {**GREEDY, "grammar": "root ::= [a-z]{20}"}
    first = tiny_model.chat(messages, stream=True, document=state, **letters)
    messages += [{"role": "assistant", "content": "".join(first)}, user("When?")]
    second = tiny_model.chat(messages, stream=True, document=state, **GREEDY)
    list(second)
    assert second.tokens[: len(first.tokens)] == first.tokens


def test_joined_prefix_states_share_the_first_head(tiny_model: GritLM) -> None:
    one, two = (tiny_model.prefix_state(text) for text in (DOCUMENT, SECOND))
    assert one.head == two.head > 1
    both = tiny_model.join_states([one, two])
    assert both.tokens == one.tokens + two.tokens - one.head
    answer = tiny_model.chat([user("Who?")], stream=True, document=both, **GREEDY)
    list(answer)
    assert answer.finish_reason in ("stop", "length")


@pytest.mark.parametrize("case", ["llama-head-dim", "qwen2", "mistral"])
def test_recomputed_prefix_states_answer_like_a_full_prefill(
    tiny_file: Callable[..., Path], case: str
) -> None:
    texts = (DOCUMENT.strip(), SECOND.strip(), DOCUMENT.strip())
    with GritLM(tiny_file(case), threads=1) as model:
        states = [model.prefix_state(text) for text in texts]
        state = model.join_states(states, recompute=10_000)
        before = model.evaluated
        answer = model.chat([user("Who?")], stream=True, document=state, **GREEDY)
        list(answer)
        recomputed = state.tokens - states[0].tokens
        new = answer.prompt_tokens + len(answer.generated) - (answer.finish_reason == "length")
        assert model.evaluated - before == recomputed + new
        asked = "\n\n".join([*texts, cached_question("Who?")])
        whole = model.chat([user(asked)], stream=True, **GREEDY)
        list(whole)
        assert whole.prompt_tokens == state.tokens + answer.prompt_tokens
        assert whole.generated == answer.generated


@pytest.mark.parametrize("causally", [True, False])
@pytest.mark.parametrize("recompute", [0, 8, 10_000])
def test_recomputed_tokens_attend_to_the_documents_before(
    tiny_model: GritLM, causally: bool, recompute: int
) -> None:
    """Compared with a context in which the test runs the same passes."""
    make = tiny_model.prefix_state if causally else tiny_model.document_state
    one, two = make(DOCUMENT), make(SECOND)
    found = logits_after(tiny_model, tiny_model.join_states([one, two], recompute=recompute))
    left_out = one.head if causally else int(tiny_model.bos is not None)
    first = one.tokens - left_out  # where the second would begin
    recomputed = list(two.ids[left_out:][:recompute])
    question = tiny_model._tokenizer.plain("Who?", continues=True).tolist()
    options = ContextOptions(n_ctx=2048, n_batch=512, threads=1, n_seq_max=2, causal=causally)
    with Context(tiny_model.engine.weights, options) as context:
        decode(context, list(one.ids), 0, 0)
        if recomputed:
            decode(context, recomputed, one.tokens, 0)
        decode(context, list(two.ids), first, 1)
        context.remove(1, first, one.tokens + len(recomputed))
        context.join(1, 0)
        C.llama_set_causal_attn(context.pointer, True)
        decode(context, question, one.tokens + two.tokens - left_out, 0)
        wanted = context.logits(1)[0].copy()
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    if recompute:
        plain = logits_after(tiny_model, tiny_model.join_states([one, two]))
        assert np.abs(found - plain).max() > 2 * np.abs(found - wanted).max()


@pytest.mark.parametrize("recompute", [0, 10, 10_000])
def test_joined_states_need_no_extra_room(tiny_path: Path, recompute: int) -> None:
    """The prefix states fill the context, without room for the heads of all but the first."""
    with GritLM(tiny_path, threads=1, context_length=512) as model:
        states = [model.prefix_state(DOCUMENT)]
        while (joined := model.join_states(states, recompute=recompute)).tokens < 505:
            room = 510 - joined.tokens
            texts = [DOCUMENT, *("red " * n for n in range(60, 0, -1))]
            fitting = (t for t in texts if len(model.prefix_tokens(t)) - states[0].head <= room)
            states.append(model.prefix_state(next(fitting)))
        assert 512 - joined.tokens < states[0].head
        answer = model.generate("a", stream=True, document=joined, temperature=0)
        list(answer)
        assert answer.finish_reason in ("stop", "context")


def test_a_restore_closed_half_way_leaves_an_empty_cache(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=512) as model:
        plain = model.generate("Who founded the inn?", **GREEDY)
        states = [model.prefix_state(text) for text in (DOCUMENT, SECOND)]
        joined = model.join_states(states, recompute=10_000)
        answer = model.chat([user("Who?")], stream=True, document=joined, **GREEDY)
        assert model._generator._decoders is not None
        context = model._generator._decoders.members[0]._context  # type: ignore[attr-defined]
        decode = context.decode

        def interrupted(_batch: Batch, _cancel: object = None) -> None:
            answer.cancel()
            decode(_batch)

        context.decode = interrupted
        assert list(answer) == []
        assert answer.finish_reason == "cancelled"
        context.decode = decode
        for sequence in (0, 1):
            assert C.llama_memory_seq_pos_max(context._memory, sequence) == -1
        assert model.generate("Who founded the inn?", **GREEDY) == plain


def test_a_negative_number_of_tokens_to_recompute(tiny_model: GritLM) -> None:
    with pytest.raises(UsageError, match="recompute is -1"):
        tiny_model.join_states([tiny_model.document_state(DOCUMENT)], recompute=-1)


def test_states_of_two_kinds_and_messages_before_a_prefix_state(tiny_model: GritLM) -> None:
    prefix_state = tiny_model.prefix_state(DOCUMENT)
    with pytest.raises(UsageError, match="of different kinds"):
        tiny_model.join_states([prefix_state, tiny_model.document_state(DOCUMENT)])
    with pytest.raises(UsageError, match="no message can come before it"):
        tiny_model.chat([{"role": "system", "content": "Hi."}, user("Who?")], document=prefix_state)
    with pytest.raises(EmptyTextError):
        tiny_model.prefix_state("")


def test_a_prefix_state_that_does_not_fit_the_context(tiny_path: Path) -> None:
    with (
        GritLM(tiny_path, threads=1, context_length=64) as model,
        pytest.raises(InputTooLongError, match="but the context holds 64"),
    ):
        model.prefix_state(DOCUMENT)


def test_a_wording_without_the_question_is_refused(tiny_model: GritLM) -> None:
    state = tiny_model.document_state(DOCUMENT)
    with pytest.raises(UsageError, match=r"'Say it\.' has no place for the question: add"):
        tiny_model.chat([user("Who?")], document=state, wording="Say it.")


def test_another_wording(tiny_model: GritLM) -> None:
    state = tiny_model.document_state(DOCUMENT)
    answer = tiny_model.chat(
        [user("Who?")], stream=True, document=state, wording="Say: {question}!", **GREEDY
    )
    template = tiny_model._chat._template
    rendered = template.render([user("Say: Who?!")])
    assert answer.tokens == template.tokenize("\n" + rendered, continues=True)
