"""What is far too long is refused by its length, before it is tokenized, and holds nobody up."""

import json

import pytest

from gritlite.serve.middleware.body import MOST_VALUES, ValueCounter
from gritlite.serve.openai.chat_options import check_messages_length
from tests.serve.running import Kept, serving
from tests.serve.test_leaving import CHAT

LONG = "word " * 100_000
PATHS = {
    CHAT: {"messages": [{"role": "user", "content": LONG}]},
    "/v1/completions": {"prompt": LONG},
    "/v1/responses": {"input": LONG},
    "/api/chat": {"messages": [{"role": "user", "content": LONG}]},
    "/api/generate": {"prompt": LONG},
    "/v1/embeddings": {"input": ["a", LONG]},
    "/api/embed": {"input": LONG, "truncate": False},
}


@pytest.fixture
def untokenized(served_model, monkeypatch):
    """What is tokenized meanwhile must be short."""
    vocabulary = served_model.embedding_engine.vocabulary
    tokenize = vocabulary.tokenize

    def watched(text, **options):
        assert len(text) < 10_000
        return tokenize(text, **options)

    monkeypatch.setattr(vocabulary, "tokenize", watched)


@pytest.mark.parametrize("path", PATHS)
def test_no_token_is_made(untokenized, client, path):
    answered = client.post(path, PATHS[path])
    assert answered.status == 400
    told = answered.error if isinstance(answered.error, str) else answered.error["message"]
    assert "at least" in told
    if not path.startswith("/api/"):
        assert answered.error["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("path", "fields", "answer"),
    [
        ("/v1/rerank", lambda text: {"query": "word", "documents": [text]}, "results"),
        ("/v2/embed", lambda text: {"texts": [text]}, "embeddings"),
        ("/api/embed", lambda text: {"input": text}, "embeddings"),
    ],
)
def test_of_a_text_that_is_cut_only_the_beginning_is_tokenized(
    untokenized, client, path, fields, answer
):
    found = [client.post(path, fields(text)).json[answer] for text in (LONG, LONG[:9_000])]
    assert found[0] == found[1]


def test_the_bound_is_never_more_than_there_are(served_model):
    longest = served_model.context_length
    vocabulary = served_model.embedding_engine.vocabulary
    pieces = [
        vocabulary.piece(token).decode("utf-8", "replace") for token in range(vocabulary.size)
    ]
    for unit in ("x", "a b", "é", " ", "\n", max(pieces, key=len), "the quick brown fox "):
        text = unit * (60_000 // len(unit))
        least = served_model.tokens_beyond(len(text), longest)
        assert least <= len(served_model.tokenize(text))
    assert served_model.tokens_beyond(10**6, longest) > longest
    assert served_model.tokens_beyond(longest, longest) == 0


def test_what_a_template_drops_does_not_count(served_model):
    blanks = " " * 10**6
    thoughts = f"<think>{LONG}</think>yes"
    messages = [
        {"role": "user", "content": f"{blanks}x{blanks}"},
        {"role": "assistant", "content": thoughts},
        {"role": "user", "content": "y"},
    ]
    check_messages_length(served_model, messages)


def test_too_many_messages(client):
    messages = [{"role": "user", "content": ""}] * 2000
    answered = client.post(CHAT, {"messages": messages})
    assert answered.status == 400
    assert answered.error["code"] == "context_length_exceeded"
    assert "2000 messages" in answered.error["message"]


def test_tokenize_has_a_limit(client):
    assert client.post("/tokenize", {"content": "x" * (1 << 20)}).status == 200
    answered = client.post("/tokenize", {"content": "x" * (1 << 20) + "x"})
    assert answered.status == 400
    assert answered.error["param"] == "content"


@pytest.mark.parametrize("path", ["/detokenize", CHAT, "/v1/embeddings"])
@pytest.mark.parametrize("item", [b"1", b"[]", b"{}", b"null", b'""'])
def test_millions_of_values_are_not_read(client, path, item):
    sent = b'{"tokens":[' + item + (b"," + item) * MOST_VALUES + b"]}"
    answered = client.post(path, sent)
    assert answered.status == 413
    assert answered.error["code"] == "body_too_large"


def test_commas_in_texts_are_no_values(client):
    sent = json.dumps({"input": "x", "user": ',\\",[{' * 100_000})
    assert sent.count(",") > MOST_VALUES
    assert client.post("/v1/embeddings", sent.encode()).status == 200


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_values_are_counted_whatever_the_parts(size):
    value = {"a": [1, [2, {}], "x,[{"], 'quo"te,': "back\\slash\\", "\\": ["\\\\", '\\",', ","]}
    sent = json.dumps(value).encode()
    counter = ValueCounter()
    for start in range(0, len(sent), size):
        counter.add(sent[start : start + size])
    brackets, commas = 2 + 3, 2 + 2 + 1 + 2
    assert counter.values == brackets + commas


def test_large_bodies_at_once(served_model):
    with serving(served_model, max_body=100_000) as client:
        waiting = [client.connect() for _ in range(9)]
        for connection in waiting:
            connection.putrequest("POST", "/v1/embeddings")
            connection.putheader("Content-Length", "99999")
            connection.endheaders(b"[" + b" " * 95_000)
        first = waiting[-1].getresponse()
        assert first.status == 503
        assert int(first.headers["retry-after"]) >= 1
        assert client.post("/v1/embeddings", {"input": "x"}).status == 200  # a small one
        for connection in waiting:
            connection.close()


def test_a_compressed_body(client):
    answered = client.post("/v1/embeddings", b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert answered.status == 415
    assert answered.error["code"] == "unsupported_encoding"


class Counted(Kept):
    """Counts the texts that were tokenized."""

    read = 0

    def token_counts(self, texts, **options):
        def watched():
            for text in texts:
                self.read += 1
                yield text

        return self._model.token_counts(watched(), **options)


def test_who_leaves_is_not_counted_for(served_model):
    model = Counted(served_model)
    body = {"input": ["word " * 150] * 2000}
    with serving(lambda: model) as client:
        with client.leaving("/v1/embeddings", body):
            client.until("embeddings_pending", 1)
        client.until("embeddings_pending", 0)
    assert model.read < 2000
