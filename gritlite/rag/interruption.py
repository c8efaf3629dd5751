"""Lets signals interrupt SQLite, which otherwise hears nothing until a query has ended.

Python runs the handlers of signals between its own instructions. So SQLite calls back into
Python now and then, where a handler may raise: KeyboardInterrupt at Ctrl-C, for example.
sqlite3 drops an exception of such a callback and only ends the query, so it is kept here and
raised once the query has ended.
"""

import sqlite3
from collections.abc import Generator

_STEPS = 10_000  # of SQLite's virtual machine between two calls: less than a millisecond


class Interruption:
    """What the handler of a signal raised during a query of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._raised: BaseException | None = None
        self._watch()

    def _watch(self) -> None:
        self._connection.set_progress_handler(self._checks().__next__, _STEPS)

    def _checks(self) -> Generator[int, None, None]:
        """Yield 0 until a handler raises, then 1, which ends the query.

        A generator, since Python may run handlers when a function is entered, before its
        first `try`; a generator goes on inside of it.
        """
        try:
            while True:
                yield 0
        except GeneratorExit:
            raise
        except BaseException as error:
            self._raised = error
        yield 1

    def take(self) -> BaseException | None:
        """The exception that ended a query, once; None if no handler raised."""
        raised, self._raised = self._raised, None
        if raised is not None:
            self._watch()
        return raised
