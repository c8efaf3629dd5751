"""Stores that were edited or damaged: `verify` finds it, and what is read is right or refused."""

import contextlib
import json
import sqlite3
import struct

import numpy as np
import pytest
import xxhash

from gritlite.errors import FormatError, GritLiteError
from gritlite.rag import maintenance, state_codec
from gritlite.rag.store import Store
from tests.rag.documents import notes

HEAD = struct.Struct("<6sHI")


@pytest.fixture
def store(tmp_path, tiny_model):
    """A closed store of three documents with states."""
    with Store.open(tmp_path / "a.grit", tiny_model, vectors="binary", states="q8_0") as opened:
        opened.add(notes(tmp_path / "notes"), metadata={"author": "Smith", "draft": True})
    return opened


def edit(store, *statements):
    """Change a store's file as somebody with SQLite can."""
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# (a change of a row, what the search by that mode says; None: only `verify` can find it)
EDITS = [
    ("update chunk set text = 'Seven dogs'", "words", "chunk . was changed"),
    ("update chunk set heading = 'x' where id = 1", "vectors", "chunk 1 was changed"),
    ("update chunk set text = x'ff' where id = 1", "vectors", "chunk 1 was changed"),
    ("update chunk set text = cast(x'ff' as text)", "vectors", "not UTF-8"),
    ("update chunk set tokens = '5' || x'00'", "vectors", "chunk . was changed"),
    ("update chunk set tokens = -9223372036854775808", "vectors", "chunk . was changed"),
    ("update chunk set folded_text = 'ferry'", "words", "chunk . was changed"),
    ("update chunk set source = 2 where id = 1", "vectors", "chunk 1 was changed"),
    ("update source set path = 'other.md'  where id = 1", "vectors", "'other.md' was changed"),
    ("update source set path = 5 where id = 1", "vectors", "was changed"),
    ("update source set digest = x'00' where id = 1", "vectors", "was changed"),
    ("update source set mtime_ns = mtime_ns + 1 where id = 1", "vectors", "was changed"),
    ("update source set complete = 0 where id = 1", None, "was changed"),
    ("update source set title = 'Boats' where id = 1", "vectors", "was changed"),
    ("update metadata set value = 'Jones'", "vectors", "was changed"),
    ("update metadata set value = 1 where value = x'01'", "vectors", "was changed"),
    ("update metadata set value = x'0102'", "vectors", "was changed"),
    ("update metadata set name = 'x' where name = 'author'", "vectors", "was changed"),
    ("delete from metadata where name = 'author'", "vectors", "was changed"),
    ("insert into metadata values (1, 'new', 'x')", "vectors", "was changed"),
    ("update vector set vector = zeroblob(64) where chunk = 1", "vectors", "vector of chunk 1"),
    ("update vector set vector = x'01' where chunk = 1", "vectors", "vector of chunk 1"),
    ("update vector set vector = 5", "vectors", "vector of chunk"),
    ("update vector set bits = zeroblob(8) where chunk = 2", "vectors", "vector of chunk 2"),
    ("update vector set bits = null where chunk = 2", "vectors", "vector of chunk 2"),
    ("update vector set chunk = 9 where chunk = 2", "vectors", "vector of chunk 2"),
    ("delete from vector where chunk = 2", "vectors", "vector of chunk 2"),
    ("delete from chunk where id = 2", None, "lost or gained a chunk"),
    ("delete from chunk_checksum", "vectors", "was changed"),
    ("delete from source_checksum", "vectors", "was changed"),
    ("insert into words (words) values ('delete-all')", None, "does not agree with the chunks"),
    ("delete from words_docsize", None, "does not agree with the chunks"),
    ("update setting set value = 'int8' where name = 'vectors'", "open", "settings were changed"),
    ("update setting set value = 'x' where name = 'vectors'", "open", "settings are impossible"),
    ("update setting set value = x'00' where name = 'model'", "open", "has no settings"),
    ("update setting set value = '9e9' where name = 'chunk_tokens'", "open", "has no settings"),
    ("delete from setting", "open", "has no settings"),
    ("update generation set number = 'x'", "vectors", "a value has the wrong type"),
    ("update state set kind = '../../evil' where chunk = 1", None, "a state of chunk 1"),
    ("update state set bytes = 5 where chunk = 1", None, "not the 5 recorded"),
    ("drop table vector", "open", "its table vector is missing or changed"),
    ("drop trigger source_removed", "open", "its trigger source_removed is missing"),
    ("create trigger t delete on chunk begin delete from state; end", "open", "a trigger 't'"),
    ("alter table source rename column size to length", "open", "its table source is missing"),
]


@pytest.mark.parametrize(("statement", "mode", "problem"), EDITS)
def test_an_edit_is_found(store, tiny_model, statement, mode, problem):
    edit(store, statement)
    if mode == "open":
        with pytest.raises(FormatError, match=problem):
            Store.open(store.path, tiny_model, create=False)
    assert any(problem_in(line, problem) for line in verified(store.path))
    if mode not in ("open", None):
        with (
            Store.open(store.path, tiny_model, create=False) as opened,
            pytest.raises(FormatError, match="is damaged"),
        ):
            opened.search("ferry cats", 9, mode=mode)


