"""An answer of `/v1/responses` as items, and the events that tell of them.

The events and their order are those of platform.openai.com/docs/api-reference/responses-streaming.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from gritlite.serve.errors import ApiError, error_body
from gritlite.serve.openai.chat import Begin
from gritlite.serve.openai.log_probabilities import Teller, TokenLogprob
from gritlite.serve.openai.response_object import (
    OutputItem,
    OutputMessage,
    OutputText,
    Writer,
    begun_call,
    begun_message,
    status_of,
)
from gritlite.serve.openai.tool_calls import Call, CallReader
from gritlite.serve.service.answers import AnswerStream
from gritlite.serve.service.service import Service
from gritlite.serve.stream import event


class OutputItems:
    """The items of one answer, as they are made: a message, if it has a text, and calls.

    Each method yields the types and fields of the events that tell of what it did. `teller` None:
    without log-probabilities.
    """

    def __init__(self, reader: CallReader, teller: Teller | None) -> None:
        self.output: list[OutputItem] = []
        self._reader = reader
        self._teller = teller
        self._message: OutputMessage | None = None
        self._text = OutputText(text="")

    def add(self, piece: str, answer: AnswerStream) -> Iterator[tuple[str, dict[str, Any]]]:
        """Add a piece of the answer; it may belong to a call, which is held back."""
        text = self._reader.add(piece)
        if text:
            yield from self._add_text(text, answer)

    def end(self, answer: AnswerStream) -> Iterator[tuple[str, dict[str, Any]]]:
        """End the items of an answer that has ended."""
        text, calls = self._reader.end()
        if text or not (calls or self._message):
            yield from self._add_text(text, answer)
        if self._message is not None:
            yield from self._end_message(self._message, answer, has_calls=bool(calls))
        for call in calls:
            yield from self._add_call(call)

    def _add_text(self, text: str, answer: AnswerStream) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._message is None:
            self._message = begun_message()
            yield "output_item.added", {"output_index": 0, "item": self._message.model_dump()}
            yield "content_part.added", self._place() | {"part": self._text.model_dump()}
        self._text.text += text
        told = self._told(answer)
        self._text.logprobs += told
        if text:
            shown = [token.model_dump() for token in told]
            yield "output_text.delta", self._place() | {"delta": text, "logprobs": shown}

    def _told(self, answer: AnswerStream) -> Sequence[TokenLogprob]:
        if self._teller is None:
            return []
        return self._teller.chat(answer, len(self._text.text)).content

    def _place(self) -> dict[str, Any]:
        assert self._message is not None, "there is no message"
        return {"item_id": self._message.id, "output_index": 0, "content_index": 0}

    def _end_message(
        self, message: OutputMessage, answer: AnswerStream, *, has_calls: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        message.status = status_of(answer, has_calls=has_calls)
        message.content = [self._text]
        self.output.append(message)
        part = self._text.model_dump()
        done = {"text": part["text"], "logprobs": part["logprobs"]}
        yield "output_text.done", self._place() | done
        yield "content_part.done", self._place() | {"part": part}
        yield "output_item.done", {"output_index": 0, "item": message.model_dump()}

    def _add_call(self, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
        item, arguments = begun_call(call), call.function.arguments
        number = {"output_index": len(self.output)}
        place = {"item_id": item.id, **number}
        yield "output_item.added", number | {"item": item.model_dump()}
        item.arguments, item.status = arguments, "completed"
        self.output.append(item)
        yield "function_call_arguments.delta", place | {"delta": arguments}
        yield "function_call_arguments.done", place | {"arguments": arguments, "name": item.name}
        yield "output_item.done", number | {"item": item.model_dump()}


class Events:
    """The events of one answer, numbered."""

    def __init__(self, service: Service, writer: Writer, items: OutputItems) -> None:
        self._service = service
        self._writer = writer
        self._items = items
        self._number = 0

    def _event(self, kind: str, **fields: Any) -> str:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event(data, kind)

    async def all(self, begin: Begin) -> AsyncGenerator[str, None]:
        """Run an answer and tell of it."""
        async with self._service.answer(begin) as running:
            begun = self._writer.begun().shown(running.answer)
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)
            async for piece in running:
                for kind, fields in self._items.add(piece, running.answer):
                    yield self._event(f"response.{kind}", **fields)
            for kind, fields in self._items.end(running.answer):
                yield self._event(f"response.{kind}", **fields)
            ended = self._writer.ended(running.answer, self._items.output)
            yield self._event(f"response.{ended.status}", response=ended.shown(running.answer))

    def failed(self, error: ApiError) -> str:
        """The event that ends a stream which failed; the official client raises its `error`."""
        found = error_body(error, "/v1/", self._service.hide)["error"]
        told = {name: found[name] for name in ("code", "message", "param")}
        return self._event("error", **told, error=found)
