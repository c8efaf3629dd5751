"""Answers from a store: what each layout reads, where states come from, and the errors."""

import pytest

from gritlite import GritLM, InputTooLongError, UsageError
from gritlite.convert import convert
from gritlite.prompt import cached_question
from gritlite.rag import min_scores
from gritlite.rag.answer import NO_ANSWER
from gritlite.rag.layouts import LAYOUTS, Prompt, PromptParts, prompt
from gritlite.rag.store import Store
from tests.rag.documents import notes
from tests.tiny import make_checkpoint

QUESTION = "Who founded the inn?"
SHORT = {"max_tokens": 6, "stream": True}


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A file without a chat template, so with GritLM's own format."""
    folder = tmp_path_factory.mktemp("official")
    checkpoint = make_checkpoint(folder / "checkpoint", "mistral")
    (checkpoint / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    convert(checkpoint, folder / "model.gguf", "f32")
    return folder / "model.gguf"


@pytest.fixture
def folder(tmp_path):
    return notes(tmp_path / "notes")


def opened(tmp_path, model, folder, **options):
    store = Store.open(tmp_path / "a.grit", model, **options)
    store.add(folder)
    return store


def read_by(model, answer):
    """The tokens of the state before the prompt, and the prompt as text."""
    document = answer.answer.document
    tokens = answer.answer.tokens[: answer.answer.prompt_tokens]
    said = b"".join(model.engine.vocabulary.piece(token, special=True) for token in tokens).decode()
    return (document.tokens if document else 0), said


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (
            "query-then-document",
            "<s> <|user|>\n{q}\n\n{d}\n\nOptionally using the prior context answer the query "
            "prior to it\n<|assistant|>\n",
        ),
        (
            "document-then-query",
            "<s> <|user|>\n{d}\n\n{q}\n\nAnswer the prior query while optionally using the "
            "context prior to it\n<|assistant|>\n",
        ),
        (
            "query",
            "\n<|user|>\n{d}\n\nOptionally using the prior context answer the query prior to it\n"
            "<|assistant|>\n",
        ),
        (
            "doc",
            "\n<|user|>\n{q}\n\nAnswer the prior query while optionally using the context prior "
            "to it\n<|assistant|>\n",
        ),
        (
            "query-doc",
            "\n<|user|>\nOptionally using the prior context answer the query prior to it\n"
            "<|assistant|>\n",
        ),
        (
            "doc-query",
            "\n<|user|>\nAnswer the prior query while optionally using the context prior to it\n"
            "<|assistant|>\n",
        ),
    ],
)
def test_the_official_layouts(official, tmp_path, folder, layout, said):
    """The official rag/eval.py: FULL_FORMAT_NO_EMBED, its _DOC, and CACHE_FORMAT_*."""
    with GritLM(official, threads=1) as model, opened(tmp_path, model, folder) as store:
        answer = store.ask(QUESTION, 1, layout=layout, mode="words", **SHORT)
        (passage,) = answer.passages
        cells, found = read_by(model, answer)
        assert found == said.replace("{q}", QUESTION).replace("{d}", passage.embedded)
        query = len(model.embed_tokens(QUESTION)[0])
        document = len(model.embed_tokens(passage.embedded)[0])
        assert cells == {
            "query": query,
            "doc": document,
            "query-doc": query + document - 1,
            "doc-query": query + document - 1,
        }.get(layout, 0)
        answer.close()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_answers(tmp_path, tiny_model, folder, layout):
    with opened(tmp_path, tiny_model, folder) as store:
        with store.ask(QUESTION, 3, layout=layout, **SHORT) as answer:
            text = "".join(answer)
        assert answer.text == text
        assert len(answer.passages) == 3
        assert 0 < answer.timings.found <= answer.timings.prepared <= answer.timings.ended
        uses_states = layout in ("doc", "query-doc", "doc-query", "exact")
        assert (answer.states_loaded, answer.states_computed) == (0, 3 if uses_states else 0)


@pytest.mark.parametrize("layout", ["document-then-query", "query-then-document"])
def test_the_best_passage_is_read_last(tmp_path, tiny_model, folder, layout):
    with opened(tmp_path, tiny_model, folder) as store:
        wanted = store.search(QUESTION, 3)
        with store.ask(QUESTION, 3, layout=layout, **SHORT) as answer:
            assert answer.passages == wanted
            _, said = read_by(tiny_model, answer)
        places = [said.index(passage.embedded) for passage in wanted]
    assert places == sorted(places, reverse=True)


def test_an_answer_is_whole_unless_it_is_streamed(tmp_path, tiny_model, folder):
    with opened(tmp_path, tiny_model, folder) as store:
        whole = store.ask(QUESTION, max_tokens=6)
        assert whole.finish_reason is not None
        assert whole.timings.ended is not None
        streamed = store.ask(QUESTION, max_tokens=6, stream=True)
        assert (streamed.text, streamed.finish_reason) == ("", None)
        assert "".join(streamed) == streamed.read() == whole.text


