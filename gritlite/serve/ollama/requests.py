"""The bodies of `/api/chat` and `/api/generate`.

Only what is used is listed; clients send much more, such as `keep_alive`, which is ignored: the
model is never unloaded.
"""

from typing import Any

from pydantic import BaseModel, Field

from gritlite.serve.lists import Items
from gritlite.serve.openai.tool_request import ToolDefinition

Images = list[Any]


class ModelOptions(BaseModel):
    """How an answer is generated. Unlisted options, as of loading a model, are ignored."""

    num_predict: int | None = Field(
        None, description="Most tokens of the answer; 0 and less: to the end of the context."
    )
    temperature: float | None = Field(None, description="0 takes the likeliest token.")
    top_p: float | None = Field(None, description="Nucleus sampling.")
    top_k: int | None = Field(None, description="0 and less: all tokens.")
    min_p: float | None = Field(None, description="0: none.")
    repeat_penalty: float | None = Field(None, description="1: none.")
    frequency_penalty: float | None = Field(None, description="-2 to 2; 0: none.")
    presence_penalty: float | None = Field(None, description="-2 to 2; 0: none.")
    seed: int | None = Field(
        None, description="Makes a random answer repeatable; less than 0: does not."
    )
    stop: str | Items[str] | None = Field(None, description="Texts that end the answer.")


class AnswerRequest(BaseModel):
    """What both kinds of request have."""

    model: str | None = Field(
        None, description="A name of /api/tags, with or without `:latest`; null: the model."
    )
    stream: bool | None = Field(None, description="false: one object; else a line for each part.")
    format: str | dict[str, Any] | None = Field(None, description="json, or a JSON schema.")
    options: ModelOptions | None = None
    think: bool | str | None = Field(None, description="Refused: the model does not think.")


class CalledFunction(BaseModel):
    """A function that an answer called."""

    name: str
    arguments: dict[str, Any] | None = Field(None, description="By their names.")


class Call(BaseModel):
    """A call of a tool in an answer."""

    id: str | None = None
    function: CalledFunction


class ChatMessage(BaseModel):
    """A message of a chat."""

    role: str = Field(description="system, user, assistant, or tool.")
    content: str | None = Field(None, description="The text.")
    images: Images | None = Field(None, description="Refused: the model reads only text.")
    tool_calls: Items[Call] | None = Field(None, description="What an answer called.")
    tool_name: str | None = Field(None, description="The function whose result this is.")
    tool_call_id: str | None = Field(None, description="The call whose result this is.")


class ChatRequest(AnswerRequest):
    """A chat to answer. Fields that are not listed are ignored."""

    messages: Items[ChatMessage] | None = Field(
        None, description="The chat, the question last; none: the model is loaded already."
    )
    tools: Items[ToolDefinition] | None = Field(
        None, description="Functions that the answer may call, where the model's template has any."
    )


class GenerateRequest(AnswerRequest):
    """A prompt to answer. Fields that are not listed are ignored."""

    prompt: str | None = Field(
        None, description="A user's message, or with `raw` a text to continue."
    )
    system: str | None = Field(None, description="The system's message.")
    raw: bool | None = Field(None, description="Whether to use no chat template.")
    suffix: str | None = Field(None, description="Refused: nothing is filled in.")
    template: str | None = Field(None, description="Refused: the file's is used.")
    context: Items[int] | None = Field(None, description="Refused: use /api/chat.")
    images: Images | None = Field(None, description="Refused: the model reads only text.")
