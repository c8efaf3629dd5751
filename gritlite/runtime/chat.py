"""Chats: messages in, an answer out, with the oldest turns dropped when the context is full.

The words of the last exchange are remembered together with their tokens, so
that the next turn adds tokens to what the cells hold instead of spelling the
answer anew, which could tokenize differently.
"""

import threading
from collections.abc import Sequence

from gritlite.errors import InputTooLongError, UsageError
from gritlite.prompt import CACHED_QUESTION, QUESTION_FIELD, after_document
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
        self._last_kind = _kind(None)

    def answer(
        self,
        messages: Sequence[Message],
        options: GenerateOptions,
        document: Document | None = None,
        wording: str = CACHED_QUESTION,
    ) -> Answer:
        """Begin the answer to `messages`, which follow the document if there is one.

        Then each user message is worded as `wording` says, with it at `{question}`.

        When they leave less than a quarter of the context for the answer (or
        less than `max_tokens`, if that is smaller), the oldest turns are left
        out, never a system message nor the last turn; the answer's `dropped`
        says how many messages. Raises InputTooLongError when even those do not
        fit.
        """
        check_messages(messages)
        kept = list(messages)
        if document is not None:
            _check_behind(messages, document)
            kept = [_worded(message, wording) for message in messages]
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
                    self._last_kind = _kind(document)

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
        if document is not None and document.opens_message:
            _, rendered = self._template.around_message(messages)
        elif document is not None:
            rendered = after_document(self._template.render(messages), self._document_bos)
        else:
            rendered = self._template.render(messages)
        with self._lock:
            known, tokens, kind = self._last_text, self._last_tokens, self._last_kind
        if known and kind == _kind(document) and rendered.startswith(known):
            return rendered, tokens + self._template.tokenize(
                rendered[len(known) :], continues=True
            )
        return rendered, self._template.tokenize(rendered, continues=document is not None)

    def opening(self) -> list[int]:
        """The tokens of a chat up to the text of its first message, which is the user's."""
        before, _ = self._template.around_message([{"role": "user", "content": "text"}])
        return self._template.tokenize(before)


def _kind(document: Document | None) -> str:
    """What tokens follow: those behind one kind do not stand behind another."""
    if document is None:
        return "nothing"
    return "opening" if document.opens_message else "document"


def _check_behind(messages: Sequence[Message], document: Document) -> None:
    """Raise UsageError for a system message that a state has no place for."""
    if document.opens_message and messages[0]["role"] != "user":
        raise UsageError(
            "the document's state begins the user's message, and no message can stand before it"
        )


def _worded(message: Message, wording: str) -> Message:
    """A message as it is worded behind a document."""
    if message["role"] != "user":
        return message
    return {**message, "content": wording.replace(QUESTION_FIELD, message["content"])}


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
