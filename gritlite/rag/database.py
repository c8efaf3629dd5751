"""The SQLite file of a store: statements, transactions, and SQLite's errors as ours.

Write-ahead logging lets any number of processes read while one writes. The tables are
described in `schema`.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gritlite.errors import ClosedError, FileError, FormatError
from gritlite.rag import schema
from gritlite.rag.connection import Opened, connect, connect_to_read, has_log, stamp
from gritlite.rag.interruption import Interruption
from gritlite.system.wording import printable

_TIMEOUT = 30.0  # seconds to wait for another process's transaction
_PAUSE = 0.02  # seconds between two tries
# what SQLite answers to a file whose tables or values are not as gritlite writes them
_DAMAGED = (
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_RANGE,
)


def check_exists(path: Path) -> None:
    """Raise FileError where there is no file, and FormatError for an empty one."""
    if not path.is_file():
        raise FileError(f"{path} does not exist: make it with `gritlite index`")
    if path.stat().st_size == 0:
        raise FormatError(f"{path} is empty, not a store: make one with `gritlite index`")


def check_location(path: Path, *, create: bool) -> None:
    """Raise FileError where no store can be opened, or created if `create` is true."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not a file: name the file of a store")
    if not create:
        check_exists(path)
    if not path.parent.is_dir():
        raise FileError(f"the folder {path.parent} does not exist: create it first")
    if not path.exists() and not os.access(path.parent, os.W_OK):
        raise FileError(f"no permission to write in {path.parent}")


