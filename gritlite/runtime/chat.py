"""Chats: messages in, an answer out, with the oldest turns dropped when the context is full.

The words of the last exchange are remembered together with their tokens, so
that the next turn adds tokens to what the cells hold instead of spelling the
answer anew, which could tokenize differently.
"""

import threading
from collections.abc import Sequence

from gritlite.errors import InputTooLongError
from gritlite.runtime.generate import Answer, Engine, GenerateOptions
from gritlite.runtime.template import ChatTemplate, Message


class Chat:
    """Answers messages with one engine and one template. Thread-safe."""

    def __init__(self, engine: Engine, template: ChatTemplate) -> None:
        self._engine = engine
        self._template = template
        self._lock = threading.Lock()
        self._last_text = ""
        self._last_tokens: list[int] = []

    def answer(self, messages: Sequence[Message], options: GenerateOptions) -> Answer:
        """Begin the answer to `messages`.

        When they leave less than a quarter of the context for the answer (or
        less than `max_tokens`, if that is smaller), the oldest turns are left
        out, never a system message nor the last turn; the answer's `dropped`
        says how many messages. Raises InputTooLongError when even those do not
        fit.
        """
        kept = list(messages)
        reserve = min(options.max_tokens or self._engine.n_ctx, self._engine.n_ctx // 4)
        rendered, tokens = self._prompt(kept)
        while len(tokens) + reserve > self._engine.n_ctx and (fewer := without_oldest_turn(kept)):
            kept = fewer
            rendered, tokens = self._prompt(kept)
        if len(tokens) >= self._engine.n_ctx:
            raise InputTooLongError(
                f"the system message and the last message have {len(tokens)} tokens, but the "
                f"context holds {self._engine.n_ctx}: shorten them or use a longer context"
            )

        def make_room() -> list[int] | None:
            nonlocal kept, rendered
            fewer = without_oldest_turn(kept)
            if fewer is None:
                return None
            answer.dropped += len(kept) - len(fewer)
            kept = fewer
            rendered, shorter = self._prompt(kept)
            return shorter

        def remember(ended: Answer) -> None:
            if ended.whole:
                with self._lock:
                    self._last_text = rendered + self._template.mark(ended.text)
                    self._last_tokens = list(ended.tokens)

        answer = Answer(self._engine, tokens, options, make_room=make_room, on_end=remember)
        answer.dropped = len(messages) - len(kept)
        return answer

    def _prompt(self, messages: Sequence[Message]) -> tuple[str, list[int]]:
        rendered = self._template.render(messages)
        with self._lock:
            known, tokens = self._last_text, self._last_tokens
        if known and rendered.startswith(known):
            return rendered, tokens + self._template.tokenize(
                rendered[len(known) :], continues=True
            )
        return rendered, self._template.tokenize(rendered)


def without_oldest_turn(messages: Sequence[Message]) -> list[Message] | None:
    """Messages without the first user message and what answered it.

    System messages stay. None when only the last turn is left.
    """
    users = [i for i, message in enumerate(messages) if message["role"] == "user"]
    if len(users) < 2:
        return None
    return [
        message
        for i, message in enumerate(messages)
        if message["role"] == "system" or i >= users[1]
    ]
