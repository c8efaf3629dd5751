"""Chats: messages in, an answer out, with the oldest turns dropped when the context is full.

The text of recent exchanges is remembered together with its tokens. So the next turn of a
chat extends the evaluated tokens; tokenizing the answer again could give other tokens.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gritlite.errors import InputTooLongError, UsageError
from gritlite.prompt import CACHED_QUESTION, QUESTION_FIELD, after_document, check_wording
from gritlite.runtime.answer import Answer
from gritlite.runtime.generator import Generator
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.state import State
from gritlite.runtime.template import ChatTemplate, Message, Tool, check_messages

# exchanges, and the tokens of all of them together: at most some 10 MB
_REMEMBERED, _REMEMBERED_TOKENS = 64, 1 << 18


@dataclass(frozen=True)
class _Prompt:
    """The messages that fit, their rendered text, and its tokens."""

    messages: Sequence[Message]
    text: str
    tokens: list[int]


@dataclass(frozen=True)
class _Exchange:
    """A prompt and its answer, as text and as the tokens that were really evaluated."""

    text: str
    tokens: tuple[int, ...]
    prefix: str  # what stands before the tokens, as `_prefix_kind` names it


class Chat:
    """Answers messages with a generator and a chat template. Thread-safe."""

    def __init__(self, generator: Generator, template: ChatTemplate) -> None:
        self._generator = generator
        self._template = template
        vocabulary = generator.engine.vocabulary
        self._document_bos = vocabulary.token_text(vocabulary.bos) if vocabulary.adds_bos else ""
        self._lock = threading.Lock()
        self._exchanges: deque[_Exchange] = deque()  # the oldest first

    def answer(
        self,
        messages: Sequence[Message],
        options: GenerateOptions,
        document: State | None = None,
        wording: str = CACHED_QUESTION,
    ) -> Answer:
        """Return the answer to `messages`, to be streamed.

        With a document the messages follow it, and each user message takes the place of
        `{question}` in `wording`.

        When the messages leave less than a quarter of the context for the answer (or
        less than `max_tokens`, if that is smaller), the oldest turns are dropped,
        but never a system message or the last turn; the answer's `dropped`
        counts the messages. Raises InputTooLongError if the rest does not fit, and
        UsageError for messages that are not valid.
        """
        check_messages(messages)
        if document is not None:
            _check_first_message(messages, document)
            check_wording(wording)
            messages = [_worded(message, wording) for message in messages]
        prompt = self._fitting(messages, document, options)

        def make_room() -> list[int] | None:
            nonlocal prompt
            fewer = without_oldest_turn(prompt.messages)
            if fewer is None:
                return None
            answer.dropped += len(prompt.messages) - len(fewer)
            prompt = self._prompt(fewer, document, options.tools)
            return prompt.tokens

        def remember(ended: Answer) -> None:
            if ended.is_exact:
                text = prompt.text + self._template.mark(ended.text)
                self._remember(_Exchange(text, tuple(ended.tokens), _prefix_kind(document)))

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

    def _remember(self, exchange: "_Exchange") -> None:
        """Remember an exchange; forget the oldest ones over the limits, but never this one."""
        with self._lock:
            self._exchanges.append(exchange)
            tokens = sum(len(each.tokens) for each in self._exchanges)
            while len(self._exchanges) > _REMEMBERED or (
                len(self._exchanges) > 1 and tokens > _REMEMBERED_TOKENS
            ):
                tokens -= len(self._exchanges.popleft().tokens)

    def _fitting(
        self, messages: Sequence[Message], document: State | None, options: GenerateOptions
    ) -> "_Prompt":
        """Return the prompt without the oldest turns that leave too little room to answer."""
        room = self._generator.room(document)
        reserve = min(options.max_tokens or room, room // 4)
        prompt = self._prompt(messages, document, options.tools)
        while len(prompt.tokens) + reserve > room:
            fewer = without_oldest_turn(prompt.messages)
            if fewer is None:
                break
            prompt = self._prompt(fewer, document, options.tools)
        if len(prompt.tokens) >= room:
            raise InputTooLongError(
                f"the system message and the last message have {len(prompt.tokens)} tokens, but "
                f"{self._generator.describe_room(document)}: shorten them or use a longer context"
            )
        return prompt

    def tokens(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """Return the tokens of the prompt for the next answer. Raises as `answer`."""
        check_messages(messages)
        return self._template.tokenize(self._template.render(messages, tools))

    def _prompt(
        self, messages: Sequence[Message], document: State | None, tools: Sequence[Tool]
    ) -> "_Prompt":
        if document is not None and document.opens_message:
            _, rendered = self._template.around_message(messages, tools)
        elif document is not None:
            rendered = after_document(self._template.render(messages, tools), self._document_bos)
        else:
            rendered = self._template.render(messages, tools)
        exchange = self._continued_exchange(rendered, _prefix_kind(document))
        if exchange is not None:
            added = self._template.tokenize(rendered[len(exchange.text) :], continues=True)
            return _Prompt(messages, rendered, [*exchange.tokens, *added])
        tokens = self._template.tokenize(rendered, continues=document is not None)
        return _Prompt(messages, rendered, tokens)

    def _continued_exchange(self, rendered: str, prefix: str) -> "_Exchange | None":
        """Return the longest remembered exchange that a rendered prompt continues."""
        with self._lock:
            known = [each for each in self._exchanges if each.prefix == prefix]
        continued = [each for each in known if rendered.startswith(each.text)]
        return max(continued, key=lambda each: len(each.text), default=None)

    def prefix(self) -> list[int]:
        """Return the tokens of a chat before the text of a first user message."""
        before, _ = self._template.around_message([{"role": "user", "content": "text"}])
        return self._template.tokenize(before)


def _prefix_kind(document: State | None) -> str:
    """Return the kind of prefix before a chat's tokens; tokens are reused after one kind only."""
    if document is None:
        return "none"
    return "message" if document.opens_message else "document"


def _check_first_message(messages: Sequence[Message], document: State) -> None:
    """Raise UsageError if a message stands before a state that begins the user's message."""
    if document.opens_message and messages[0]["role"] != "user":
        raise UsageError(
            "the document's state begins the user's message: no message can come before it"
        )


def _worded(message: Message, wording: str) -> Message:
    """Return a message as it is worded after a document."""
    if message["role"] != "user":
        return message
    return {**message, "content": wording.replace(QUESTION_FIELD, message["content"])}


def without_oldest_turn(messages: Sequence[Message]) -> list[Message] | None:
    """Return the messages without the first user message and its answer.

    System messages stay. Returns None when only the last turn is left.
    """
    users = [i for i, message in enumerate(messages) if message["role"] == "user"]
    if len(users) < 2:
        return None
    return [
        message
        for i, message in enumerate(messages)
        if message["role"] == "system" or i >= users[1]
    ]
