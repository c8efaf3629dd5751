"""The body of `/v1/responses`, as the chat that it asks for.

The server keeps no answers: what refers to an earlier one is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, Field

from gritlite.errors import GritLiteError
from gritlite.serve.errors import ApiError, as_api_error, invalid
from gritlite.serve.lists import Items
from gritlite.serve.openai.chat_request import ChatRequest
from gritlite.serve.openai.refused_fields import check_refused
from gritlite.serve.openai.response_input import InputItem, messages_of
from gritlite.serve.openai.response_tools import (
    ResponseChoice,
    ResponseTool,
    chat_choice,
    chat_tools,
)

LOGPROBS = "message.output_text.logprobs"


class TextFormat(BaseModel):
    """What an answer's text is."""

    type: str = Field(description="text, json_object or json_schema.")
    name: str | None = Field(None, description="A schema's name.")
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="The JSON schema.")


class TextOptions(BaseModel):
    """About an answer's text."""

    format: TextFormat | None = None
    verbosity: str | None = Field(None, description="medium or null.")


class Reasoning(BaseModel):
    """About what the model does before it answers."""

    effort: str | None = Field(None, description="none or null: it does nothing.")


class ResponseRequest(BaseModel):
    """A question or a chat to answer. Fields that are not listed are ignored."""

    input: str | Items[InputItem] = Field(description="The question, or the chat's messages.")
    model: str | None = Field(
        None, description="A name of /v1/models; NAME+STORE answers from a store's passages."
    )
    instructions: str | None = Field(None, description="A system message before the input.")
    stream: bool | None = Field(None, description="Whether to send events as the answer is made.")
    max_output_tokens: int | None = Field(None, ge=1, description="Most tokens of the answer.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 takes the likeliest token.")
    top_p: float | None = Field(None, ge=0, le=1, description="Nucleus sampling.")
    seed: int | None = Field(None, description="Makes a random answer repeatable.")
    text: TextOptions | None = None
    include: Items[str] | None = Field(None, description=f"{LOGPROBS} is known.")
    top_logprobs: int | None = Field(
        None, ge=0, le=20, description="For so many likeliest tokens too."
    )
    metadata: dict[str, str] | None = Field(None, description="Comes back with the answer.")
    store: bool | None = Field(None, description="false or null: answers are not kept.")
    previous_response_id: str | None = Field(None, description="null: answers are not kept.")
    conversation: str | dict[str, Any] | None = Field(None, description="null.")
    background: bool | None = Field(None, description="false or null.")
    prompt: dict[str, Any] | None = Field(None, description="null: there are no stored prompts.")
    reasoning: Reasoning | None = None
    moderation: Any = Field(None, description="null: nothing is moderated.")
    tools: Items[ResponseTool] | None = Field(
        None, description="Functions that the answer may call, where the model's template has any."
    )
    tool_choice: str | ResponseChoice | None = Field(
        None, description="none, auto (also null), required, or a function."
    )
    parallel_tool_calls: bool | None = Field(None, description="false: at most one call.")

    @property
    def wants_logprobs(self) -> bool:
        """Whether log-probabilities are asked for."""
        return LOGPROBS in (self.include or ()) or bool(self.top_logprobs)


def chat_of(request: ResponseRequest) -> ChatRequest:
    """The chat that a request asks for. Raises ApiError for what is not supported."""
    _check_supported(request)
    messages = messages_of(request.input)
    if request.instructions is not None:
        messages = [{"role": "system", "content": request.instructions}, *messages]
    chat = {
        "model": request.model,
        "messages": messages,
        "tools": chat_tools(request.tools),
        "tool_choice": chat_choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls,
        "max_completion_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "response_format": _format(request.text),
        "logprobs": request.wants_logprobs,
        "top_logprobs": request.top_logprobs,
    }
    return ChatRequest.model_validate(chat)


def _check_supported(request: ResponseRequest) -> None:
    no_state = "answers are not kept here: send the whole conversation in input"
    refused = {
        "store": (request.store, f"{no_state}, and store: false"),
        "previous_response_id": (request.previous_response_id, no_state),
        "conversation": (request.conversation, no_state),
        "background": (request.background, "answers are not kept here: use stream"),
        "prompt": (request.prompt, "there are no stored prompts here: send input"),
    }
    for field, (given, reason) in refused.items():
        if given:
            raise invalid(f"{field} is not supported: {reason}", field, "unsupported")
    check_refused(
        (
            ("moderation", request.moderation),
            ("reasoning.effort", request.reasoning and request.reasoning.effort),
            ("text.verbosity", request.text and request.text.verbosity),
        )
    )


def _format(text: TextOptions | None) -> dict[str, Any] | None:
    wanted = None if text is None else text.format
    if wanted is None:
        return None
    if wanted.type not in ("text", "json_object", "json_schema"):
        problem = f"text.format.type is {wanted.type!r}: expected text, json_object or json_schema"
        raise invalid(problem, "text.format.type")
    if wanted.type == "json_schema" and wanted.schema_ is None:
        raise invalid("text.format.schema is missing", "text.format.schema")
    return {"type": wanted.type, "json_schema": {"schema": wanted.schema_}}


# what chats call the fields of this interface
_FIELDS = {"messages": "input", "response_format": "text.format"}


@contextmanager
def own_fields() -> Iterator[None]:
    """Let errors of a chat name the fields of `/v1/responses`."""
    try:
        yield
    except (ApiError, GritLiteError) as error:
        known = as_api_error(error)
        known.param = _FIELDS.get(known.param or "", known.param)
        raise known from error
