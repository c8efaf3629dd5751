"""The tables of a store.

    setting          the settings of the store, and measured costs (`cost_model`)
    root             the files and folders that were indexed, by their stored paths
    source           a document as it was read, by which version of the reader, and in which
                     encoding if one was asked for; `complete` once every chunk has its vector.
                     While a changed document is embedded, its old row stays and is the one
                     searched. A text that is no file has its id behind "./" as its path
    metadata         what the caller knows of a source: names, and values as `metadata` has them
    chunk            its chunks, in reading order by id; `folded_heading` and `folded_text` are
                     those of `folding`, null where the full-text index takes the originals
    searched         what the full-text index reads: the chunks of complete sources
    words            the full-text index (FTS5, without a copy of the texts)
    vector           a chunk's vector in the store's type (see `vectors`), and its bits
    state            the key-value states of chunks on disk (see `state_files`), their last use
    generation       a number that changes whenever the searched chunks do
    source_checksum  of a source's row with its metadata, and of the ids of its chunks
    chunk_checksum   of a chunk's row, its vector and its bits

Format 1 had no folded texts: its full-text index splits Indian and Thai words at their vowels,
and takes a clause of Chinese or Japanese for one word. Format 2 had no checksums and no roots,
and did not know how a document was read. Format 3 had neither titles nor metadata, and no texts
that are no files.
"""

import functools
import re
import sqlite3
from collections.abc import Iterator

from gritlite.rag.folding import folded

FORMAT = 4  # raised when an older version could misread what is written
APPLICATION = 0x67726974  # "grit": distinguishes a store from other SQLite files

Objects = frozenset[tuple[str, str, str]]  # the type, name and SQL of tables and the like

_TABLES = """
create table setting (name text primary key, value text not null) without rowid;

create table source (
    id integer primary key,
    path text not null,
    digest blob not null,
    size integer not null,
    mtime_ns integer not null,
    read_ns integer not null,
    complete integer not null default 0,
    reader integer not null default 0,
    encoding text not null default '',
    title text not null default '',
    unique (path, complete)
);

create table chunk (
    id integer primary key,
    source integer not null references source (id) on delete cascade,
    heading text not null,
    place text not null,
    text text not null,
    embedded text not null,
    tokens integer not null,
    folded_heading text,
    folded_text text
);
create index chunk_source on chunk (source);

create table generation (number integer not null);
insert into generation values (0);

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

# marks (M*) are parts of words: Thai and Indian vowels are
_FULL_TEXT = """
create view searched as
    select chunk.id, chunk.source,
        coalesce(folded_heading, heading) as heading, coalesce(folded_text, text) as text
    from chunk join source on source.id = chunk.source where complete;

create virtual table words using fts5 (
    heading, text, content = 'searched', content_rowid = 'id',
    tokenize = "unicode61 remove_diacritics 0 categories 'L* N* Co M*'"
);

create trigger source_completed after update of complete on source begin
    update generation set number = number + 1;
    insert into words (rowid, heading, text)
    select id, heading, text from searched where source = new.id;
end;
create trigger source_removed before delete on source when old.complete begin
    update generation set number = number + 1;
    insert into words (words, rowid, heading, text)
    select 'delete', id, heading, text from searched where source = old.id;
end;
"""

_DROP_FULL_TEXT = """
drop trigger source_completed;
drop trigger source_removed;
drop table words;
alter table chunk add column folded_heading text;
alter table chunk add column folded_text text;
"""

_READER = """
alter table source add column reader integer not null default 0;
alter table source add column encoding text not null default '';
"""

_CHECKSUMS = """
create table root (path text primary key) without rowid;

create table source_checksum (
    source integer primary key references source (id) on delete cascade,
    row blob not null,
    chunks blob not null
);

create table chunk_checksum (
    chunk integer primary key references chunk (id) on delete cascade,
    row blob not null,
    vector blob,
    bits blob
);
"""


_TITLE = "alter table source add column title text not null default '';"

_METADATA = """
create table metadata (
    source integer not null references source (id) on delete cascade,
    name text not null,
    value not null,
    primary key (source, name)
) without rowid;
create index metadata_value on metadata (name, value);
"""


def create(connection: sqlite3.Connection) -> None:
    """Create everything in an empty file, within the caller's transaction."""
    _run(connection, _TABLES + _METADATA + _CHECKSUMS + _FULL_TEXT)
    connection.execute(f"pragma application_id = {APPLICATION}")
    connection.execute(f"pragma user_version = {FORMAT}")


def fold_texts(connection: sqlite3.Connection) -> None:
    """Turn format 1 into format 2, within the caller's transaction."""
    _run(connection, _DROP_FULL_TEXT)
    last, page = 0, "select id, heading, text from chunk where id > ? order by id limit 500"
    while rows := connection.execute(page, (last,)).fetchall():
        connection.executemany(
            "update chunk set folded_heading = ?, folded_text = ? where id = ?",
            [(folded(heading), folded(text), chunk) for chunk, heading, text in rows],
        )
        last = rows[-1][0]
    _run(connection, _FULL_TEXT)
    connection.execute("insert into words (words) values ('rebuild')")


def add_checksum_tables(connection: sqlite3.Connection) -> None:
    """Add to format 2 the columns and tables of format 3, which are empty yet."""
    _run(connection, _READER + _CHECKSUMS)


def add_metadata_tables(connection: sqlite3.Connection) -> None:
    """Add to format 3 the column and the table of format 4, which are empty yet."""
    _run(connection, f"{_TITLE}\n{_METADATA}")


def objects(connection: sqlite3.Connection) -> Objects:
    """What a file has, without the tables behind `words`, which SQLite's version determines."""
    # in a damaged file, definitions may be stored as bytes
    columns = "cast(type as text), cast(name as text), cast(sql as text)"
    rows = connection.execute(f"select {columns} from sqlite_master where sql is not null")
    return frozenset(
        (kind, name, _plain(sql)) for kind, name, sql in rows if not name.startswith("words_")
    )


@functools.cache
def expected_objects() -> Objects:
    """What `create` makes."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    create(connection)
    found = objects(connection)
    connection.close()
    return found


def _plain(sql: str) -> str:
    """A statement without its line ends: a column that was added later is on another line."""
    return re.sub(r"\s*([(),]|\s)\s*", r"\1", " ".join(sql.split()))


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run statements one by one: `executescript` would commit the transaction."""
    for statement in _statements(script):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
