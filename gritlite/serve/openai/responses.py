"""`/v1/responses`, whole and as events. Stateless: no answer is kept."""

from fastapi import APIRouter
from starlette.responses import Response

from gritlite.runtime.model import GritLM
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.openai.chat import Begin, answer_of
from gritlite.serve.openai.chat_options import tools_of
from gritlite.serve.openai.chat_request import ChatRequest
from gritlite.serve.openai.log_probabilities import Teller
from gritlite.serve.openai.response_events import Events, OutputItems
from gritlite.serve.openai.response_object import ResponseObject, Writer
from gritlite.serve.openai.response_request import ResponseRequest, chat_of, own_fields
from gritlite.serve.openai.tool_calls import CallReader
from gritlite.serve.service.answers import AnswerStream
from gritlite.serve.service.service import Service
from gritlite.serve.stream import SSE, StreamedResponse

router = APIRouter(prefix="/v1", tags=["OpenAI"])
_STREAM = {"description": "The answer, or with `stream` events.", "content": {SSE: {}}}


@router.post("/responses", response_model=ResponseObject, responses={200: _STREAM})
async def responses(body: ResponseRequest, service: ReadyService) -> Response:
    """Answer a question or a chat."""
    with own_fields():
        chat = chat_of(body)
        begin = _begin(chat, service)
        items = _items(chat, service)
    writer = Writer(body, body.model or service.names.name)
    if body.stream:
        events = Events(service, writer, items)
        return StreamedResponse(
            events.all(begin), failure=events.failed, pause=service.settings.keep_alive
        )
    async with service.answer(begin) as running:
        async for _ in running:
            pass
        answer = running.answer
        for _ in (*items.add(answer.text, answer), *items.end(answer)):
            pass  # events of a stream
        return JsonResponse(writer.ended(answer, items.output).shown(answer))


def _begin(chat: ChatRequest, service: Service) -> Begin:
    begin = answer_of(chat, service)

    def named(model: GritLM) -> AnswerStream:
        with own_fields():
            return begin(model)

    return named


def _items(chat: ChatRequest, service: Service) -> OutputItems:
    offered = tools_of(chat)
    reader = CallReader(offered.names, only_one=offered.only_one)
    vocabulary = service.model.embedding_engine.vocabulary
    return OutputItems(reader, Teller(vocabulary) if chat.logprobs else None)
