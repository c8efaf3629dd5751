"""`/v1/search`, `/v1/ask` and the model NAME+STORE, with a tiny random model."""

import contextlib
import json
import shutil
import threading

import pytest

from gritlite.rag import Store
from gritlite.rag.answer import NO_ANSWER
from gritlite.serve.stores.cited_answer import NO_PASSAGE, CitedAnswer, uncited
from tests.rag.documents import notes
from tests.serve.running import serving

QUESTION = "Who founded the inn?"


@pytest.fixture(scope="module")
def store_path(tmp_path_factory, served_model):
    folder = tmp_path_factory.mktemp("secret-place")
    (folder / "below").mkdir()
    (folder / "alone.md").write_text("# Alone\n\nA lighthouse stands alone on the cliff.\n")
    with Store.open(folder / "notes.grit", served_model, states="f16") as store:
        store.add(notes(folder / "below" / "notes"), folder / "alone.md")
        store.add(folder / "alone.md", metadata={"kind": "tale", "year": 1850, "sad": True})
    return folder / "notes.grit"


@pytest.fixture(scope="module")
def client(served_model, store_path):
    with serving(served_model, stores={"notes": store_path}) as client:
        yield client


@pytest.fixture
def store(served_model, store_path):
    with Store.open(store_path, served_model, create=False, measures=False) as store:
        yield store


def ask(client, *messages, **fields):
    body = {"model": "tiny+notes", "messages": list(messages), "max_tokens": 8, **fields}
    return client.post("/v1/chat/completions", body)


def user(text):
    return {"role": "user", "content": text}


def test_a_search_finds_what_the_store_finds(client, store):
    expected = store.search(QUESTION, 3)
    answered = client.post("/v1/search", {"query": QUESTION, "k": 3})
    assert answered.status == 200
    assert answered.json["store"] == "notes"
    found = answered.json["data"]
    assert [each["text"] for each in found] == [each.text for each in expected]
    assert [each["score"] for each in found] == pytest.approx([each.score for each in expected])
    assert [each["number"] for each in found] == [1, 2, 3]


def test_a_source_has_no_folder_of_this_machine(client, store_path):
    found = client.post("/v1/search", {"query": "the inn, a lighthouse", "k": 100})
    sources = {each["source"] for each in found.json["data"]}
    assert "alone.md" in sources
    assert all(source == "alone.md" or source.startswith("notes/") for source in sources)
    everything = found.body + ask(client, user(QUESTION)).body
    everything += client.post("/v1/ask", {"question": QUESTION, "max_tokens": 3}).body
    for part in ("secret-place", "below"):
        assert part.encode() not in everything


def test_only_documents_with_some_metadata(client):
    for where in ({"kind": "tale"}, {"year": {"$gte": 1800, "$lt": 1900}}, {"sad": True}):
        found = client.post("/v1/search", {"query": QUESTION, "where": where}).json["data"]
        assert [each["source"] for each in found] == ["alone.md"]
        assert found[0]["metadata"] == {"kind": "tale", "year": 1850, "sad": True}
        assert found[0]["metadata"]["sad"] is True
        answered = client.post("/v1/ask", {"question": QUESTION, "where": where, "max_tokens": 3})
        assert [each["source"] for each in answered.json["citations"]] == ["alone.md"]
    answered = client.post("/v1/ask", {"question": QUESTION, "where": {"kind": "none"}})
    assert (answered.json["answer"], answered.json["citations"]) == (NO_ANSWER, [])
    for path, body in (("search", {"query": "x"}), ("ask", {"question": "x"})):
        wrong = client.post(f"/v1/{path}", {**body, "where": {"kind": {"$like": "t"}}})
        assert wrong.status == 400
        assert "expected one of $eq" in wrong.error["message"]
        assert wrong.error["param"] == "where"
        assert client.post(f"/v1/{path}", {**body, "where": "kind"}).error["param"] == "where"


def test_the_least_score(client):
    found = client.post("/v1/search", {"query": QUESTION}).json["data"]
    assert len(found) == 5
    limit = found[1]["score"]
    fewer = client.post("/v1/search", {"query": QUESTION, "min_score": limit}).json["data"]
    assert len(fewer) == 2
    assert client.post("/v1/search", {"query": QUESTION, "min_score": 9}).json["data"] == []


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "query"),
        ({"query": ""}, 400, "query"),
        ({"query": "x", "k": 0}, 400, "k"),
        ({"query": "x", "k": 10**9}, 400, "k"),
        ({"query": "x", "store": "other"}, 404, "store"),
        ({"query": "x", "store": "/etc/passwd"}, 404, "store"),
        ({"query": "word " * 5000}, 400, "query"),
        ({"query": "x", "filter": {"kind": "tale"}}, 400, "filter"),
    ],
)
def test_a_wrong_search(client, body, status, param):
    answered = client.post("/v1/search", body)
    assert answered.status == status
    assert answered.error["param"] == param
    assert "secret-place" not in answered.error["message"]


