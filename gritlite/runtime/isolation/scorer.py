"""Scoring with an isolated model."""

import threading
from collections.abc import Sequence
from typing import Self

from gritlite.errors import ClosedError
from gritlite.runtime.isolation.calls import Call
from gritlite.runtime.isolation.remote import RemoteModel
from gritlite.runtime.scorer import LogProbabilities
from gritlite.runtime.template import Message


class IsolatedScorer:
    """Scores tokens in the model's process, with a `Scorer` there. Thread-safe.

    After an error, or once the process has ended, the next call opens another.
    """

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self._call: Call | None = None
        self._lock = threading.Lock()
        self._closed = False

    def score(
        self, tokens: Sequence[int], start: int = 1, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """Return the natural log-probability of each of `tokens[start:]`; see `Scorer.score`."""
        return self._score("tokens", (list(tokens), start), cancel)

    def score_text(
        self, prompt: str, continuation: str, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """`score` for the tokens of a continuation of a raw prompt; see `Scorer.score_text`."""
        return self._score("text", (prompt, continuation), cancel)

    def score_answer(
        self,
        messages: Sequence[Message],
        answer: str,
        *,
        cancel: threading.Event | None = None,
    ) -> LogProbabilities:
        """`score` for the tokens of an answer to messages; see `Scorer.score_answer`."""
        return self._score("answer", (messages, answer), cancel)

    def _score(
        self, what: str, arguments: Sequence[object], cancel: threading.Event | None
    ) -> LogProbabilities:
        with self._lock:
            if self._closed:
                raise ClosedError
            try:
                if self._call is None:
                    self._call = self._model.begin("score", {})
                    self._call.receive()
                self._call.send("next", what=what, arguments=arguments)
                found: LogProbabilities = self._call.receive(cancel).arrays[0]
            except BaseException:
                self._drop()
                raise
            return found

    def _drop(self) -> None:
        if self._call is not None:
            self._call.close()
            self._call = None

    def close(self) -> None:
        """Free the scorer in the process."""
        self._closed = True
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
