"""LlamaIndex's messages as gritlite's, and an answer so far as LlamaIndex's."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
)

from gritlite.errors import UsageError
from gritlite.runtime.answer import Answer
from gritlite.runtime.template import Message

_ROLES = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
}


def as_chat(messages: Sequence[ChatMessage]) -> list[Message]:
    """Return messages as `GritLM.chat` takes them.

    Raises UsageError for what is not text, and for messages of tools.
    """
    return [
        {"role": _role(message, number), "content": _text(message, number)}
        for number, message in enumerate(messages, 1)
    ]


def _role(message: ChatMessage, number: int) -> str:
    if message.role not in _ROLES:
        raise UsageError(
            f"message {number} has the role {message.role.value}: expected one of "
            f"{', '.join(role.value for role in _ROLES)}"
        )
    return _ROLES[message.role]


def _text(message: ChatMessage, number: int) -> str:
    for block in message.blocks:
        if not isinstance(block, TextBlock):
            raise UsageError(
                f"message {number} has a block of the type {block.block_type}: expected text"
            )
    return "\n".join(block.text for block in message.blocks)  # as LlamaIndex joins them


def chat_response(answer: Answer, piece: str | None = None) -> ChatResponse:
    """Return the answer so far, of which `piece` is new."""
    message = ChatMessage(role=MessageRole.ASSISTANT, content=answer.text)
    return ChatResponse(message=message, delta=piece, raw=_raw(answer))


def completion_response(answer: Answer, piece: str | None = None) -> CompletionResponse:
    """Return the answer so far, of which `piece` is new."""
    return CompletionResponse(text=answer.text, delta=piece, raw=_raw(answer))


def _raw(answer: Answer) -> dict[str, Any]:
    """Tokens under the names that LlamaIndex's TokenCountingHandler reads; why it ended."""
    prompt, generated = answer.prompt_tokens, len(answer.generated)
    return {
        "finish_reason": "length" if answer.finish_reason == "context" else answer.finish_reason,
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
        },
    }
