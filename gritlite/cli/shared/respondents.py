"""Whom `gritlite chat` talks with: a model alone, or one that answers from a store."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from gritlite.cli.shared.session import Messages
from gritlite.cli.shared.stores import cited

if TYPE_CHECKING:
    from gritlite.rag.answer import StoreAnswer
    from gritlite.rag.store import Store
    from gritlite.runtime.answer import Answer, FinishReason
    from gritlite.runtime.model import GritLM


class Said(Iterator[str], Protocol):
    """An answer in the making, as `Answer` describes it."""

    @property
    def text(self) -> str: ...
    @property
    def generated(self) -> list[int]: ...
    @property
    def finish_reason(self) -> "FinishReason | None": ...
    @property
    def dropped(self) -> int: ...

    def cancel(self) -> None:
        """End it within one token."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class Respondent(Protocol):
    """Answers messages."""

    def answer(self, messages: Messages) -> Said:
        """Begin the answer to the last message."""

    def sources(self) -> str:
        """Lines that say what the last answer is from; may be empty."""


class ModelRespondent:
    """A model that knows what it was trained on."""

    def __init__(self, model: "GritLM", options: Mapping[str, Any]) -> None:
        self._model = model
        self._options = options

    def answer(self, messages: Messages) -> "Answer":
        """The model's own."""
        return self._model.chat(messages, stream=True, **self._options)

    def sources(self) -> str:
        """None."""
        return ""


class StoreRespondent:
    """A model that answers from the passages of a store that suit the last message."""

    def __init__(self, store: "Store", options: Mapping[str, Any]) -> None:
        self._store = store
        self._options = options
        self._answer: StoreAnswer | None = None

    def answer(self, messages: Messages) -> "StoreAnswer":
        """From passages found for the last message; those before it are the chat so far."""
        *history, last = messages
        self._answer = self._store.ask(
            last["content"], history=history, stream=True, **self._options
        )
        return self._answer

    def sources(self) -> str:
        """The last answer's passages."""
        return cited(self._answer.passages) if self._answer is not None else ""
