"""The SQLite file of a store: one connection, and its errors as ours. `schema` has the tables.

Write-ahead logging lets any number of processes read while one writes.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gritlite.errors import FileError, FormatError
from gritlite.rag import schema

_APPLICATION = 0x67726974  # "grit": distinguishes a store from other SQLite files
_TIMEOUT = 30.0  # seconds to wait for another process's transaction


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


class Database:
    """One connection. Not thread-safe.

    Raises FileError for a file that cannot be used, and FormatError for one that is not a
    store or has a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._translated_errors():
            self._connection = sqlite3.connect(
                path, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated_errors():
                self._connection.execute("pragma foreign_keys = on")
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        """Create the schema in a new file, and bring an older one up to date."""
        with self.snapshot():
            version = self._format()
        if version != schema.FORMAT:
            with self.transaction():
                self._make_current()
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")

    def _make_current(self) -> None:
        version = self._format()  # again: another process may have been faster
        if version == schema.FORMAT:
            return
        if version == 0:
            schema.create(self._connection)
            self._connection.execute(f"pragma application_id = {_APPLICATION}")
        else:
            schema.upgrade(self._connection)
        self._connection.execute(f"pragma user_version = {schema.FORMAT}")

    def _format(self) -> int:
        """The format of the store, 0 for an empty file. Raises FormatError for anything else."""
        application = self.number("pragma application_id")
        version = self.number("pragma user_version")
        if not application and self.row("select 1 from sqlite_master") is None:
            return 0
        if application != _APPLICATION:
            raise FormatError(f"{self.path} is an SQLite file, but not a store of gritlite")
        if version not in (schema.UPGRADED, schema.FORMAT):
            raise FormatError(
                f"{self.path} is a store of format {version}, but this gritlite reads "
                f"{schema.FORMAT}: update gritlite, or index into a new store"
            )
        return version

    @property
    def generation(self) -> int:
        """A number that changes whenever any process changes the searched chunks."""
        return self.number("select number from generation")

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, fetched one by one."""
        with self._translated_errors():
            yield from self._connection.execute(sql, parameters)

    def row(self, sql: str, parameters: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, None if there is none."""
        with self._translated_errors():
            row: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
            return row

    def required_row(self, sql: str, parameters: tuple[object, ...] = ()) -> tuple[Any, ...]:
        """The first row of a query that always has one. Raises FormatError in a damaged file."""
        row = self.row(sql, parameters)
        if row is None:
            raise self._damaged()
        return row

    def number(self, sql: str, parameters: tuple[object, ...] = ()) -> int:
        """The number that a query always returns. Raises FormatError in a damaged file."""
        number = self.required_row(sql, parameters)[0]
        if not isinstance(number, int):
            raise self._damaged()
        return number

    def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        with self._translated_errors():
            return self._connection.execute(sql, parameters)

    def execute_many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        """Run a statement once for each row of parameters."""
        with self._translated_errors():
            self._connection.executemany(sql, rows)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let the queries of the block see one state, whatever other processes write."""
        with self._translated_errors():
            self._connection.execute("begin")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):  # nothing was written
                self._connection.execute("rollback")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes of the block, or none of them."""
        with self._translated_errors():
            self._connection.execute("begin immediate")
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
        """Close the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._problem(error) from error

    def _damaged(self) -> FormatError:
        return FormatError(f"{self.path} is damaged: index into a new store")

    def _problem(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
        if code == sqlite3.SQLITE_FULL:
            return FileError(
                f"the disk is full while writing {self.path}: free some space and try again; "
                "indexing resumes where it stopped"
            )
        if code == sqlite3.SQLITE_BUSY:
            return FileError(f"{self.path} is locked by another process: try again later")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return FormatError(
                f"{self.path} is not a store, or is damaged ({error}): index into a new store"
            )
        return FileError(f"cannot use {self.path}: {error}")
