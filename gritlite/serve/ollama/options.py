"""From a request to what `GritLM.chat` and `generate` take: messages and options."""

from typing import Any

from gritlite.runtime.options import ChatOptions
from gritlite.runtime.template import ROLES, Message
from gritlite.serve.errors import invalid
from gritlite.serve.ollama.requests import (
    AnswerRequest,
    Call,
    ChatMessage,
    ChatRequest,
    GenerateRequest,
    ModelOptions,
)
from gritlite.serve.openai.chat_options import given, seed_of
from gritlite.serve.openai.tool_request import OfferedTools, offered_tools

_IMAGES = "the model reads only text: leave the images out"


def options_of(request: AnswerRequest, offered: OfferedTools) -> ChatOptions:
    """The options that a request sets. Raises ApiError."""
    if request.think:
        raise invalid("this model does not support thinking: leave out think", "think")
    options = request.options or ModelOptions.model_validate({})
    seed = options.seed
    return given(
        {
            "max_tokens": options.num_predict if (options.num_predict or 0) > 0 else None,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": None if options.top_k is None else max(options.top_k, 0),
            "min_p": options.min_p,
            "repeat_penalty": options.repeat_penalty,
            "frequency_penalty": options.frequency_penalty,
            "presence_penalty": options.presence_penalty,
            "seed": None if seed is None or seed < 0 else seed_of(seed, 0),
            "stop": options.stop,
            "json_schema": _schema(request.format),
            "tools": offered.tools or None,
        }
    )


def _schema(wanted: str | dict[str, Any] | None) -> dict[str, Any] | None:
    """The schema that an answer must follow, None for any text."""
    if wanted == "json":
        return {"type": "object"}
    if isinstance(wanted, str) and wanted:
        raise invalid(f"format is {wanted!r}: expected json or a JSON schema", "format")
    return wanted or None


def tools_of(request: ChatRequest) -> OfferedTools:
    """The tools that an answer may call. Raises ApiError."""
    return offered_tools(request.tools, None)


def messages_of(request: ChatRequest) -> list[Message]:
    """The messages. Raises ApiError for roles that are unknown and for images."""
    return [_message(each, f"messages[{i}]") for i, each in enumerate(request.messages or ())]


def _message(message: ChatMessage, place: str) -> Message:
    """A message as templates take it: what it does not have is left out."""
    if message.role not in ROLES:
        problem = f"{place}.role is {message.role!r}: expected one of {', '.join(ROLES)}"
        raise invalid(problem, f"{place}.role")
    if message.images:
        raise invalid(f"{place}.images: {_IMAGES}", f"{place}.images")
    form: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.tool_calls:
        form["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.role == "tool" and message.tool_name:
        form["name"] = message.tool_name
    if message.role == "tool" and message.tool_call_id:
        form["tool_call_id"] = message.tool_call_id
    return form


def _call(call: Call) -> dict[str, Any]:
    called = {"name": call.function.name, "arguments": call.function.arguments or {}}
    return {"id": call.id or "", "type": "function", "function": called}


def check_generate(request: GenerateRequest) -> None:
    """Raise ApiError for what cannot be done with a prompt."""
    if request.images:
        raise invalid(f"images: {_IMAGES}", "images")
    if request.suffix:
        raise invalid("this model does not support insert: leave out suffix", "suffix")
    if request.template:
        raise invalid("template cannot be chosen: use raw, or the file's own", "template")
    if request.context:
        raise invalid("context is not supported: use /api/chat for conversations", "context")
    if request.raw and request.system:
        raise invalid("raw uses no template, so there is no place for system", "system")


def messages_for(request: GenerateRequest) -> list[Message]:
    """A prompt as a chat."""
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": request.prompt or ""}]
