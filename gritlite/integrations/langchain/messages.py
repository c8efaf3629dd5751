"""LangChain's messages as gritlite's, and an ended answer as LangChain's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
)

from gritlite.errors import UsageError
from gritlite.runtime.any_model import AnyAnswer
from gritlite.runtime.template import Message

_ROLES = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}


def as_chat(messages: Sequence[BaseMessage]) -> list[Message]:
    """Return messages as `GritLM.chat` takes them.

    Raises UsageError for what is not text, and for messages of tools.
    """
    return [
        {"role": _role(message, number), "content": _text(message, number)}
        for number, message in enumerate(messages, 1)
    ]


def _role(message: BaseMessage, number: int) -> str:
    if isinstance(message, ChatMessage):
        return str(message.role)  # checked by `chat`
    if isinstance(message, AIMessage) and message.tool_calls:
        raise UsageError(f"message {number} calls tools, which this model has not")
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    raise UsageError(
        f"message {number} is of the type {message.type}: expected system, human or ai"
    )


def _text(message: BaseMessage, number: int) -> str:
    parts = [message.content] if isinstance(message.content, str) else message.content
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str) or (isinstance(part, dict) and part["type"] != "text"):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise UsageError(f"message {number} has a part of the type {kind}: expected text")
        texts.append(text)
    return "".join(texts)


def ending(answer: AnyAnswer, path: Path) -> dict[str, Any]:
    """Return what LangChain's message tells of an ended answer besides its text."""
    prompt, generated = answer.prompt_tokens, len(answer.generated)
    reason = "length" if answer.finish_reason == "context" else answer.finish_reason
    return {
        "usage_metadata": {
            "input_tokens": prompt,
            "output_tokens": generated,
            "total_tokens": prompt + generated,
            "input_token_details": {"cache_read": answer.cached_tokens},
        },
        "response_metadata": {
            "finish_reason": reason,
            "model_name": str(path),
            "model_provider": "gritlite",
        },
    }
