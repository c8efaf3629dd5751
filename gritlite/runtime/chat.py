"""Chats: messages in, an answer out, with the oldest turns dropped when the context is full.

The words of the last exchange are remembered together with their tokens, so
that the next turn adds tokens to what the cells hold instead of spelling the
answer anew, which could tokenize differently.
"""

import threading
from collections.abc import Sequence

from gritlite.errors import InputTooLongError
from gritlite.prompt import after_document, cached_question
from gritlite.runtime.document import Document
from gritlite.runtime.generate import Answer, Engine, GenerateOptions, room_text
from gritlite.runtime.template import ChatTemplate, Message, check_messages


class Chat:
    """Answers messages with one engine and one template. Thread-safe."""

    def __init__(self, engine: Engine, template: ChatTemplate) -> None:
        self._engine = engine
        self._template = template
        weights = engine.weights
        self._document_bos = weights.spelling(weights.bos) if weights.adds_bos else ""
        self._lock = threading.Lock()
        self._last_text = ""
        self._last_tokens: list[int] = []
        self._last_had_document = False

    def answer(
        self,
        messages: Sequence[Message],
        options: GenerateOptions,
        document: Document | None = None,
    ) -> Answer:
        """Begin the answer to `messages`, which follow the document if there is one.

        When they leave less than a quarter of the context for the answer (or
        less than `max_tokens`, if that is smaller), the oldest turns are left
        out, never a system message nor the last turn; the answer's `dropped`
        says how many messages. Raises InputTooLongError when even those do not
        fit.
        """
        check_messages(messages)
        kept = list(messages) if document is None else [_asked(message) for message in messages]
        room = self._engine.room(document)
        reserve = min(options.max_tokens or room, room // 4)
        rendered, tokens = self._prompt(kept, document)
        while len(tokens) + reserve > room and (fewer := without_oldest_turn(kept)):
            kept = fewer
            rendered, tokens = self._prompt(kept, document)
        if len(tokens) >= room:
            raise InputTooLongError(
                f"the system message and the last message have {len(tokens)} tokens, but "
                f"{room_text(self._engine, document)}: shorten them or use a longer context"
            )

        def make_room() -> list[int] | None:
            nonlocal kept, rendered
            fewer = without_oldest_turn(kept)
            if fewer is None:
                return None
            answer.dropped += len(kept) - len(fewer)
            kept = fewer
            rendered, shorter = self._prompt(kept, document)
            return shorter

        def remember(ended: Answer) -> None:
            if ended.whole:
                with self._lock:
                    self._last_text = rendered + self._template.mark(ended.text)
                    self._last_tokens = list(ended.tokens)
                    self._last_had_document = document is not None

        answer = Answer(
            self._engine,
            tokens,
            options,
            document=document,
            make_room=make_room,
            on_end=remember,
        )
        answer.dropped = len(messages) - len(kept)
        return answer

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of the prompt for the next answer. Raises as `answer`."""
        check_messages(messages)
        return self._template.tokenize(self._template.render(messages))

    def _prompt(
        self, messages: Sequence[Message], document: Document | None
    ) -> tuple[str, list[int]]:
        rendered = self._template.render(messages)
        follows = document is not None
        if follows:
            rendered = after_document(rendered, self._document_bos)
        with self._lock:
            known, tokens, followed = self._last_text, self._last_tokens, self._last_had_document
        if known and follows == followed and rendered.startswith(known):
            return rendered, tokens + self._template.tokenize(
                rendered[len(known) :], continues=True
            )
        return rendered, self._template.tokenize(rendered, continues=follows)


def _asked(message: Message) -> Message:
    """A message as it is worded behind a document."""
    if message["role"] != "user":
        return message
    return {**message, "content": cached_question(message["content"])}


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