def verified(path):
    """What `verify` says, with the error that ends it."""
    try:
        return maintenance.verify(path)
    except FormatError as error:
        return [str(error)]


def problem_in(line, problem):
    return all(part in line for part in problem.split(" . "))


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-1", "", "x", "1e400", "'; drop table chunk; --", None]
)
def test_a_measured_cost_that_is_none_is_measured_again(store, tiny_model, value):
    edit(store, "insert into setting values ('seconds a token: read', '0.1')")
    if value is not None:
        quoted = value.replace("'", "''")
        edit(store, f"update setting set value = '{quoted}' where name like 'seconds%'")
    with Store.open(store.path, tiny_model) as opened:
        seconds = opened._cost_model.seconds("read", 10)
    assert seconds == (pytest.approx(1.0) if value is None else None)


def test_a_crafted_state_deletes_nothing_outside(store, tmp_path):
    outside = tmp_path / "1.doc.kv"
    outside.write_bytes(b"mine")
    edit(store, "update state set kind = '../../../1.doc' where chunk = 1")
    with pytest.raises(FormatError, match="a state of chunk 1"):
        maintenance.prune(store.path, 0)
    assert outside.read_bytes() == b"mine"


def crafted(data, facts=None, head=None, length=None, body=None):
    """A state's file with another head or body, and the right checksum."""
    magic, version, old = HEAD.unpack_from(data)
    if head is None:
        stated = json.loads(data[HEAD.size : HEAD.size + old])
        head = json.dumps(stated | (facts or {})).encode()
    body = data[HEAD.size + old : -16] if body is None else body
    made = HEAD.pack(magic, version, len(head) if length is None else length) + head + body
    return made + xxhash.xxh3_128_digest(made)


FIELDS = ("model", "library", "numbers", "attention", "opens_message", "tokens", "cells", "head")
VALUES = (None, True, -1, 0, 2**63, 10**30, 0.5, 1e300, "", "x", "\x1b", [], [1], {}, [[]] * 3)


def test_a_state_whose_size_is_no_number_counts_as_missing(store, tiny_model):
    edit(store, "update state set bytes = x'00'")
    with Store.open(store.path, tiny_model) as opened:
        text = opened._database.row("select embedded from chunk where id = 1")[0]
        assert opened._states.load(1, "doc", text) is None


def test_a_table_whose_definition_is_no_text(store):
    """SQLite's message holds the bytes, which Python cannot decode."""
    data = store.path.read_bytes()
    store.path.write_bytes(data.replace(b"CREATE TABLE setting", b"CREATE T\xe5BLE setting"))
    with pytest.raises(FormatError, match=r"is damaged|not a store"):
        maintenance.verify(store.path)


def test_a_table_whose_definition_is_stored_as_bytes(store, tiny_model):
    statement = "update sqlite_master set {} = cast({} as blob) where name = 'setting'"
    edit(
        store,
        "pragma writable_schema = on",
        *(statement.format(column, column) for column in ("type", "sql")),
    )
    with contextlib.suppress(FormatError):
        assert maintenance.verify(store.path) == []


def test_crafted_heads_count_as_missing(store, tiny_model):
    with Store.open(store.path, tiny_model) as opened:
        path = opened._states.files._path(1, "doc")
        text = opened._database.row("select embedded from chunk where id = 1")[0]
        data = path.read_bytes()
        right = opened._states.load(1, "doc", text)
        assert right is not None
        columns = [[], [0] * 4, [64, 64, 64, -64], [64] * 3, [64] * 5, [2**70] * 4, "64", [None]]
        candidates = [crafted(data, {field: value}) for field in FIELDS for value in VALUES]
        candidates += [crafted(data, {"columns": value}) for value in [*columns, *VALUES]]
        heads = (b"", b"null", b"[]", b"5", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b'{"a"')
        candidates += [crafted(data, head=head) for head in heads]
        lengths = (0, 1, len(data), 2**32 - 1)
        candidates += [crafted(data, length=length) for length in lengths]
        body = data[HEAD.size + HEAD.unpack_from(data)[2] : -16]
        candidates += [crafted(data, body=other) for other in (b"", body[:-1], body + b"\0" * 34)]
        for number in (np.nan, np.inf):
            scale = np.float16(number).tobytes()
            candidates.append(crafted(data, body=scale + body[2:]))
        for candidate in candidates:
            path.write_bytes(candidate)
            opened._states.files.record(1, "doc", len(candidate))
            assert opened._states.load(1, "doc", text) in (None, right)
            assert opened._states.load(1, "doc", text) is None or candidate == data
            with contextlib.suppress(FormatError):
                state_codec.check(candidate)


def test_flipped_bits_of_the_file_give_no_wrong_answer(store, tiny_model):
    """Whatever is read is right, or refused, or at least found by `verify`."""
    with Store.open(store.path, tiny_model) as opened:
        wanted = opened.search("ferry cats", 9)
    edit(store, "pragma wal_checkpoint(truncate)")
    whole = store.path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 120).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        store.path.write_bytes(damaged)
        try:
            intact = maintenance.verify(store.path) == []
            with Store.open(store.path, tiny_model, create=False) as opened:
                assert opened.search("ferry cats", 9) == wanted or not intact
        except GritLiteError:
            refused += 1
    assert refused > 5
