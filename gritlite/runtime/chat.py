"""Chats: messages in, an answer out, with the oldest turns dropped when the context is full.

The text of the last exchanges is remembered together with its tokens, so that the
next turn of each chat adds tokens to what was evaluated instead of tokenizing the
answer again, which could give other tokens.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gritlite.errors import InputTooLongError, UsageError
from gritlite.prompt import CACHED_QUESTION, QUESTION_FIELD, after_document
from gritlite.runtime.answer import Answer
from gritlite.runtime.generator import Generator
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.state import State
from gritlite.runtime.template import ChatTemplate, Message, check_messages

_REMEMBERED = 64  # exchanges


@dataclass(frozen=True)
class _Prompt:
    """The messages that fit, as the template renders them, and as tokens."""

    messages: Sequence[Message]
    text: str
    tokens: list[int]


@dataclass(frozen=True)
class _Said:
    """A prompt and the answer to it, as text and as the tokens that really were generated."""

    text: str
    tokens: tuple[int, ...]
    kind: str  # of what stands before, as `_kind` tells


class Chat:
    """Answers messages with one generator and one template. Thread-safe."""

    def __init__(self, generator: Generator, template: ChatTemplate) -> None:
        self._generator = generator
        self._template = template
        vocabulary = generator.engine.vocabulary
        self._document_bos = vocabulary.token_text(vocabulary.bos) if vocabulary.adds_bos else ""
        self._lock = threading.Lock()
        self._said: deque[_Said] = deque(maxlen=_REMEMBERED)

    def answer(
        self,
        messages: Sequence[Message],
        options: GenerateOptions,
        document: State | None = None,
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
        if document is not None:
            _check_behind(messages, document)
            messages = [_worded(message, wording) for message in messages]
        prompt = self._fitting(messages, document, options.max_tokens)

        def make_room() -> list[int] | None:
            nonlocal prompt
            fewer = without_oldest_turn(prompt.messages)
            if fewer is None:
                return None
            answer.dropped += len(prompt.messages) - len(fewer)
            prompt = self._prompt(fewer, document)
            return prompt.tokens

        def remember(ended: Answer) -> None:
            if ended.whole:
                text = prompt.text + self._template.mark(ended.text)
                with self._lock:
                    self._said.append(_Said(text, tuple(ended.tokens), _kind(document)))

        answer = Answer(
            self._generator,
            prompt.tokens,
            options,
            document=document,
            make_room=make_room,
            on_end=remember,
        )
        answer.dropped = len(messages) - len(prompt.messages)
        return answer

    def _fitting(
        self, messages: Sequence[Message], document: State | None, max_tokens: int | None
    ) -> "_Prompt":
        """The prompt of as many messages as leave room for the answer."""
        room = self._generator.room(document)
        reserve = min(max_tokens or room, room // 4)
        prompt = self._prompt(messages, document)
        while len(prompt.tokens) + reserve > room:
            fewer = without_oldest_turn(prompt.messages)
            if fewer is None:
                break
            prompt = self._prompt(fewer, document)
        if len(prompt.tokens) >= room:
            raise InputTooLongError(
                f"the system message and the last message have {len(prompt.tokens)} tokens, but "
                f"{self._generator.describe_room(document)}: shorten them or use a longer context"
            )
        return prompt

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of the prompt for the next answer. Raises as `answer`."""
        check_messages(messages)
        return self._template.tokenize(self._template.render(messages))

    def _prompt(self, messages: Sequence[Message], document: State | None) -> "_Prompt":
        if document is not None and document.opens_message:
            _, rendered = self._template.around_message(messages)
        elif document is not None:
            rendered = after_document(self._template.render(messages), self._document_bos)
        else:
            rendered = self._template.render(messages)
        said = self._said_before(rendered, _kind(document))
        if said is not None:
            added = self._template.tokenize(rendered[len(said.text) :], continues=True)
            return _Prompt(messages, rendered, [*said.tokens, *added])
        tokens = self._template.tokenize(rendered, continues=document is not None)
        return _Prompt(messages, rendered, tokens)

    def _said_before(self, rendered: str, kind: str) -> "_Said | None":
        """The longest remembered exchange that a rendered prompt continues."""
        with self._lock:
            known = [each for each in self._said if each.kind == kind]
        continued = [each for each in known if rendered.startswith(each.text)]
        return max(continued, key=lambda each: len(each.text), default=None)

    def prefix(self) -> list[int]:
        """The tokens of a chat up to the text of its first message, which is the user's."""
        before, _ = self._template.around_message([{"role": "user", "content": "text"}])
        return self._template.tokenize(before)


def _kind(document: State | None) -> str:
    """What tokens follow: those behind one kind do not stand behind another."""
    if document is None:
        return "nothing"
    return "opening" if document.opens_message else "document"


def _check_behind(messages: Sequence[Message], document: State) -> None:
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
