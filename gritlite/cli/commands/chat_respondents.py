"""What answers in `gritlite chat`: a model alone, or a model with a store."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import click

from gritlite.cli.commands.chat_session import Messages
from gritlite.cli.shared.answers import AnswerStream
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.passages import reference_list

if TYPE_CHECKING:
    from gritlite.rag.answer import StoreAnswer
    from gritlite.rag.search import Passage
    from gritlite.rag.store import Store
    from gritlite.runtime.answer import Answer
    from gritlite.runtime.any_model import AnyAnswer
    from gritlite.runtime.model import GritLM


class Respondent(Protocol):
    """Answers the messages of a chat."""

    def answer(self, messages: Messages) -> AnswerStream:
        """Start the answer to the last message."""

    def sources(self) -> str:
        """Lines that list the sources of the last answer; may be empty."""

    def remark(self) -> str:
        """What to know about where the last answer is from; may be empty."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The generation options that differ from those of `GritLM.chat`."""


class ModelRespondent:
    """A model that answers from what it learned in training."""

    defaults: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, model: "GritLM", options: Mapping[str, Any]) -> None:
        self._model = model
        self._options = options

    def answer(self, messages: Messages) -> "Answer":
        """Start the answer to the last message."""
        return self._model.chat(messages, stream=True, **self._options)

    def sources(self) -> str:
        """An empty text: the model has no sources."""
        return ""

    def remark(self) -> str:
        """An empty text: it goes without saying."""
        return ""


class StoreRespondent:
    """A model that answers from the passages of a store that match the last message.

    A message that no passage has to do with ("Thanks!") is answered by the model alone.
    """

    defaults: Mapping[str, Any] = MappingProxyType({"temperature": 0, "max_tokens": 512})

    def __init__(
        self, store: "Store", options: Mapping[str, Any], min_score: float | None = None
    ) -> None:
        self._store = store
        self._options = options
        self._min_score = min_score
        self._passages: Sequence[Passage] = ()

    def answer(self, messages: Messages) -> "StoreAnswer | AnyAnswer":
        """Start the answer to the last message; the earlier ones are the chat's history."""
        *history, last = messages
        found = self._store.ask(
            last["content"],
            history=history,
            min_score=self._min_score,
            stream=True,
            **self._options,
        )
        self._passages = found.passages
        if found.passages:
            return found
        limits = {"max_tokens": self.defaults["max_tokens"], "stop_loops": True}
        return self._store.model.chat(messages, stream=True, **{**limits, **self._options})

    def sources(self) -> str:
        """The passages of the last answer; empty if it is from none."""
        return reference_list(self._passages)

    def remark(self) -> str:
        """Say that no passage had to do with the last message, if none had."""
        return "" if self._passages else "no passage has to do with this: answered without any"


def print_sources(respondent: Respondent) -> None:
    """Print what the last answer is from."""
    if sources := respondent.sources():
        click.echo(sources)
    if remark := respondent.remark():
        print_notice(remark)