class Database:
    """One connection. Not thread-safe.

    `format` is the format of the file, which `migrations` brings up to date. A store whose
    file or folder cannot be written is `read_only`.

    Raises FileError for a file that cannot be used, and FormatError for one that is not a
    store or has a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_only = False
        self._is_closed = False
        with self._translated_errors():
            self._use(connect(path))
        try:
            self.format = self._prepare_somehow()
        except BaseException:
            self._connection.close()
            raise

    def _prepare_somehow(self) -> int:
        """Prepare the connection, read-only where the system refuses only now to write."""
        try:
            return self._prepare()
        except FileError as error:
            cause = error.__cause__
            if self.read_only or not isinstance(cause, sqlite3.Error):
                raise
            if _code(cause) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            self._connection.close()
            self._use(connect_to_read(self.path))
            return self._prepare()

    def _use(self, opened: Opened) -> None:
        self._connection = opened.connection
        self.read_only = opened.read_only
        self._stamp = opened.stamp
        self._interruption = Interruption(opened.connection)

    def _prepare(self) -> int:
        """Create the tables in a new file; return the format of an existing one."""
        self.execute("pragma cell_size_check = on")
        if self.read_only:
            self.execute("pragma temp_store = memory")  # there may be no folder for files
            return self._existing_format() or self._refuse_to_write()
        self.execute("pragma foreign_keys = on")
        with self.snapshot():
            version = self._existing_format()
        if not version:
            with self.transaction():
                version = self._existing_format()  # another process may have been faster
                if not version:
                    schema.create(self._connection)
                    version = schema.FORMAT
        self.execute("pragma journal_mode = wal")
        self.execute("pragma synchronous = normal")
        return version

    def _existing_format(self) -> int:
        """The format of a store, 0 for an empty file. Raises FormatError for any other file."""
        application = self.number("pragma application_id")
        version = self.number("pragma user_version")
        if not application and self.row("select 1 from sqlite_master") is None:
            return 0
        if application != schema.APPLICATION:
            raise FormatError(f"{self.path} is an SQLite file, but not a store of gritlite")
        if not 1 <= version <= schema.FORMAT:
            raise FormatError(
                f"{self.path} is a store of format {version}, but this gritlite reads up to "
                f"{schema.FORMAT}: update gritlite, or index into a new store"
            )
        return version

    def check_writable(self) -> None:
        """Raise FileError for a store that can only be read."""
        if self.read_only:
            self._refuse_to_write()

    def _refuse_to_write(self) -> int:
        raise FileError(
            f"{self.path} cannot be changed: the file or its folder is read-only; copy it, and "
            f"{self.path.name}.states if there is one, to where it can be written"
        )

    def change_tables(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Run a step of a migration."""
        with self._translated_errors():
            change(self._connection)

    def objects(self) -> schema.Objects:
        """The tables and the like of the file."""
        with self._translated_errors():
            return schema.objects(self._connection)

    def copy_to_temporary(self) -> None:
        """Go on with a private copy of the database, which can be changed. Used read-only."""
        copy = sqlite3.connect("", timeout=0, isolation_level=None, check_same_thread=False)
        with self._translated_errors():
            self._connection.backup(copy, pages=1000)
        self._connection.close()
        self._use(Opened(copy, read_only=True, stamp=None))

    @property
    def generation(self) -> int:
        """A number that changes whenever any process changes the searched chunks."""
        return self.number("select number from generation")

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, fetched one by one."""
        with self._translated_errors():
            cursor = self._run(sql, parameters)
            # `yield from` would close the cursor, perhaps after the database
            while (row := cursor.fetchone()) is not None:
                yield row

    def row(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, None if there is none."""
        with self._translated_errors():
            row: tuple[Any, ...] | None = self._run(sql, parameters).fetchone()
            return row

    def required_row(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...]:
        """The first row of a query that always has one. Raises FormatError in a damaged file."""
        row = self.row(sql, parameters)
        if row is None:
            raise self.damaged("a row is missing")
        return row

    def number(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """The number that a query always returns. Raises FormatError in a damaged file."""
        number = self.required_row(sql, parameters)[0]
        if not isinstance(number, int):
            raise self.damaged("there is something else where a number belongs")
        return number

    def typed(self, row: tuple[Any, ...], *types: type) -> tuple[Any, ...]:
        """A row, whose values must be of these types. Raises FormatError in a damaged file."""
        if tuple(map(type, row)) != types:
            raise self.damaged("a value has the wrong type")
        return row

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        with self._translated_errors():
            return self._run(sql, parameters)

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each row of parameters."""
        with self._translated_errors():
            self._connection.executemany(sql, rows)

    def _run(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run a statement; wait for another process's transaction."""
        end = time.monotonic() + _TIMEOUT
        while True:
            try:
                return self._connection.execute(sql, parameters)
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                    raise
            time.sleep(_PAUSE)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let the queries of the block see one state, whatever other processes write."""
        with self._translated_errors():
            self._follow_changes()
            self._run("begin")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):  # nothing was written
                self._connection.execute("rollback")

    def _follow_changes(self) -> None:
        """Open a file again that is read without locks and has changed."""
        if self._stamp is not None and self._stamp != stamp(self.path):
            self._connection.close()
            self._use(connect(self.path))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes of the block, or none of them."""
        with self._translated_errors():
            self._run("begin immediate")
        try:
            yield
            with self._translated_errors():
                self._connection.execute("commit")
        except BaseException:
            with contextlib.suppress(
                sqlite3.Error
            ):  # SQLite rolls back itself when the disk is full
                self._connection.execute("rollback")
            raise

    def close(self) -> None:
        """Close the connection. What uses it afterwards raises ClosedError."""
        self._is_closed = True
        self._connection.close()

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_INTERRUPT:
                raised = self._interruption.take()
                if raised is not None:
                    raise raised from None
            raise self._problem(error) from error
        except UnicodeDecodeError as error:  # in SQLite's message about a damaged table
            raise self.damaged("the definition of a table is not UTF-8") from error

    def damaged(self, problem: str) -> FormatError:
        """The error for a file that holds what gritlite did not write."""
        return FormatError(f"{self.path} is damaged: {printable(problem)}: index into a new store")

    def _problem(self, error: sqlite3.Error) -> Exception:
        code = _code(error)
        if self._is_closed:
            return ClosedError(f"the store {self.path} is closed: open it again")
        if code == sqlite3.SQLITE_FULL:
            return FileError(
                f"the disk is full while writing {self.path}: free some space and try again; "
                "indexing resumes where it stopped"
            )
        if code == sqlite3.SQLITE_BUSY:
            return FileError(f"{self.path} is locked by another process: try again later")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return FileError(f"{self.path} cannot be changed: the file or its folder is read-only")
        if code == sqlite3.SQLITE_CANTOPEN and self.read_only and has_log(self.path):
            return FileError(
                f"{self.path} has changes in {self.path.name}-wal, which cannot be read where "
                "nothing can be written: open the store once where it can, or copy both files"
            )
        if not hasattr(error, "sqlite_errorcode") and isinstance(error, sqlite3.OperationalError):
            return self.damaged("a text is not UTF-8")  # found by Python's module, not by SQLite
        if code in _DAMAGED:
            return FormatError(
                f"{self.path} is not a store, or is damaged ({printable(str(error))}): "
                "index into a new store"
            )
        return FileError(f"cannot use {self.path}: {printable(str(error))}")


def _code(error: sqlite3.Error) -> int:
    """SQLite's code without its extended part; 0 for an error of Python's module."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
