"""What reading a token and loading a token's state take, and which layout that makes cheapest.

Measured while questions are answered and kept in the store, for a command that answers one
question has no time for trials. So the numbers are those of the machine that used the store last.
Knows nothing of models.
"""

import contextlib
from collections.abc import Sequence
from typing import Literal

from gritlite.errors import FileError
from gritlite.rag.database import Database

Work = Literal["read", "load"]

_FEWEST = 32  # tokens; the time of fewer says little
_NEWEST = 0.5  # what the newest measurement counts
_DOUBT = 0.9


class CostModel:
    """The measured costs of one store. Not thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, work: Work, tokens: int, seconds: float) -> None:
        """Take a measurement into account."""
        if tokens < _FEWEST:
            return
        known = self._each(work)
        each = seconds / tokens
        if known is not None:
            each = _NEWEST * each + (1 - _NEWEST) * known
        self._write(work, each)

    def doubt(self, work: Work) -> None:
        """Think a little better of what was not done because it is slow: it may be no longer."""
        known = self._each(work)
        if known is not None:
            self._write(work, known * _DOUBT)

    def _write(self, work: Work, each: float) -> None:
        with contextlib.suppress(FileError):  # while another process writes it is not noted
            self._database.execute(
                "insert or replace into setting values (?, ?)", (_name(work), repr(each))
            )

    def seconds(self, work: Work, tokens: int) -> float | None:
        """What so many tokens will take, None if that was never measured."""
        each = self._each(work)
        return None if each is None else each * tokens

    def _each(self, work: Work) -> float | None:
        row = self._database.row("select value from setting where name = ?", (_name(work),))
        return None if row is None else float(row[0])


def _name(work: Work) -> str:
    return f"seconds a token: {work}"


def cheapest(
    costs: CostModel, passages: Sequence[tuple[int, bool]], recompute: int
) -> Literal["exact", "document-then-query"]:
    """`exact` or `document-then-query`, whichever takes less in this question and one like it.

    A passage is its tokens and whether its state is stored: if not, this question reads it and
    the next one loads it. Of each but the first, `recompute` tokens are read in any case. What
    was never measured is tried, and so is, after some questions, what was too slow.
    """
    whole = sum(tokens for tokens, _ in passages)
    missing = sum(tokens for tokens, stored in passages if not stored)
    anew = sum(min(tokens, recompute) for tokens, _ in passages[1:])
    loading = costs.seconds("load", 2 * whole - missing)
    reading = costs.seconds("read", 2 * (whole - anew) - missing)
    if reading is None or (loading or 0.0) <= reading:
        return "exact"
    costs.doubt("load")
    return "document-then-query"
