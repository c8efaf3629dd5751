"""`/v1/chat/completions`, whole and streamed."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

from fastapi import APIRouter
from starlette.responses import Response

from gritlite.runtime.model import GritLM
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.template import Message
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import ApiError, error_body, invalid
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.openai.chat_answer import ChatCompletion, Chunks, completion, usage_of
from gritlite.serve.openai.chat_choice import ChoiceWriter
from gritlite.serve.openai.chat_options import messages_of, options_of, tools_of, within_context
from gritlite.serve.openai.chat_request import ChatRequest
from gritlite.serve.openai.choices import checked_count, merged, run_all
from gritlite.serve.openai.legacy_functions import is_legacy
from gritlite.serve.openai.log_probabilities import Teller
from gritlite.serve.openai.tool_calls import CallReader
from gritlite.serve.service.answers import AnswerStream, RunningAnswer
from gritlite.serve.service.service import Service
from gritlite.serve.stores.cited_answer import begin_cited, citations_of
from gritlite.serve.stream import DONE, SSE, StreamedResponse, event

router = APIRouter(prefix="/v1", tags=["OpenAI"])
_STREAM = {
    "description": "The answer, or with `stream` its chunks, the first of which has `citations`.",
    "content": {SSE: {}},
}
Begin = Callable[[GritLM], AnswerStream]


@router.post("/chat/completions", response_model=ChatCompletion, responses={200: _STREAM})
async def chat_completions(body: ChatRequest, service: ReadyService) -> Response:
    """Answer a chat."""
    begins = [answer_of(body, service, number) for number in range(checked_count(body.n))]
    name = body.model or service.names.name
    if body.stream:
        return StreamedResponse(
            _chunks(service, body, begins, name),
            failure=partial(failed, service),
            pause=service.settings.keep_alive,
        )
    async with run_all(service, begins) as answers:
        for running in answers:
            async for _ in running:
                pass
        choices = [writer.whole() for writer in _writers(service, body, answers)]
        usage = usage_of(*(running.answer for running in answers))
        return JsonResponse(completion(choices, usage, name) | citations_of(answers[0].answer))


def answer_of(body: ChatRequest, service: Service, number: int = 0) -> Begin:
    """What begins one of the answers to a request, in a thread.

    Raises ApiError for a wrong request.
    """
    return begin_chat(service, body.model, messages_of(body), options_of(body, number))


def begin_chat(
    service: Service, name: str | None, messages: list[Message], options: ChatOptions
) -> Begin:
    """What begins an answer of the model or store of that name, in a thread.

    Raises ApiError for an unknown name and for tools of a store.
    """
    target = service.names.find(name)
    if target.store is not None:
        if options.get("tools"):
            raise invalid("an answer from a store calls no tools: leave them out", "tools")
        store = service.store(target.store)
        return lambda _: begin_cited(store, messages, options)
    return partial(_begin, messages=messages, options=options)


def _begin(model: GritLM, *, messages: list[Message], options: ChatOptions) -> AnswerStream:
    model.check_generates()
    fitting = within_context(model, messages, options)
    return model.chat(messages, stream=True, **fitting)


def _writers(
    service: Service, body: ChatRequest, answers: Sequence[RunningAnswer]
) -> list[ChoiceWriter]:
    offered = tools_of(body)
    vocabulary = service.model.embedding_engine.vocabulary
    return [
        ChoiceWriter(
            number,
            running.answer,
            CallReader(offered.names, only_one=offered.only_one),
            Teller(vocabulary) if body.logprobs else None,
            legacy=is_legacy(body),
        )
        for number, running in enumerate(answers)
    ]


async def _chunks(
    service: Service, body: ChatRequest, begins: Sequence[Begin], name: str
) -> AsyncGenerator[str, None]:
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    chunks = Chunks(name, with_usage=with_usage)
    async with run_all(service, begins) as answers:
        writers = _writers(service, body, answers)
        for writer in writers:
            yield event(writer.begin(chunks) | citations_of(answers[0].answer))
        async for number, piece in merged(answers):
            writer = writers[number]
            for chunk in writer.end(chunks) if piece is None else writer.add(piece, chunks):
                yield event(chunk)
        if with_usage:
            yield event(chunks.usage(usage_of(*(running.answer for running in answers))))
        yield DONE


def failed(service: Service, error: ApiError) -> str:
    """The event that ends a stream which failed, as OpenAI's clients know it."""
    return event(error_body(error, "/v1/", service.hide))
