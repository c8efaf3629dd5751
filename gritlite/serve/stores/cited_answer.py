"""Answers of NAME+STORE: a chat that is answered from a store's passages, which it ends with.

Any route can give `begin_cited` to `Service.answer`: what it begins is one more `AnswerStream`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gritlite.rag.asking import ANSWER_DEFAULTS
from gritlite.rag.layouts import AUTO
from gritlite.rag.references import numbered
from gritlite.runtime.log_probabilities import TokenLogProbability
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.pieces import FinishReason
from gritlite.runtime.template import Message
from gritlite.serve.errors import invalid
from gritlite.serve.openai.chat_options import (
    CONTEXT_EXCEEDED,
    check_messages_length,
    within_context,
)
from gritlite.serve.service.answers import AnswerStream
from gritlite.serve.stores.citations import Citation, cite

if TYPE_CHECKING:
    from gritlite.rag.answer import StoreAnswer
    from gritlite.rag.store import Store

NO_PASSAGE = "(no passage has to do with this: answered without any)"
_CLOSING = re.compile(rf"\n\n(?:\[1\] .*(?:\n\[\d+\] .*)*|{re.escape(NO_PASSAGE)})\s*\Z")


class CitedAnswer(Iterator[str]):
    """An answer whose last piece is `closing`: the list of its citations, as the CLI prints it."""

    def __init__(self, answer: AnswerStream, citations: Sequence[Citation], closing: str) -> None:
        self.citations = citations
        self.closing = closing
        self._answer = answer
        self._is_closed = False

    @property
    def text(self) -> str:
        """The text so far."""
        return self._answer.text + (self.closing if self._is_closed else "")

    @property
    def prompt_tokens(self) -> int:
        """The number of tokens in the prompt."""
        return self._answer.prompt_tokens

    @property
    def cached_tokens(self) -> int:
        """How many of them needed no evaluation."""
        return self._answer.cached_tokens

    @property
    def generated(self) -> list[int]:
        """The ids of the answer's tokens."""
        return self._answer.generated

    @property
    def logprobs(self) -> Sequence[TokenLogProbability]:
        """Their log-probabilities, if the options asked for them."""
        return self._answer.logprobs

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended."""
        return self._answer.finish_reason

    def __next__(self) -> str:
        if self._is_closed:
            raise StopIteration
        try:
            return next(self._answer)
        except StopIteration:
            if not self.closing or self.finish_reason == "cancelled":
                raise
            self._is_closed = True
            return self.closing

    def cancel(self) -> None:
        """End it within one token, or one part of the prompt, from any thread."""
        self._answer.cancel()

    def close(self) -> None:
        """Free what it holds."""
        self._answer.close()


def begin_cited(store: "Store", messages: Sequence[Message], options: ChatOptions) -> CitedAnswer:
    """Begin an answer to the last message from the store's passages; for a thread.

    A message that no passage has to do with ("Thanks!") is answered by the model alone, and the
    text says so. An answer that follows a schema or a grammar has nothing behind it. Raises
    ApiError, InputTooLongError, EmptyTextError and UsageError.
    """
    store.model.check_generates()
    *history, last = (uncited(message) for message in messages)
    if last["role"] != "user":
        raise invalid("the last message is not the user's: it is the question", "messages")
    check_messages_length(store.model, messages)
    found = _ask(store, last["content"], history, options)
    is_text = not options.get("json_schema") and not options.get("grammar")
    if found.passages:
        citations = cite(store, found.passages)
        closing = "\n\n" + numbered([each.reference for each in citations])
        return CitedAnswer(found, citations, closing if is_text else "")
    found.close()
    chosen: ChatOptions = {**ANSWER_DEFAULTS, **options}
    fitting = within_context(store.model, [*history, last], chosen)
    answer = store.model.chat([*history, last], stream=True, **fitting)
    return CitedAnswer(answer, [], f"\n\n{NO_PASSAGE}" if is_text else "")


def _ask(
    store: "Store", question: str, history: Sequence[Message], options: ChatOptions
) -> "StoreAnswer":
    """Ask with a limit that leaves no earlier message out. Raises ApiError, and as `Store.ask`."""
    chosen: ChatOptions = {**ANSWER_DEFAULTS, **options}
    answer = store.ask(question, history=history, layout=AUTO, stream=True, **chosen)
    room = store.model.context_length - answer.context_tokens
    if answer.dropped:
        answer.close()
        problem = (
            f"this model's maximum context length is {store.model.context_length} tokens, and the "
            "messages with the passages found for the last one leave no room to answer: shorten "
            "them"
        )
        raise invalid(problem, "messages", CONTEXT_EXCEEDED)
    if history and answer.passages and room < (chosen["max_tokens"] or 0):
        answer.close()
        chosen["max_tokens"] = room
        answer = store.ask(question, history=history, layout=AUTO, stream=True, **chosen)
    return answer


def uncited(message: Message) -> Message:
    """A message, of an earlier answer without the list of its citations."""
    content = message.get("content")
    if message["role"] != "assistant" or not isinstance(content, str):
        return message
    return {**message, "content": _CLOSING.sub("", content)}


def citations_of(answer: AnswerStream) -> dict[str, Any]:
    """The field `citations` of an answer that has them, as JSON; nothing for other answers."""
    if not isinstance(answer, CitedAnswer):
        return {}
    return {"citations": [each.model_dump() for each in answer.citations]}