def test_null_is_the_default(client):
    nothing = {"store": None, "k": None, "min_score": None}
    assert client.post("/v1/search", {"query": "inn", **nothing}).status == 200
    nothing |= {"stream": None, "max_tokens": None}
    assert client.post("/v1/ask", {"question": "inn?", **nothing}).status == 200


def test_without_a_store(served_model):
    with serving(served_model) as client:
        answered = client.post("/v1/search", {"query": "x"})
        assert answered.status == 404
        assert "--store" in answered.error["message"]


def test_several_stores(served_model, store_path, tmp_path):
    with Store.open(tmp_path / "empty.grit", served_model):
        pass
    stores = {"notes": store_path, "empty": tmp_path / "empty.grit"}
    with serving(served_model, stores=stores) as client:
        answered = client.post("/v1/search", {"query": "inn"})
        assert answered.status == 400
        assert answered.error["param"] == "store"
        assert client.post("/v1/search", {"query": "inn", "store": "notes"}).json["data"]
        assert client.post("/v1/search", {"query": "inn", "store": "empty"}).json["data"] == []
        answered = client.post("/v1/ask", {"question": "inn?", "store": "empty"})
        assert answered.status == 400
        assert answered.error["message"].startswith("empty holds no documents")


def test_an_answer_is_that_of_the_store(client, store):
    expected = store.ask(QUESTION, layout="auto", max_tokens=8)
    answered = client.post("/v1/ask", {"question": QUESTION, "max_tokens": 8})
    assert answered.status == 200
    assert answered.json["answer"] == expected.text
    cited = [each["text"] for each in answered.json["citations"]]
    assert cited == [each.text for each in expected.passages]
    assert answered.json["usage"]["completion_tokens"] == len(expected.generated)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/ask", {"question": QUESTION}),
        ("/v1/chat/completions", {"model": "tiny+a", "messages": [user(QUESTION)]}),
    ],
    ids=["ask", "chat"],
)
def test_an_answer_comes_from_states_whatever_times_were_measured(
    served_model, tmp_path, path, body
):
    """Under load they would say now this and now that, and so would the answers."""
    with Store.open(tmp_path / "a.grit", served_model, states="f16") as store:
        store.add(notes(tmp_path / "notes"))
        for work, seconds in (("load", 1e6), ("read", 1e-6)):
            store._cost_model.record(work, 1000, seconds)
        assert store.state_usage("exact").states == 0
        with serving(served_model, stores={"a": store.path}) as client:
            assert client.post(path, {**body, "max_tokens": 2}).status == 200
        assert store.state_usage("exact").states == 1


def test_a_streamed_answer(client):
    body = {"question": QUESTION, "max_tokens": 8}
    whole = client.post("/v1/ask", body).json
    first, *pieces, last, done = client.post("/v1/ask", {**body, "stream": True}).events
    assert done == "[DONE]"
    assert first["citations"] == whole["citations"] == last["citations"]
    assert "".join(piece["text"] for piece in pieces) == whole["answer"] == last["answer"]


def test_the_documents_do_not_tell(client):
    answered = client.post("/v1/ask", {"question": QUESTION, "min_score": 9}).json
    assert answered["answer"] == NO_ANSWER
    assert answered["citations"] == []
    assert answered["best_score"] < 9


def test_a_chat_is_answered_with_citations(client, store):
    expected = store.ask(QUESTION, layout="auto", max_tokens=8).text
    answered = ask(client, user(QUESTION)).json
    citations = answered["citations"]
    assert len(citations) == 3
    text = answered["choices"][0]["message"]["content"]
    listed = "\n".join(f"[{each['number']}] {each['reference']}" for each in citations)
    assert text == f"{expected}\n\n{listed}"
    assert "notes/" in listed


def test_a_streamed_chat_with_citations(client):
    whole = ask(client, user(QUESTION)).json
    first, *chunks, last, done = ask(client, user(QUESTION), stream=True).events
    assert done == "[DONE]"
    assert first["citations"] == whole["citations"]
    assert last["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert text == whole["choices"][0]["message"]["content"]


def test_earlier_answers_are_read_without_their_citations(client, store):
    cited = ask(client, user(QUESTION)).json["choices"][0]["message"]["content"]
    answer = uncited({"role": "assistant", "content": cited})["content"]
    assert cited.startswith(f"{answer}\n\n[1] ")
    history = [user(QUESTION), {"role": "assistant", "content": answer}]
    expected = store.ask("And the cellar?", history=history, max_tokens=8).text
    history[1] = {"role": "assistant", "content": cited}
    answered = ask(client, *history, user("And the cellar?")).json
    assert answered["choices"][0]["message"]["content"].startswith(f"{expected}\n\n[1] ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.\n\n[1] a.md:3  (A)\n[2] b.pdf, page 2  (B)", "Yes."),
        (f"Hello!\n\n{NO_PASSAGE}\n", "Hello!"),
        ("A list:\n\n[2] not ours", "A list:\n\n[2] not ours"),
        ("[1] at the start\n\nand more", "[1] at the start\n\nand more"),
    ],
)
def test_citations_are_taken_from_an_answer(text, expected):
    assert uncited({"role": "assistant", "content": text})["content"] == expected
    assert uncited({"role": "user", "content": text})["content"] == text


