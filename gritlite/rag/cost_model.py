"""How long reading a token and loading a token's state take, and which layout is cheaper.

Both are measured while questions are answered and kept in the store: a command that answers
one question has no time for trials. So the numbers are those of the machine that used the
store last. Knows nothing of models.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import Literal

from gritlite.errors import FileError
from gritlite.rag.database import Database

Work = Literal["read", "load"]

_MIN_TOKENS = 32  # the time of fewer says little
_NEWEST_WEIGHT = 0.5  # of the newest measurement in the running mean
_DISCOUNT = 0.9


class CostModel:
    """The measured costs of one store. Not thread-safe.

    Without `measures` nothing is known, so that states are taken wherever they are kept: beside
    other work the times of the same question are never the same, nor would its answers be.
    """

    def __init__(self, database: Database, *, measures: bool = True) -> None:
        self._database = database
        self._measures = measures

    def record(self, work: Work, tokens: int, seconds: float) -> None:
        """Update the cost with a measurement."""
        if tokens < _MIN_TOKENS or not self._measures:
            return
        known = self._seconds_per_token(work)
        cost = seconds / tokens
        if known is not None:
            cost = _NEWEST_WEIGHT * cost + (1 - _NEWEST_WEIGHT) * known
        self._save(work, cost)

    def discount(self, work: Work) -> None:
        """Lower the cost of work that was avoided as slow, so that it is tried again one day."""
        known = self._seconds_per_token(work)
        if known is not None:
            self._save(work, known * _DISCOUNT)

    def seconds(self, work: Work, tokens: int) -> float | None:
        """The seconds for so many tokens, None if they were never measured."""
        cost = self._seconds_per_token(work)
        return None if cost is None else cost * tokens

    def _seconds_per_token(self, work: Work) -> float | None:
        if not self._measures:
            return None
        row = self._database.row("select value from setting where name = ?", (_key(work),))
        try:
            cost = float(row[0]) if row else math.nan
        except (TypeError, ValueError):  # not what was written: measure it again
            return None
        return cost if 0 <= cost < math.inf else None

    def _save(self, work: Work, cost: float) -> None:
        with contextlib.suppress(FileError):  # another process is writing: skip this one
            self._database.execute(
                "insert or replace into setting values (?, ?)", (_key(work), repr(cost))
            )


def _key(work: Work) -> str:
    return f"seconds a token: {work}"


def cheapest(
    cost_model: CostModel, passages: Sequence[tuple[int, bool]], recompute: int
) -> Literal["exact", "document-then-query"]:
    """The layout that takes less time for this question and the next one of its kind together.

    A passage is given by its tokens and whether its state is stored. If not, this question
    reads it and the next one loads it. `recompute` tokens of each passage after the first are
    read in any case. Work that was never measured is tried; work that was too slow is tried
    again after some questions.
    """
    total = sum(tokens for tokens, _ in passages)
    not_stored = sum(tokens for tokens, stored in passages if not stored)
    recomputed = sum(min(tokens, recompute) for tokens, _ in passages[1:])
    loading = cost_model.seconds("load", 2 * total - not_stored)
    reading = cost_model.seconds("read", 2 * (total - recomputed) - not_stored)
    if reading is None or (loading or 0.0) <= reading:
        return "exact"
    cost_model.discount("load")
    return "document-then-query"
