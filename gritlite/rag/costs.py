"""What reading a token and loading a token's state take on this machine.

Measured while questions are answered and kept in the store, for a command that answers one
question has no time for trials. Knows nothing of models.
"""

import contextlib
from typing import Literal

from gritlite.errors import FileError
from gritlite.rag.database import Database
from gritlite.rag.layouts import Layout

Work = Literal["read", "load"]

_FEWEST = 32  # tokens; the time of fewer says little
_NEWEST = 0.5  # what the newest measurement counts


class Costs:
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
        with contextlib.suppress(FileError):  # while another process writes it is not noted
            self._database.execute(
                "insert or replace into setting values (?, ?)", (_name(work), repr(each))
            )

    def seconds(self, work: Work, tokens: int) -> float | None:
        """What so many tokens will take, None if that was never measured."""
        each = self._each(work)
        return None if each is None else each * tokens

    def _each(self, work: Work) -> float | None:
        row = self._database.execute(
            "select value from setting where name = ?", (_name(work),)
        ).fetchone()
        return None if row is None else float(row[0])


def _name(work: Work) -> str:
    return f"seconds a token: {work}"


def cheapest(costs: Costs, stored: int, anew: int) -> Layout:
    """`exact` or `document-then-query`, whichever takes less.

    `stored` tokens have states, of which `anew` are read again. A token without a state
    costs the same in both, and `exact` keeps its state for the next question. What was
    never measured is tried.
    """
    loading, reading = costs.seconds("load", stored), costs.seconds("read", stored - anew)
    if loading is None or reading is None or loading <= reading:
        return "exact"
    return "document-then-query"
