"""A client that goes away frees its place, wherever its request is."""

import threading
import time

import pytest

from gritlite.runtime.schema import clock
from gritlite.serve.stream import COMMENT
from tests.runtime.schema.test_clock import SCHEMAS
from tests.serve.running import serving

CHAT = "/v1/chat/completions"


class SlowAnswers:
    """A model whose answers give a piece when the test lets them."""

    def __init__(self, model):
        self._model = model
        self.answers = []
        self.go_on = threading.Semaphore(0)
        self.in_prompt = threading.Event()

    def __getattr__(self, name):
        return getattr(self._model, name)

    def chat(self, messages, **options):
        answer = SlowAnswer(self)
        self.answers.append(answer)
        return answer

    def close(self):
        pass


class SlowAnswer:
    text, prompt_tokens, cached_tokens, generated = "", 1, 0, ()
    finish_reason = None

    def __init__(self, model):
        self._model = model
        self._cancel = threading.Event()
        self.closed = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        self._model.in_prompt.set()
        while not self._model.go_on.acquire(timeout=0.01):
            if self._cancel.is_set():
                self.finish_reason = "cancelled"
                raise StopIteration
        if self._cancel.is_set():
            self.finish_reason = "cancelled"
            raise StopIteration
        return "piece "

    def cancel(self):
        self._cancel.set()

    def close(self):
        self.closed.set()


@pytest.fixture
def slow(served_model):
    return SlowAnswers(served_model)


def body(**fields):
    return {"messages": [{"role": "user", "content": "x"}], **fields}


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_during_the_prompt(slow, stream):
    with serving(slow, parallel=1) as client:
        with client.leaving(CHAT, body(stream=stream)):
            assert slow.in_prompt.wait(10)
            assert client.gauge("answers_running") == 1
        assert slow.answers[0].closed.wait(10)
        client.until("answers_running", 0)


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_while_tokens_come(slow, stream):
    with serving(slow, parallel=1) as client:
        with client.leaving(CHAT, body(stream=stream)) as connection:
            for _ in range(3):
                slow.go_on.release()
            if stream:
                received = b""
                while received.count(b"piece ") < 3:
                    received += connection.recv(4096)
            else:
                assert slow.in_prompt.wait(10)
                time.sleep(0.1)
        assert slow.answers[0].closed.wait(10)
        client.until("answers_running", 0)


def test_leaving_while_a_schema_becomes_a_grammar(served_model, monkeypatch):
    monkeypatch.setattr(clock, "SECONDS", 600)
    wanted = {"type": "json_schema", "json_schema": {"schema": SCHEMAS["texts"]}}
    with serving(served_model, parallel=1) as client:
        with client.leaving(CHAT, body(response_format=wanted)):
            client.until("answers_running", 1)
        client.until("answers_running", 0, seconds=5)
        assert client.chat("x", max_tokens=1).status == 200


def test_leaving_the_queue(slow):
    with serving(slow, parallel=1) as client:
        with client.leaving(CHAT, body()):
            client.until("answers_running", 1)
            with client.leaving(CHAT, body(stream=True)), client.leaving(CHAT, body()):
                client.until("answers_waiting", 2)
            client.until("answers_waiting", 0)
        client.until("answers_running", 0)
        assert len(slow.answers) == 1


def test_the_queue_is_in_order_and_bounded(slow):
    with serving(slow, parallel=1, queue=1) as client, client.leaving(CHAT, body()):
        client.until("answers_running", 1)
        with client.leaving(CHAT, body()):
            client.until("answers_waiting", 1)
            for stream in (False, True):
                answered = client.post(CHAT, body(stream=stream))
                assert answered.status == 429
                assert int(answered.headers["retry-after"]) >= 1
                assert answered.error["code"] == "rate_limit_exceeded"


def test_comments_while_nothing_comes(slow):
    def read_two_comments(connection):
        received = b""
        while received.count(COMMENT.encode()) < 2:
            received += connection.recv(4096)
        return received

    with (
        serving(slow, parallel=1, keep_alive=0.05) as client,
        client.leaving(CHAT, body(stream=True)) as running,
    ):
        client.until("answers_running", 1)
        with client.leaving(CHAT, body(stream=True)) as queued:
            assert read_two_comments(queued).startswith(b"HTTP/1.1 200")
        assert b'"role":"assistant"' in read_two_comments(running)


def test_leaving_an_embedding(served_model):
    texts = [f"text {number} " + "word " * 100 for number in range(2000)]
    with serving(served_model) as client:
        with client.leaving("/v1/embeddings", {"input": texts}):
            client.until("embeddings_pending", 1)
            time.sleep(0.5)
            query = client.post("/v1/embeddings", {"input": "a query"})
            assert query.status == 200  # it passes the bulk work
            assert client.gauge("embeddings_pending") == 1
        client.until("embeddings_pending", 0, seconds=5)


def test_a_stop_ends_answers(slow):
    with serving(slow) as client:
        found = []

        def ask():
            found.append(client.post(CHAT, body()))

        thread = threading.Thread(target=ask)
        thread.start()
        client.until("answers_running", 1)
    thread.join(10)
    assert [answered.status for answered in found] == [503]
