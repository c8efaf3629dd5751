"""Clients of a server for `serve.py`: each has a question of its own and knows its answer."""

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from serve_figures import Figures

MAX_TOKENS = 48
SUBJECTS = ("bread", "tides", "maps", "frost", "clocks", "rivers", "glass", "salt")
ASKED = (
    "How do I embed documents?",
    "What does a store keep?",
    "How is a checkpoint converted?",
    "Which port does the server listen on?",
)
_KINDS: tuple["Kind", ...] = ("chat", "chat", "ask", "embed")
_SAME = 0.999  # cosine of a text's vectors alone and in a batch, in q8_0; docs/embedding.md
_TIMEOUT = 600.0  # seconds

Kind = Literal["chat", "ask", "embed"]
Vectors = NDArray[np.float32]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Work:
    """What a client asks, again and again; `passages` are what the first server answers from."""

    number: int
    kind: Kind
    question: str
    passages: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        """What it embeds."""
        return [self.question, f"Text {self.number} to embed. " * 20]

    @property
    def message(self) -> str:
        """The question, behind the passages if there are any."""
        if not self.passages:
            return self.question
        return "\n\n".join(("Answer from these passages.", *self.passages, self.question))


@dataclass(frozen=True)
class Streamed:
    """An answer, when its first piece came (of a clock in seconds), and its tokens."""

    text: str
    first: float
    tokens: int
    passages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Server:
    """A server and where its interfaces are. Methods raise OSError, HTTPError among them."""

    name: str
    url: str
    embeddings: str
    store: str | None
    model: str
    key: str

    def answer(self, work: Work) -> Streamed:
        """The streamed answer of a chat, or from the store."""
        if work.kind == "ask" and self.store:
            body = {"question": work.question, "store": self.store, "max_tokens": MAX_TOKENS}
            return _streamed(self._events(self.url + "/ask", {**body, "stream": True}))
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": work.message}],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return _streamed(self._events(self.url + "/chat/completions", body))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts, float32 [n, dimension], of length 1."""
        with self._open(
            self.embeddings + "/embeddings", {"model": self.model, "input": texts}
        ) as answer:
            data = json.load(answer)["data"]
        vectors: Vectors = np.array([each["embedding"] for each in data], np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _events(self, url: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with self._open(url, body) as answer:
            for line in answer:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])

    def _open(self, url: str, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        data = json.dumps(body).encode()
        return urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=_TIMEOUT)


def _streamed(events: Iterator[dict[str, Any]]) -> Streamed:
    """The answer that events of a chat or of `/v1/ask` bring."""
    first, parts, tokens, passages = 0.0, [], 0, ()
    for event in events:
        if "error" in event:
            raise OSError(f"the stream ended with {event['error']}")
        choices = event.get("choices")
        text = choices[0]["delta"].get("content") if choices else event.get("text")
        if text:
            first = first or time.perf_counter()
            parts.append(text)
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
        passages = passages or tuple(each["text"] for each in event.get("citations", ()))
    return Streamed("".join(parts), first or time.perf_counter(), tokens, passages)


def works_of(server: Server, clients: int, *, chat_only: bool) -> list[Work]:
    """What each client does; passages are those that the server, if it has a store, cites."""
    kinds = [kind for kind in _KINDS if kind == "chat" or not chat_only]
    works = []
    for number in range(clients):
        kind = kinds[number % len(kinds)]
        if kind == "ask" and not server.store:
            kind = "chat"
        if kind == "ask":
            question = f"{ASKED[number // len(kinds) % len(ASKED)]} My number is {number}."
            work = Work(number, kind, question)
            works.append(replace(work, passages=server.answer(work).passages))
        else:
            subject = SUBJECTS[number % len(SUBJECTS)]
            question = f"Tell me about {subject}, please. My number is {number}."
            works.append(Work(number, kind, question))
    return works


class Client:
    """One that asks again and again, and compares with what it got alone."""

    def __init__(self, server: Server, work: Work, pause: float, figures: Figures) -> None:
        self._server, self._work, self._pause, self._figures = server, work, pause, figures
        self._texts: set[str] = set()
        self._vectors = np.empty((0, 0), np.float32)

    def learn(self) -> None:
        """Ask alone: first without anything of the prompt in a cache, then with all of it."""
        if self._work.kind == "embed":
            self._vectors = self._server.embed(self._work.texts)
        else:
            self._texts = {self._server.answer(self._work).text for _ in range(2)}

    def run(self, end: float) -> None:
        """Ask until `end`, a time of `perf_counter`, with pauses as a person makes them."""
        while True:
            self._wait(self._pause and random.expovariate(1 / self._pause), end)
            if time.perf_counter() >= end:
                return
            try:
                self._embed() if self._work.kind == "embed" else self._answer()
            except OSError as error:
                told = error.read()[:200] if isinstance(error, urllib.error.HTTPError) else b""
                self._figures.failed(f"client {self._work.number}: {error} {told!r}")
                self._wait(1, end)

    @staticmethod
    def _wait(seconds: float, end: float) -> None:
        time.sleep(max(0.0, min(seconds, end - time.perf_counter())))

    def _answer(self) -> None:
        start = time.perf_counter()
        answer = self._persist(lambda: self._server.answer(self._work))
        self._figures.answered(self._work.kind, answer.first - start, answer.tokens)
        if answer.text not in self._texts:
            self._figures.differs(f"client {self._work.number}: {answer.text!r}, {self._texts!r}")

    def _embed(self) -> None:
        vectors = self._persist(lambda: self._server.embed(self._work.texts))
        self._figures.embedded(len(vectors))
        if np.any(np.sum(vectors * self._vectors, axis=1) < _SAME):
            self._figures.differs(f"client {self._work.number}: other vectors")

    def _persist(self, ask: Callable[[], _Result]) -> _Result:
        """Ask until there is an answer, and wait for as long as the server says."""
        while True:
            try:
                return ask()
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503):
                    raise
                self._figures.told_to_wait()
                time.sleep(float(error.headers.get("Retry-After", 1)))