def test_exact_answers_as_a_full_prefill(tmp_path, tiny_model, folder):
    with opened(tmp_path, tiny_model, folder) as store:
        for question in (QUESTION, "What colour is the ferry?", " Where do cats live?\n"):
            answers = [
                store.ask(question, 1, layout=layout, max_tokens=12)
                for layout in ("exact", "document-then-query")
            ]
            assert answers[0].text == answers[1].text
            assert answers[0].answer.generated == answers[1].answer.generated


@pytest.mark.parametrize("layout", ["doc", "exact"])
def test_states_are_loaded_where_they_are_stored(tmp_path, tiny_model, folder, layout):
    with opened(tmp_path, tiny_model, folder, states="f16") as store:
        counts, texts = [], []
        for _ in range(2):
            answer = store.ask(QUESTION, 2, layout=layout, **SHORT)
            texts.append("".join(answer))
            counts.append((answer.states_loaded, answer.states_computed))
        # those of embedding passes were kept by the passes; openings from the first question on
        assert counts == [(2, 0) if layout == "doc" else (0, 2), (2, 0)]
        for path in (tmp_path / "a.grit.states").rglob("*.kv"):
            path.write_bytes(path.read_bytes()[:-1])
        answer = store.ask(QUESTION, 2, layout=layout, **SHORT)
        texts.append("".join(answer))
        assert (answer.states_loaded, answer.states_computed) == (0, 2)
        assert len(set(texts)) == 1
        again = store.ask(QUESTION, 2, layout=layout, **SHORT)
        assert again.states_loaded == 2
        again.close()


def test_a_state_that_cannot_be_kept_is_no_error(tmp_path, tiny_model, folder):
    with opened(tmp_path, tiny_model, folder, states="q8_0") as store:
        (tmp_path / "a.grit.states").rename(tmp_path / "away")
        (tmp_path / "a.grit.states").write_text("a file in place of the folder")
        answer = store.ask(QUESTION, 2, layout="doc", **SHORT)
        assert (answer.states_loaded, answer.states_computed) == (0, 2)
        "".join(answer)


def test_the_states_of_an_answer_make_room_for_each_other(tmp_path, tiny_model, folder):
    with opened(tmp_path, tiny_model, folder, states="f16") as store:
        whole = store._states.files.usage().bytes
    with Store.open(tmp_path / "b.grit", tiny_model, states="f16", states_budget=whole) as store:
        store.add(folder)
        "".join(store.ask(QUESTION, 4, layout="exact", **SHORT))
        assert 0 < store._states.files.usage().bytes <= whole
        kinds = store._database.execute("select distinct kind from state").fetchall()
        assert ("exact",) in kinds


def test_the_order_of_states_is_that_of_the_layout(tiny_model):
    states = {"one": tiny_model.document_state("one"), "two": tiny_model.document_state("two")}
    query = tiny_model.document_state(QUESTION)
    sources = PromptParts(QUESTION, ["one", "two"], lambda _: [*states.values()], query, tuple)
    assert prompt("query-doc", sources).document == (query, *states.values())
    assert prompt("doc-query", sources).document == (*states.values(), query)
    assert prompt("document-then-query", sources) == Prompt(
        f"one\n\ntwo\n\n{cached_question(QUESTION)}", None, "{question}"
    )


def test_joined_openings_read_anew_answer_as_a_full_prefill(tmp_path, tiny_model, folder):
    with opened(tmp_path, tiny_model, folder, states="f16") as store:
        for question in (QUESTION, "What colour is the ferry?"):
            answers = [
                store.ask(question, 3, layout=layout, recompute=recompute, max_tokens=12)
                for layout, recompute in (("exact", 10_000), ("document-then-query", 0))
            ]
            assert answers[0].answer.generated == answers[1].answer.generated


@pytest.mark.parametrize("states", ["none", "f16"])
def test_auto_answers_as_a_full_prefill(tmp_path, tiny_model, folder, states):
    """The first passage comes from its state and the others are read, so nothing is lost."""
    with opened(tmp_path, tiny_model, folder, states=states) as store:
        for question in (QUESTION, "What colour is the ferry?"):
            answers = [
                store.ask(question, 3, layout=layout, max_tokens=12)
                for layout in ("auto", "document-then-query", "auto")
            ]
            assert len({tuple(answer.answer.generated) for answer in answers}) == 1
            first, _, second = answers
            if states == "f16":
                assert (first.layout, second.states_loaded) == ("exact", 1)
            else:
                assert first.layout == "document-then-query"


