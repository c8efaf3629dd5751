"""`/v1/completions`: raw prompts, continued without a chat template, whole and streamed."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from gritlite.runtime.model import GritLM
from gritlite.runtime.options import ChatOptions
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import invalid
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.openai.chat import failed
from gritlite.serve.openai.chat_answer import (
    FINGERPRINT,
    Finish,
    PromptDetails,
    Usage,
    finish_of,
    new_id,
    usage_of,
)
from gritlite.serve.openai.chat_options import check_length, limited
from gritlite.serve.openai.choices import checked_count, merged, run_all
from gritlite.serve.openai.completion_request import CompletionRequest, options_of, prompts_of
from gritlite.serve.openai.log_probabilities import CompletionLogprobs, Teller
from gritlite.serve.service.answers import AnswerStream, RunningAnswer
from gritlite.serve.service.service import Service
from gritlite.serve.stream import DONE, SSE, StreamedResponse, event

router = APIRouter(prefix="/v1", tags=["OpenAI"])
_STREAM = {"description": "The answers, or with `stream` their chunks.", "content": {SSE: {}}}
Begin = Callable[[GritLM], AnswerStream]


class CompletionChoice(BaseModel):
    """One answer."""

    index: int = Field(description="The prompt's number times `n`, plus the answer's number.")
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Finish = Field(description="length: at the limit, or the context was full.")


class Completion(BaseModel):
    """Answers, whole."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: list[CompletionChoice]
    usage: Usage


@router.post("/completions", response_model=Completion, responses={200: _STREAM})
async def completions(body: CompletionRequest, service: ReadyService) -> Response:
    """Continue prompts."""
    if service.names.find(body.model).store is not None:
        problem = "a prompt has no question to search a store for: use /v1/chat/completions"
        raise invalid(problem, "model")
    prompts, count = prompts_of(body), checked_count(body.n)
    begins = [
        partial(begin_completion, prompt=prompt, options=options_of(body, number))
        for prompt in prompts
        for number in range(count)
    ]
    frame = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": body.model or service.names.name,
        "system_fingerprint": FINGERPRINT,
    }
    echoed = [prompt if body.echo else "" for prompt in prompts for _ in range(count)]
    if body.stream:
        return StreamedResponse(
            _chunks(service, body, begins, echoed, frame),
            failure=partial(failed, service),
            pause=service.settings.keep_alive,
        )
    async with run_all(service, begins) as answers:
        for running in answers:
            async for _ in running:
                pass
        choices = [
            _Writer(service, body, number, running.answer).whole(echoed[number])
            for number, running in enumerate(answers)
        ]
        whole = {**frame, "choices": choices, "usage": _usage(answers, count)}
        return JsonResponse(Completion.model_validate(whole).model_dump())


def begin_completion(model: GritLM, *, prompt: str, options: ChatOptions) -> AnswerStream:
    """Begin to continue a raw prompt. Raises ApiError, and as `GritLM.generate`."""
    model.check_generates()
    check_length(model, len(prompt), "prompt")
    fitting = limited(model, len(model.prompt_tokens(prompt)), options, "prompt")
    return model.generate(prompt, stream=True, **fitting)


class _Writer:
    """Writes one choice, whole or as the choices of chunks."""

    def __init__(
        self, service: Service, body: CompletionRequest, index: int, answer: AnswerStream
    ) -> None:
        vocabulary = service.model.embedding_engine.vocabulary
        self._teller = None if body.logprobs is None else Teller(vocabulary)
        self._index = index
        self._answer = answer
        self._sent = 0

    def whole(self, echoed: str) -> CompletionChoice:
        """The choice of an answer that has ended."""
        return CompletionChoice(
            index=self._index,
            text=echoed + self._answer.text,
            logprobs=self._told(len(self._answer.text)),
            finish_reason=finish_of(self._answer.finish_reason),
        )

    def add(self, piece: str) -> dict[str, Any]:
        """The choice of a chunk with a piece."""
        self._sent += len(piece)
        return self.part(piece, logprobs=self._told(self._sent))

    def end(self) -> dict[str, Any]:
        """The choice of the last chunk."""
        return self.part("", finish=finish_of(self._answer.finish_reason))

    def part(
        self, text: str, *, finish: Finish | None = None, logprobs: CompletionLogprobs | None = None
    ) -> dict[str, Any]:
        """The choice of a chunk."""
        told = None if logprobs is None else logprobs.model_dump()
        return {"index": self._index, "text": text, "logprobs": told, "finish_reason": finish}

    def _told(self, length: int) -> CompletionLogprobs | None:
        return None if self._teller is None else self._teller.completion(self._answer, length)


async def _chunks(
    service: Service,
    body: CompletionRequest,
    begins: Sequence[Begin],
    echoed: Sequence[str],
    frame: dict[str, Any],
) -> AsyncGenerator[str, None]:
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    if with_usage:
        frame = {**frame, "usage": None}
    async with run_all(service, begins) as answers:
        writers = [
            _Writer(service, body, number, running.answer) for number, running in enumerate(answers)
        ]
        for writer, text in zip(writers, echoed, strict=True):
            if text:
                yield event({**frame, "choices": [writer.part(text)]})
        async for number, piece in merged(answers):
            writer = writers[number]
            choice = writer.end() if piece is None else writer.add(piece)
            yield event({**frame, "choices": [choice]})
        if with_usage:
            usage = _usage(answers, checked_count(body.n)).model_dump()
            yield event({**frame, "choices": [], "usage": usage})
        yield DONE


def _usage(answers: Sequence[RunningAnswer], count: int) -> Usage:
    """The tokens of all answers, `count` to each prompt."""
    found = [running.answer for running in answers]
    each = [usage_of(*found[start : start + count]) for start in range(0, len(found), count)]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in each),
        completion_tokens=sum(usage.completion_tokens for usage in each),
        total_tokens=sum(usage.total_tokens for usage in each),
        prompt_tokens_details=PromptDetails(
            cached_tokens=sum(usage.prompt_tokens_details.cached_tokens for usage in each)
        ),
    )
