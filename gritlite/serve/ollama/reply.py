"""An answer in Ollama's form: one object, or a line of JSON for each part, the facts in the last.

Durations are in nanoseconds. What Ollama calls loading is here the wait for a place; the prompt
is evaluated until the first text comes.
"""

import json
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from starlette.responses import Response

from gritlite.runtime.model import GritLM
from gritlite.serve.json_response import JsonResponse, to_json
from gritlite.serve.ollama.failures import failed
from gritlite.serve.openai.chat_answer import finish_of
from gritlite.serve.openai.tool_calls import Call, CallReader
from gritlite.serve.service.answers import AnswerStream, RunningAnswer
from gritlite.serve.service.service import Service
from gritlite.serve.stores.cited_answer import citations_of
from gritlite.serve.stream import StreamedResponse

NDJSON = "application/x-ndjson"


class Show(Protocol):
    """Shows a part of an answer: a text, and the calls in it."""

    def __call__(self, text: str, calls: Sequence[Call] = ()) -> dict[str, Any]: ...


class Reply:
    """Answers one request. `names` are the functions that the answer may call."""

    def __init__(
        self,
        service: Service,
        name: str | None,
        show: Show,
        *,
        names: Collection[str] = (),
    ) -> None:
        self._service = service
        self._name = name or service.names.name
        self._show = show
        self._reader = CallReader(names)
        self._arrived = time.monotonic_ns()

    async def respond(
        self, begin: Callable[[GritLM], AnswerStream], *, stream: bool | None
    ) -> Response:
        """The response with the answer that `begin` begins; null streams, as Ollama does."""
        if stream is not False:
            return StreamedResponse(
                self._lines(begin),
                failure=partial(failed, self._service),
                pause=self._service.settings.keep_alive,
                media_type=NDJSON,
                comment="",
            )
        async with self._service.answer(begin) as running:
            async for _ in running:
                pass
            text = self._reader.add(running.answer.text)
            rest, calls = self._reader.end()
            return JsonResponse(self._part(text + rest, calls) | self._facts(running))

    def loaded(self) -> Response:
        """The response to a request without a prompt, by which clients load a model."""
        return JsonResponse(self._part("") | {"done": True, "done_reason": "load"})

    async def _lines(self, begin: Callable[[GritLM], AnswerStream]) -> AsyncGenerator[str, None]:
        async with self._service.answer(begin) as running:
            async for piece in running:
                if text := self._reader.add(piece):
                    yield to_json(self._part(text)) + "\n"
            text, calls = self._reader.end()
            if text or calls:
                yield to_json(self._part(text, calls)) + "\n"
            yield to_json(self._part("") | self._facts(running)) + "\n"

    def _part(self, text: str, calls: Sequence[Call] = ()) -> dict[str, Any]:
        frame = {"model": self._name, "created_at": now(), "done": False}
        return frame | self._show(text, calls)

    def _facts(self, running: RunningAnswer) -> dict[str, Any]:
        """How an answer ended, and what it took."""
        answer, moments = running.answer, running.moments
        first = moments.first or moments.ended
        return {
            "done": True,
            "done_reason": finish_of(answer.finish_reason),
            "total_duration": time.monotonic_ns() - self._arrived,
            "load_duration": moments.began - self._arrived,
            "prompt_eval_count": answer.prompt_tokens,
            "prompt_eval_duration": first - moments.began,
            "eval_count": len(answer.generated),
            "eval_duration": moments.ended - first,
        } | citations_of(answer)


def now() -> str:
    """This moment, as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def shown_call(call: Call) -> dict[str, Any]:
    """A call in Ollama's form, whose arguments are an object."""
    arguments = json.loads(call.function.arguments)
    return {"id": call.id, "function": {"name": call.function.name, "arguments": arguments}}