def test_auto_joins_states_if_told_how(tmp_path, tiny_model, folder):
    with opened(tmp_path, tiny_model, folder, states="f16") as store:
        answer = store.ask(QUESTION, 3, layout="auto", recompute=0, max_tokens=2)
        assert (answer.layout, answer.states_computed) == ("exact", 3)


@pytest.mark.parametrize("layout", [*LAYOUTS, "auto"])
def test_where_no_passage_can_tell_nothing_is_generated(tmp_path, tiny_model, folder, layout):
    with opened(tmp_path, tiny_model, folder, states="f16") as store:
        best = store.search(QUESTION, 1)[0].score
        answer = store.ask(QUESTION, layout=layout, min_score=best + 0.01, **SHORT)
        assert (answer.passages, answer.best_score) == ([], best)
        assert (answer.states_loaded, answer.states_computed) == (0, 0)
        assert "".join(answer) == answer.text == NO_ANSWER == "The documents do not tell."
        assert (answer.generated, answer.finish_reason, answer.dropped) == ([], "stop", 0)
        assert answer.timings.ended is not None
        answer.cancel()
        answer.close()
        some = store.ask(QUESTION, layout=layout, min_score=best, **SHORT)
        assert len(some.passages) == 1
        some.close()


def test_no_word_of_the_question_is_in_the_store(tmp_path, tiny_model, folder):
    with opened(tmp_path, tiny_model, folder) as store:
        answer = store.ask("zebra?", mode="words")
        assert (answer.text, answer.passages, answer.best_score) == (NO_ANSWER, [], None)


def test_the_least_score_of_a_model_is_used_for_questions_only(
    tmp_path, tiny_model, folder, monkeypatch
):
    monkeypatch.setitem(min_scores._MEASURED, (tiny_model.path.name, "hybrid"), 0.99)
    with opened(tmp_path, tiny_model, folder) as store:
        assert len(store.search(QUESTION, 3)) == 3
        assert store.ask(QUESTION).text == NO_ANSWER
        for options in ({"min_score": 0.0}, {"mode": "vectors"}, {"instruction": "Retrieve"}):
            with store.ask(QUESTION, **options, **SHORT) as answer:
                assert len(answer.passages) == 3


def test_an_answer_that_repeats_itself_is_ended(tmp_path, tiny_model, folder):
    endless = 'root ::= "no "{400}'
    with opened(tmp_path, tiny_model, folder) as store:
        answer = store.ask(QUESTION, grammar=endless, max_tokens=1000)
        assert answer.finish_reason == "loop"
        assert 300 <= len(answer.text) < 400
        unguarded = store.ask(QUESTION, grammar=endless, max_tokens=400, stop_loops=False)
        assert len(unguarded.generated) == 400


@pytest.mark.real
def test_the_default_model_and_two_notes(tmp_path):
    """From the joined states of these notes it answers "Tomatoes"."""
    (tmp_path / "inn.md").write_text("# The inn\n\nMary Smith founded the inn in 1850.\n")
    (tmp_path / "tomatoes.md").write_text(
        "# Tomatoes\n\nPlant the tomatoes in May, when the soil is warm. Water them in the "
        "morning.\n"
    )
    with (
        GritLM("default") as model,
        Store.open(tmp_path / "a.grit", model, states="q8_0") as store,
    ):
        store.add(tmp_path)
        for _ in range(2):
            answer = store.ask("who founded the inn", layout="auto", min_score=0)
            assert (answer.layout, answer.text) == ("exact", "Mary Smith")
            assert [passage.source.name for passage in answer.passages] == ["inn.md", "tomatoes.md"]
        assert store.ask("who founded the inn?").text == "Mary Smith"
        for message in ("Hello!", "thanks!"):
            refused = store.ask(message)
            assert (refused.text, refused.passages) == (NO_ANSWER, [])


def test_questions_that_cannot_be_answered(tmp_path, tiny_path, tiny_model, folder):
    with Store.open(tmp_path / "a.grit", tiny_model) as store:
        with pytest.raises(UsageError, match="holds no documents yet: index some"):
            store.ask(QUESTION)
        store.add(folder)
        with pytest.raises(UsageError, match="expected auto or query-then-document, "):
            store.ask(QUESTION, layout="best")
        with pytest.raises(InputTooLongError):
            store.ask("word " * 2000)
        with pytest.raises(UsageError, match=r"'Say it\.' has no place for the question"):
            store.ask("Who?", wording="Say it.")
        with pytest.raises(UsageError, match="exact cannot follow earlier messages of a chat"):
            store.ask(QUESTION, layout="exact", history=[{"role": "user", "content": "Hello"}])
    with (
        GritLM(tiny_path, threads=1, context_length=64) as small,
        Store.open(tmp_path / "a.grit", small) as store,
    ):
        for layout in LAYOUTS:
            with pytest.raises(InputTooLongError, match="the context holds 64"):
                store.ask(QUESTION * 6, 4, layout=layout)
