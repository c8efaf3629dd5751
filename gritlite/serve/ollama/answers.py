"""What answers of `/api/chat` and `/api/generate` hold, for the OpenAPI document."""

from typing import Literal

from pydantic import BaseModel, Field

from gritlite.serve.ollama.reply import NDJSON
from gritlite.serve.ollama.requests import Call
from gritlite.serve.stores.citations import Citation

STREAM = {
    "description": "The answer whole, or a line for each part, of which the last has the facts.",
    "content": {NDJSON: {}},
}
_NANOSECONDS = "In nanoseconds."


class Facts(BaseModel):
    """How an answer ended, and what it took."""

    model: str
    created_at: str
    done: bool
    done_reason: Literal["stop", "length", "load"] | None = Field(
        None, description="load: there was no prompt."
    )
    total_duration: int | None = Field(None, description=_NANOSECONDS)
    load_duration: int | None = Field(None, description="The wait for a place. " + _NANOSECONDS)
    prompt_eval_count: int | None = Field(None, description="Tokens of the prompt.")
    prompt_eval_duration: int | None = Field(
        None, description="Until the first text came. " + _NANOSECONDS
    )
    eval_count: int | None = Field(None, description="Tokens of the answer.")
    eval_duration: int | None = Field(None, description="From then on. " + _NANOSECONDS)
    citations: list[Citation] | None = Field(None, description="Of NAME+STORE: the passages.")


class Message(BaseModel):
    """A part of a chat's answer."""

    role: Literal["assistant"]
    content: str
    tool_calls: list[Call] | None = None


class ChatAnswer(Facts):
    """An answer to a chat."""

    message: Message


class GenerateAnswer(Facts):
    """An answer to a prompt."""

    response: str