def test_a_message_that_no_passage_has_to_do_with(client, served_model, monkeypatch):
    monkeypatch.setattr("gritlite.rag.store.measured_min_score", lambda *_: 9.0)
    expected = served_model.chat([user("Thanks!")], temperature=0, max_tokens=8, stop_loops=True)
    answered = ask(client, user("Thanks!")).json
    assert answered["citations"] == []
    assert answered["choices"][0]["message"]["content"] == f"{expected}\n\n{NO_PASSAGE}"


def test_an_answer_in_json_has_nothing_behind_it(client):
    schema = {"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}}
    answered = ask(client, user(QUESTION), response_format=schema, max_tokens=50).json
    assert json.loads(answered["choices"][0]["message"]["content"]) in ("yes", "no")
    assert len(answered["citations"]) == 3


def test_no_message_is_left_out(client, served_model):
    long = "word " * 200
    history = [user(long), {"role": "assistant", "content": long}]
    answered = ask(client, *history, user(QUESTION))
    assert answered.status == 400
    assert answered.error["code"] == "context_length_exceeded"
    assert str(served_model.context_length) in answered.error["message"]


def test_the_last_message_must_be_a_question(client):
    answered = ask(client, user(QUESTION), {"role": "assistant", "content": "Tom"})
    assert answered.status == 400
    assert answered.error["param"] == "messages"


def test_the_limit_of_an_answer_fits_beside_earlier_messages(client, served_model):
    history = [user("word " * 20), {"role": "assistant", "content": "word"}]
    usage = ask(client, *history, user(QUESTION), max_tokens=5000).json["usage"]
    assert usage["total_tokens"] <= served_model.context_length


def test_several_cited_answers_with_log_probabilities(client):
    options = {"n": 2, "logprobs": True, "temperature": 1.5, "seed": 1}
    answered = ask(client, user(QUESTION), **options).json
    told = [len(choice["logprobs"]["content"]) for choice in answered["choices"]]
    assert answered["citations"]
    assert sum(told) == answered["usage"]["completion_tokens"] > 0
    assert (
        ask(client, user(QUESTION), tools=[{"function": {"name": "x"}}]).error["param"] == "tools"
    )


def test_an_answer_that_has_ended_is_not_asked_again():
    class Ending:
        text, finish_reason, left = "Tom.", "stop", 1

        def __next__(self):
            assert self.left, "asked again"
            self.left -= 1
            raise StopIteration

    answer = CitedAnswer(Ending(), [], "\n\n(closing)")
    assert list(answer) == ["\n\n(closing)"]
    assert answer.text == "Tom.\n\n(closing)"


def test_a_store_that_is_gone_or_damaged_while_it_is_served(served_model, store_path, tmp_path):
    path = tmp_path / "notes.grit"
    shutil.copy(store_path, path)
    with serving(served_model, stores={"notes": path}) as client:
        path.write_bytes(bytes(range(256)) * 1000)
        for damaged in (True, False):
            if not damaged:
                path.unlink()
            facts = client.get("/info")
            assert facts.status == 200
            assert facts.json["architecture"]
            assert not facts.json["stores"][0]["is_readable"]
            searched = client.post("/v1/search", {"query": QUESTION})
            assert str(path).encode() not in facts.body + searched.body
            assert client.chat("x", max_tokens=2).status == 200
        shutil.copy(store_path, path)
        assert client.get("/info").json["stores"][0]["is_readable"]


def test_indexing_while_two_servers_search(served_model, tmp_path):
    path, folder = tmp_path / "notes.grit", notes(tmp_path / "notes")
    with Store.open(path, served_model) as store:
        store.add(folder)
    statuses, stop = [], threading.Event()

    def search(client):
        while not stop.is_set():
            answered = client.post("/v1/search", {"query": "the new page", "k": 100})
            statuses.append(answered.status)

    both = [serving(served_model, stores={"notes": path}) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(each) for each in both]
        threads = [threading.Thread(target=search, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        with Store.open(path, served_model) as store:
            for number in range(5):
                (folder / f"new{number}.md").write_text(f"The new page has the number {number}.\n")
                store.add(folder)
                (folder / "new0.md").unlink(missing_ok=True)
        stop.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}
        for client in clients:
            found = client.post("/v1/search", {"query": "the new page", "k": 100}).json["data"]
            assert any("the number 4" in each["text"] for each in found)
