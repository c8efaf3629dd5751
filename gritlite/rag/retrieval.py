"""Passages for a query: searched for, and re-ranked by the model where that is asked for."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import get_args

from gritlite.errors import EmptyTextError, UsageError
from gritlite.rag.reranking import reranked
from gritlite.rag.search import Mode, Passage, Searcher
from gritlite.runtime.embed import Vectors
from gritlite.runtime.model import GritLM

_MAX_COUNT = 2**31 - 1  # passages; the vector index counts in 32 bits or more


@dataclass(frozen=True)
class Query:
    """What to search for, and how; `Store.search` describes the fields.

    Raises EmptyTextError for an empty text and UsageError for a field that cannot be right.
    """

    text: str
    count: int
    mode: Mode
    rerank: int
    instruction: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise EmptyTextError("the query is empty")
        if not 1 <= self.count <= _MAX_COUNT:
            raise UsageError(f"count is {self.count}: expected 1 to {_MAX_COUNT}")
        if self.mode not in get_args(Mode):
            raise UsageError(f"mode is {self.mode!r}: expected one of {', '.join(get_args(Mode))}")
        if self.rerank and not self.count <= self.rerank <= _MAX_COUNT:
            raise UsageError(
                f"rerank is {self.rerank}: expected 0, or {self.count} to {_MAX_COUNT} passages"
            )


class Retriever:
    """Finds passages in one store. Thread-safe: it holds `lock` while it uses the store."""

    def __init__(
        self, model: GritLM, searcher: Searcher, lock: AbstractContextManager[object]
    ) -> None:
        self._model = model
        self._searcher = searcher
        self._lock = lock

    def search(self, query: Query) -> list[Passage]:
        """The best passages, best first. Raises InputTooLongError."""
        if query.mode == "words":
            return self.find(query, None)
        prompt = self._model.format.with_instruction(query.instruction)
        return self.find(query, self._model.encode(query.text, instruction=prompt, max_length=None))

    def find(self, query: Query, vector: Vectors | None) -> list[Passage]:
        """The same for a query whose vector [d] is known, or not needed."""
        with self._lock:
            passages = self._searcher.search(
                query.text, vector, max(query.count, query.rerank), query.mode
            )
        if query.rerank:
            passages = reranked(self._model, query.text, passages)
        return passages[: query.count]
