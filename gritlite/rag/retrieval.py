"""Passages for a query: searched for, and re-ranked by the model where that is asked for."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypeVar, get_args

from gritlite.errors import EmptyTextError, InputError, InputTooLongError, UsageError
from gritlite.rag.reranking import reranked
from gritlite.rag.search import Mode, Passage, Searcher
from gritlite.rag.where import Clause
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.embed import Vectors

_MAX_COUNT = 2**31 - 1  # passages; the vector index counts in 32 bits or more
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Query:
    """What to search for, and how; `Store.search` describes the fields.

    Raises EmptyTextError for an empty text, InputError for one that is no str, and UsageError for
    a field that cannot be right.
    """

    text: str
    count: int
    mode: Mode
    rerank: int
    instruction: str
    min_score: float
    where: Clause | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InputError(f"the query is {type(self.text).__name__} instead of str")
        if not self.text.strip():
            raise EmptyTextError("the query is empty")
        if not isinstance(self.count, Integral) or not 1 <= self.count <= _MAX_COUNT:
            raise UsageError(f"count is {self.count!r}: expected 1 to {_MAX_COUNT}")
        if self.mode not in get_args(Mode):
            raise UsageError(f"mode is {self.mode!r}: expected one of {', '.join(get_args(Mode))}")
        if not isinstance(self.min_score, Real) or not math.isfinite(self.min_score):
            raise UsageError(f"min_score is {self.min_score!r}: expected a number")
        is_number = isinstance(self.rerank, Integral)
        if not is_number or (self.rerank and not self.count <= self.rerank <= _MAX_COUNT):
            raise UsageError(
                f"rerank is {self.rerank!r}: expected 0, or {self.count} to {_MAX_COUNT} passages"
            )

    @property
    def finds_all(self) -> bool:
        """Whether every document has a score, so that nothing is found only in an empty store."""
        return self.mode != "words" and self.where is None


@dataclass(frozen=True)
class Found:
    """The passages of a search, best first, and the best score before any were left out.

    `best_score` is None where nothing was found, whatever its score.
    """

    passages: list[Passage]
    best_score: float | None


class Retriever:
    """Finds passages in one store. Thread-safe: it holds `lock` while it uses the store."""

    def __init__(
        self, model: AnyModel, searcher: Searcher, lock: AbstractContextManager[object]
    ) -> None:
        self._model = model
        self._searcher = searcher
        self._lock = lock

    def search(self, query: Query, vector: Vectors | None = None) -> list[Passage]:
        """The best passages, best first; `vector` [d] is the query's if it is known.

        Raises EmptyTextError and InputTooLongError.
        """
        if query.mode == "words" or vector is not None:
            return self.find(query, vector).passages
        prompt = self._model.format.with_instruction(query.instruction)
        vector = of_the_query(
            lambda: self._model.encode(query.text, instruction=prompt, max_length=None)
        )
        return self.find(query, vector).passages

    def find(self, query: Query, vector: Vectors | None) -> Found:
        """The same for a query whose vector [d] is known, or not needed."""
        count = max(query.count, query.rerank)
        with self._lock:
            passages = self._searcher.search(query.text, vector, count, query.mode, query.where)
        best_score = passages[0].score if passages else None
        if query.min_score:
            passages = [passage for passage in passages if passage.score >= query.min_score]
        if query.rerank:
            passages = reranked(self._model, query.text, passages)
        return Found(passages[: query.count], best_score)


def of_the_query(embed: Callable[[], _Result]) -> _Result:
    """Call `embed`; its errors name the query, not the first of several texts."""
    try:
        return embed()
    except EmptyTextError as error:
        raise EmptyTextError("the query is empty: it has no tokens to embed") from error
    except InputTooLongError as error:
        raise InputTooLongError(f"the query: {error.problem}") from error
