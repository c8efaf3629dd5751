"""The body of `/v1/chat/completions`.

Only what is used or refused is listed; clients send more, which is ignored, and null for what
they do not set, which means the default.
"""

from pydantic import BaseModel, Field

from gritlite.serve.lists import Items
from gritlite.serve.openai.refused_fields import RefusedFields
from gritlite.serve.openai.sampling_request import SamplingRequest
from gritlite.serve.openai.tool_request import (
    ChosenFunction,
    FunctionDefinition,
    NamedChoice,
    ToolDefinition,
)


class ContentPart(BaseModel):
    """A part of a message."""

    type: str = Field(description="text; images and sound are refused.")
    text: str | None = Field(None, description="The part's text.")


class RequestedFunction(BaseModel):
    """The function that a call named."""

    name: str
    arguments: str | None = Field(None, description="A JSON object.")


class RequestedCall(BaseModel):
    """A call of a tool that an earlier answer made."""

    id: str | None = None
    function: RequestedFunction


class ChatMessage(BaseModel):
    """A message of a chat."""

    role: str = Field(description="system or developer, user, assistant, tool, or function.")
    content: str | Items[ContentPart] | None = Field(None, description="The text, or its parts.")
    tool_calls: Items[RequestedCall] | None = Field(None, description="What an answer called.")
    tool_call_id: str | None = Field(None, description="The call that a tool answers.")
    function_call: RequestedFunction | None = Field(None, description="The old form of a call.")
    name: str | None = Field(None, description="Whose message it is, for templates that show it.")
    refusal: str | None = Field(None, description="An assistant's text in place of `content`.")


class ChatRequest(SamplingRequest, RefusedFields):
    """A chat to answer. Fields that are not listed are ignored."""

    model: str | None = Field(
        None, description="A name of /v1/models; NAME+STORE answers from a store's passages."
    )
    messages: Items[ChatMessage] = Field(description="The chat, the question last.")
    max_tokens: int | None = Field(None, ge=1, description="Most tokens of the answer.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The same, newer.")
    n: int | None = Field(None, description="How many answers; the seed of each is one more.")
    logprobs: bool | None = Field(None, description="Whether to give log-probabilities.")
    top_logprobs: int | None = Field(
        None, ge=0, le=20, description="For so many likeliest tokens too."
    )
    tools: Items[ToolDefinition] | None = Field(
        None, description="Functions that the answer may call, where the model's template has any."
    )
    tool_choice: str | NamedChoice | None = Field(
        None, description="none, auto (also null), required, or a function."
    )
    parallel_tool_calls: bool | None = Field(None, description="false: at most one call.")
    functions: Items[FunctionDefinition] | None = Field(None, description="The old form of tools.")
    function_call: str | ChosenFunction | None = Field(
        None, description="The old form of tool_choice: none, auto (also null), or a function."
    )
