"""One answer to a chat as a choice: its text, the calls in it, and its log-probabilities."""

from collections.abc import Iterator, Sequence
from typing import Any

from gritlite.serve.openai.chat_answer import (
    AnswerMessage,
    Choice,
    Chunks,
    Finish,
    finish_of,
)
from gritlite.serve.openai.log_probabilities import ChatLogprobs, Teller
from gritlite.serve.openai.tool_calls import Call, CallReader
from gritlite.serve.service.answers import AnswerStream


class ChoiceWriter:
    """Writes one choice, whole or as chunks. `teller` None: without log-probabilities.

    With `legacy` a call has OpenAI's first form, of which an answer has one.
    """

    def __init__(
        self,
        index: int,
        answer: AnswerStream,
        reader: CallReader,
        teller: Teller | None,
        *,
        legacy: bool = False,
    ) -> None:
        self._index = index
        self._answer = answer
        self._reader = reader
        self._teller = teller
        self._legacy = legacy
        self._sent = 0

    def whole(self) -> Choice:
        """The choice of an answer that has ended."""
        text = self._reader.add(self._answer.text)
        rest, calls = self._reader.end()
        content = (text + rest) or (None if calls else "")
        message = AnswerMessage(
            content=content,
            tool_calls=None if self._legacy else calls or None,
            function_call=calls[0].function if self._legacy and calls else None,
        )
        return Choice(
            index=self._index,
            message=message,
            logprobs=self._told(len(self._answer.text)),
            finish_reason=self._finish(calls),
        )

    def _finish(self, calls: Sequence[Call]) -> Finish:
        if not calls:
            return finish_of(self._answer.finish_reason)
        return "function_call" if self._legacy else "tool_calls"

    def begin(self, chunks: Chunks) -> dict[str, Any]:
        """The first chunk, with the role."""
        return chunks.delta({"role": "assistant", "content": ""}, index=self._index)

    def add(self, piece: str, chunks: Chunks) -> Iterator[dict[str, Any]]:
        """The chunks for a piece: one, or none while it may belong to a call."""
        text = self._reader.add(piece)
        if text:
            yield self._content(text, chunks)

    def end(self, chunks: Chunks) -> Iterator[dict[str, Any]]:
        """The chunks that are left when the answer has ended."""
        text, calls = self._reader.end()
        if text:
            yield self._content(text, chunks)
        if calls and self._legacy:
            called = calls[0].function.model_dump()
            yield chunks.delta({"function_call": called}, index=self._index)
        elif calls:
            deltas = [{"index": i, **call.model_dump()} for i, call in enumerate(calls)]
            yield chunks.delta({"tool_calls": deltas}, index=self._index)
        told = self._told(len(self._answer.text))
        yield chunks.delta(
            {},
            index=self._index,
            finish=self._finish(calls),
            logprobs=told if told is not None and told.content else None,
        )

    def _content(self, text: str, chunks: Chunks) -> dict[str, Any]:
        self._sent += len(text)
        return chunks.delta({"content": text}, index=self._index, logprobs=self._told(self._sent))

    def _told(self, length: int) -> ChatLogprobs | None:
        return None if self._teller is None else self._teller.chat(self._answer, length)
