"""The answers of `/v1/chat/completions`: whole, and as chunks of a stream."""

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from gritlite.runtime.pieces import FinishReason
from gritlite.serve.openai.log_probabilities import ChatLogprobs
from gritlite.serve.openai.tool_calls import Call, CalledFunction
from gritlite.serve.service.answers import AnswerStream
from gritlite.serve.stores.citations import Citation
from gritlite.version import __version__

Finish = Literal["stop", "length", "tool_calls", "function_call"]
OF_STORES = "Of NAME+STORE: the passages; left out of other answers."
FINGERPRINT = f"gritlite-{__version__}"


class PromptDetails(BaseModel):
    """About the prompt's tokens."""

    cached_tokens: int = Field(description="How many needed no evaluation.")


class Usage(BaseModel):
    """How many tokens were used."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[Call] | None = Field(None, description="Left out if there are none.")
    function_call: CalledFunction | None = Field(
        None, description="The call, where the request has the old `functions`; else left out."
    )


class Choice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: Finish = Field(description="length: at the limit, or the context was full.")


class ChatCompletion(BaseModel):
    """An answer, whole."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: list[Choice]
    usage: Usage
    citations: list[Citation] | None = Field(None, description=OF_STORES)


def usage_of(first: AnswerStream, *others: AnswerStream) -> Usage:
    """The tokens of answers to one prompt, which counts once."""
    made = sum(len(answer.generated) for answer in (first, *others))
    return Usage(
        prompt_tokens=first.prompt_tokens,
        completion_tokens=made,
        total_tokens=first.prompt_tokens + made,
        prompt_tokens_details=PromptDetails(cached_tokens=first.cached_tokens),
    )


def finish_of(reason: FinishReason | None) -> Finish:
    """Why an answer ended, in OpenAI's words."""
    return "length" if reason in ("length", "context") else "stop"


def new_id(prefix: str) -> str:
    """A new name for an answer."""
    return f"{prefix}-{uuid.uuid4().hex}"


def completion(choices: Sequence[Choice], usage: Usage, model: str) -> dict[str, Any]:
    """The JSON of answers that have ended, without citations."""
    made = ChatCompletion(
        id=new_id("chatcmpl"),
        created=int(time.time()),
        model=model,
        choices=list(choices),
        usage=usage,
        citations=None,
    ).model_dump(exclude={"citations"})
    for choice in made["choices"]:
        for field in ("tool_calls", "function_call"):
            if choice["message"][field] is None:
                del choice["message"][field]  # strict clients expect a list
    return made


class Chunks:
    """Makes the chunks of one stream, which share an id and a time.

    Each has `finish_reason` null but the last of its choice, and the key `usage` only if the
    client asked for it: strict clients fail otherwise.
    """

    def __init__(self, model: str, *, with_usage: bool) -> None:
        self._frame: dict[str, Any] = {
            "id": new_id("chatcmpl"),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }
        self._usage = {"usage": None} if with_usage else {}

    def delta(
        self,
        delta: dict[str, Any],
        *,
        index: int = 0,
        finish: Finish | None = None,
        logprobs: ChatLogprobs | None = None,
    ) -> dict[str, Any]:
        """A chunk that adds `delta` to a choice."""
        told = None if logprobs is None else logprobs.model_dump()
        choice = {"index": index, "delta": delta, "logprobs": told, "finish_reason": finish}
        return {**self._frame, "choices": [choice], **self._usage}

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The last chunk, which counts the tokens."""
        return {**self._frame, "choices": [], "usage": usage.model_dump()}
