"""`/api/chat` and `/api/generate`, whole and streamed."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import invalid
from gritlite.serve.ollama.answers import STREAM, ChatAnswer, GenerateAnswer
from gritlite.serve.ollama.failures import FAILURES
from gritlite.serve.ollama.names import target_of
from gritlite.serve.ollama.options import (
    check_generate,
    messages_for,
    messages_of,
    options_of,
    tools_of,
)
from gritlite.serve.ollama.reply import Reply, shown_call
from gritlite.serve.ollama.requests import ChatRequest, GenerateRequest
from gritlite.serve.openai.chat import begin_chat
from gritlite.serve.openai.completions import begin_completion
from gritlite.serve.openai.tool_calls import Call
from gritlite.serve.openai.tool_request import OfferedTools

router = APIRouter(prefix="/api", tags=["Ollama"], responses=FAILURES)


@router.post("/chat", response_model=ChatAnswer, responses={200: STREAM})
async def chat(body: ChatRequest, service: ReadyService) -> Response:
    """Answer a chat."""
    target_of(service.names, body.model)
    offered = tools_of(body)
    reply = Reply(service, body.model, _message, names=offered.names)
    if not body.messages:
        return reply.loaded()
    options = options_of(body, offered)
    begin = begin_chat(service, body.model, messages_of(body), options)
    return await reply.respond(begin, stream=body.stream)


@router.post("/generate", response_model=GenerateAnswer, responses={200: STREAM})
async def generate(body: GenerateRequest, service: ReadyService) -> Response:
    """Answer a prompt as a chat's first message, or continue it as it is."""
    target = target_of(service.names, body.model)
    check_generate(body)
    reply = Reply(service, body.model, _response)
    if not body.prompt:
        return reply.loaded()
    options = options_of(body, OfferedTools())
    if body.raw and target.store is not None:
        raise invalid("a raw prompt has no question to search a store for: leave out raw", "raw")
    if body.raw:
        raw = partial(begin_completion, prompt=body.prompt, options=options)
        return await reply.respond(raw, stream=body.stream)
    begin = begin_chat(service, body.model, messages_for(body), options)
    return await reply.respond(begin, stream=body.stream)


def _message(text: str, calls: Sequence[Call] = ()) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [shown_call(call) for call in calls]
    return {"message": message}


def _response(text: str, calls: Sequence[Call] = ()) -> dict[str, Any]:  # noqa: ARG001
    return {"response": text}
