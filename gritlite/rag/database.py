"""The SQLite file of a store: its schema, and its errors as ours.

    setting     the settings of the store, and measured costs (`cost_model`)
    source      a document as it was read; `complete` once every chunk has its vector. While a
                changed document is embedded, its old row stays and is the one that is searched.
    chunk       its chunks, in reading order by id
    words       the full-text index of complete sources' chunks (FTS5, without a copy of the texts)
    vector      a chunk's vector in the store's type (see `vectors`), and its bits
    state       the key-value states of chunks on disk (see `state_files`), and their last use
    generation  a number that changes whenever the searched chunks do

Write-ahead logging lets any number of processes read while one writes.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gritlite.errors import FileError, FormatError

FORMAT = 1  # raised when an older version could misread what is written
_APPLICATION = 0x67726974  # "grit": distinguishes a store from other SQLite files
_TIMEOUT = 30.0  # seconds to wait for another process's transaction

_SCHEMA = """
create table setting (name text primary key, value text not null) without rowid;

create table source (
    id integer primary key,
    path text not null,
    digest blob not null,
    size integer not null,
    mtime_ns integer not null,
    read_ns integer not null,
    complete integer not null default 0,
    unique (path, complete)
);

create table chunk (
    id integer primary key,
    source integer not null references source (id) on delete cascade,
    heading text not null,
    place text not null,
    text text not null,
    embedded text not null,
    tokens integer not null
);
create index chunk_source on chunk (source);

create virtual table words using fts5 (
    heading, text, content = 'chunk', content_rowid = 'id', tokenize = 'unicode61'
);
create table generation (number integer not null);
insert into generation values (0);

create trigger source_completed after update of complete on source begin
    update generation set number = number + 1;
    insert into words (rowid, heading, text)
    select id, heading, text from chunk where source = new.id;
end;
create trigger source_removed before delete on source when old.complete begin
    update generation set number = number + 1;
    insert into words (words, rowid, heading, text)
    select 'delete', id, heading, text from chunk where source = old.id;
end;

create table vector (
    chunk integer primary key references chunk (id) on delete cascade,
    vector blob not null,
    bits blob
);

create table state (
    chunk integer not null references chunk (id) on delete cascade,
    kind text not null,
    bytes integer not null,
    used_ns integer not null,
    primary key (chunk, kind)
) without rowid;
"""


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
        """Create the schema in a new file; only check that an existing one is a store."""
        with self.snapshot():
            is_new = self._is_new()
        if is_new:
            with self.transaction():
                if self._is_new():  # another process may have been faster
                    for statement in _statements(_SCHEMA):
                        self._connection.execute(statement)
                    self._connection.execute(f"pragma application_id = {_APPLICATION}")
                    self._connection.execute(f"pragma user_version = {FORMAT}")
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")

    def _is_new(self) -> bool:
        """Whether the file is empty. Raises FormatError unless it is empty or a store."""
        application = self.number("pragma application_id")
        version = self.number("pragma user_version")
        if not application and self.row("select 1 from sqlite_master") is None:
            return True
        if application != _APPLICATION:
            raise FormatError(f"{self.path} is an SQLite file, but not a store of gritlite")
        if version != FORMAT:
            raise FormatError(
                f"{self.path} is a store of format {version}, but this gritlite reads "
                f"{FORMAT}: update gritlite, or index into a new store"
            )
        return False

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


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
