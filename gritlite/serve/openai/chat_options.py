"""From a request to what `GritLM.chat` takes: messages and options."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.template import Message
from gritlite.serve.errors import ApiError, invalid
from gritlite.serve.openai.chat_request import ChatMessage, ChatRequest, ContentPart, RequestedCall
from gritlite.serve.openai.legacy_functions import is_legacy, offered_functions, with_tool_calls
from gritlite.serve.openai.refused_fields import check_refused
from gritlite.serve.openai.sampling_request import ResponseFormat, SamplingRequest, biases_of
from gritlite.serve.openai.tool_request import OfferedTools, called_arguments, offered_tools

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_HAVE = {"messages": "the messages have", "prompt": "the prompt has"}
CONTEXT_EXCEEDED = "context_length_exceeded"  # OpenAI's code
_SEEDS = 2**32 - 1  # of a sampler; clients send larger and negative numbers too


def messages_of(request: ChatRequest) -> list[Message]:
    """The messages. Raises ApiError for roles, parts and calls that cannot be used."""
    if not request.messages:
        raise invalid("messages is empty: expected at least one", "messages")
    messages = enumerate(with_tool_calls(request.messages))
    return [_message(message, f"messages[{i}]") for i, message in messages]


def _message(message: ChatMessage, place: str) -> Message:
    """A message as templates take it: what it does not have is left out."""
    if message.role not in _ROLES:
        known = ", ".join(_ROLES)
        problem = f"{place}.role is {message.role!r}: expected one of {known}"
        raise invalid(problem, f"{place}.role")
    content = _text(message.content, f"{place}.content") or message.refusal or ""
    form: dict[str, Any] = {"role": _ROLES[message.role], "content": content}
    if message.tool_calls:
        calls = enumerate(message.tool_calls)
        form["tool_calls"] = [_call(call, f"{place}.tool_calls[{i}]") for i, call in calls]
    if message.role == "tool" and message.tool_call_id:
        form["tool_call_id"] = message.tool_call_id
    if message.name:
        form["name"] = message.name
    return form


def _call(call: RequestedCall, place: str) -> dict[str, Any]:
    arguments = called_arguments(call.function.arguments, f"{place}.function.arguments")
    called = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id or "", "type": "function", "function": called}


def _text(content: str | list[ContentPart] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for number, part in enumerate(content):
        if part.type != "text" or part.text is None:
            problem = f"{place}[{number}] is not a text: this model reads nothing else"
            raise invalid(problem, f"{place}[{number}].type")
    return "".join(part.text or "" for part in content)


def options_of(request: ChatRequest, number: int = 0) -> ChatOptions:
    """The options that the request sets for one of its answers. Raises ApiError."""
    check_refused(request.given())
    offered = tools_of(request)
    sampling = sampling_of(request, number)
    if offered.schema is not None and sampling["json_schema"] is not None:
        raise invalid("response_format and a required tool exclude each other", "response_format")
    options: dict[str, Any] = {
        **sampling,
        "max_tokens": request.max_completion_tokens or request.max_tokens,
        "json_schema": sampling["json_schema"] or offered.schema,
        "top_logprobs": _top_logprobs(request),
        "tools": offered.tools or None,
    }
    return given(options)


def sampling_of(request: SamplingRequest, number: int) -> dict[str, Any]:
    """The options that chats and completions share, None where the request sets none."""
    return {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "repeat_penalty": request.repeat_penalty,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "logit_bias": biases_of(request.logit_bias),
        "seed": seed_of(request.seed, number),
        "stop": request.stop,
        "json_schema": schema_of(request.response_format),
    }


def given(options: Mapping[str, Any]) -> ChatOptions:
    """The options that are not None."""
    return cast(ChatOptions, {name: each for name, each in options.items() if each is not None})


def tools_of(request: ChatRequest) -> OfferedTools:
    """The tools that an answer may call. Raises ApiError."""
    if is_legacy(request) or request.function_call is not None:
        return offered_functions(request)
    only_one = request.parallel_tool_calls is False
    return offered_tools(request.tools, request.tool_choice, only_one=only_one)


def seed_of(seed: int | None, number: int) -> int | None:
    """The seed of one of a request's answers, which would all be the same otherwise."""
    return None if seed is None else (seed + number) % _SEEDS


def _top_logprobs(request: ChatRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs:
        raise invalid("top_logprobs needs logprobs: true", "top_logprobs")
    return None


def schema_of(response_format: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema that an answer must follow, None for any text. Raises ApiError."""
    kind = "text" if response_format is None else response_format.type
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        problem = f"response_format.type is {kind!r}: expected text, json_object or json_schema"
        raise invalid(problem, "response_format.type")
    wanted = response_format.json_schema
    if wanted is None or wanted.schema_ is None:
        problem = "response_format.json_schema.schema is missing"
        raise invalid(problem, "response_format.json_schema.schema")
    return wanted.schema_


def within_context(
    model: AnyModel, messages: Sequence[Message], options: ChatOptions
) -> ChatOptions:
    """The options with a limit that fits the context, so that no message is ever left out.

    `GritLM.chat` drops the oldest messages where the context is full, but clients of this
    interface expect an error. Raises ApiError.
    """
    check_messages_length(model, messages)
    asked = len(model.chat_tokens(messages, options.get("tools", ())))
    return limited(model, asked, options, "messages")


def limited(model: AnyModel, asked: int, options: ChatOptions, field: str) -> ChatOptions:
    """The options for a prompt of so many tokens, whose answer ends with the context.

    Raises ApiError about `field`, messages or prompt, if it fills the context.
    """
    if asked >= model.context_length:
        raise _too_long(model, f"{_HAVE[field]} {asked}", field)
    room = model.context_length - asked
    return {**options, "max_tokens": min(options.get("max_tokens") or room, room)}


def check_messages_length(model: AnyModel, messages: Sequence[Message]) -> None:
    """Raise ApiError where the messages' number or length alone proves that they do not fit."""
    if len(messages) > model.context_length:
        problem = f"there are {len(messages)} messages, each of which has some"
        raise _too_long(model, problem, "messages")
    check_length(model, sum(map(_least_characters, messages)), "messages")


def check_length(model: AnyModel, characters: int, field: str) -> None:
    """Raise ApiError where a prompt's length alone proves that it does not fit.

    To tokenize 30 MB takes an answer's place for ten seconds.
    """
    least = model.tokens_beyond(characters, model.context_length - 1)
    if least:
        raise _too_long(model, f"{_HAVE[field]} at least {least}", field)


def _too_long(model: AnyModel, problem: str, field: str) -> ApiError:
    context = model.context_length
    return invalid(
        f"this model's maximum context length is {context} tokens, but {problem}: shorten them",
        field,
        CONTEXT_EXCEEDED,
    )


def _least_characters(message: Message) -> int:
    """Characters that a template leaves of a message.

    Templates take blanks from its ends, and the thoughts from earlier answers.
    """
    _, _, said = (message.get("content") or "").rpartition("</think>")
    return len(said.strip())
