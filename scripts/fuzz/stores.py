"""Fuzz stores: edited rows and tables, flipped bits and crafted states.

What is read from a damaged store is what was written, or an error of gritlite says that it is
not; and where an answer is wrong without an error, `verify` finds what is wrong. A state is the
one that was written, or counts as missing.
"""

import atexit
import contextlib
import json
import random
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from fuzz.counting import Outcome, check_message
from fuzz.mutation import any_value, mutate_bytes, mutate_json
from gritlite import GritLM
from gritlite.errors import GritLiteError
from gritlite.rag import maintenance
from gritlite.rag.layouts import StateKind
from gritlite.rag.search import Mode, Passage
from gritlite.rag.store import Store
from gritlite.runtime.state import DocumentState
from tests.sample_gguf import write_model

_MODES: tuple[Mode, ...] = ("vectors", "words", "hybrid")
_HEAD = struct.Struct("<6sHI")
_VALUES: tuple[Any, ...] = (
    None, 0, 1, -1, 2, 7, 2**31, 2**63 - 1, -(2**63), 0.5, 1e300, float("inf"), "", "0", "x",
    "../../evil", "\x1b[31m", "x\0y", "首都 harbour", b"", b"\0", b"\xff" * 7, b"\0" * 16,
    "9" * 400,
)  # fmt: skip
_TABLES = (
    "setting", "root", "source", "chunk", "vector", "state", "generation", "source_checksum",
    "chunk_checksum", "words_data", "words_idx", "words_docsize", "words_config",
)  # fmt: skip
_SCHEMA = (
    "drop table {table}", "drop trigger {trigger}", "drop view searched", "drop index chunk_source",
    "delete from {table}", "alter table {table} rename to other", "drop table words",
    "create trigger extra after insert on state begin delete from source; end",
    "alter table {table} add column extra", "update generation set number = number + 7",
    "insert into words (rowid, heading, text) values (99, 'harbour', 'harbour')",
    "insert into words (words) values ('delete-all')", "update chunk set id = id + 1000",
    "update vector set chunk = chunk + 1000", "pragma user_version = {number}",
    "pragma application_id = {number}", "update source set complete = 1 - complete",
)  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """A store without faults: its folder, and what is read from it."""

    folder: Path
    model: GritLM
    query: Any
    found: dict[Mode, list[Passage]]
    states: dict[tuple[int, StateKind], tuple[str, DocumentState]]


@cache
def whole(vectors: str) -> Whole:
    """Make a store of five chunks of three documents, one of which is not embedded yet."""
    folder = Path(tempfile.mkdtemp(prefix="gritlite-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = GritLM(write_model(folder / "tiny.gguf", width=64), threads=1)
    for name, text in {
        "boats.md": "# Boats\n\nThe harbour is red.\n\n## Ferry\n\nIt leaves at noon.\n",
        "inn.txt": "Mary Smith founded the inn.",
        "cats.html": "<title>Cats</title><p>Seven cats live in the mill.</p>",
    }.items():
        (folder / name).write_text(text)
    files = [folder / name for name in ("boats.md", "inn.txt", "cats.html")]
    with Store.open(
        folder / "a.grit",
        model,
        vectors=vectors,  # type: ignore[arg-type]
        chunk_tokens=32,
        states="q4_0" if vectors == "int8" else "f16",
    ) as store:
        store.add(*files[:2])
        store.scan(files[2])
        query = model.encode("harbour")
        found = {mode: store._searcher.search("harbour mill", query, 9, mode) for mode in _MODES}
        states = _states(store, found["vectors"])
    with contextlib.closing(sqlite3.connect(folder / "a.grit")) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    assert maintenance.verify(folder / "a.grit") == []
    assert len(found["vectors"]) == 3
    assert len(states) == 3
    return Whole(folder, model, query, found, states)


def _states(
    store: Store, passages: list[Passage]
) -> dict[tuple[int, StateKind], tuple[str, DocumentState]]:
    assert store._states is not None
    found: dict[tuple[int, StateKind], tuple[str, DocumentState]] = {}
    for passage in passages:
        state = store._states.load(passage.chunk, "doc", passage.embedded)
        if state is not None:
            found[passage.chunk, "doc"] = (passage.embedded, state)
    return found


def case(random: random.Random) -> Outcome:
    """Damage a copy of a store, and read all of it."""
    made = whole(random.choice(("float32", "int8", "binary")))
    with tempfile.TemporaryDirectory(prefix="gritlite-fuzz-") as name:
        path = Path(name) / "a.grit"
        shutil.copy(made.folder / "a.grit", path)
        shutil.copytree(made.folder / "a.grit.states", Path(name) / "a.grit.states")
        random.choice(_DAMAGES)(random, path)
        before = path.read_bytes()
        problems = _or_error(partial(maintenance.verify, path))
        if isinstance(problems, list):
            assert all(line.isprintable() for line in problems), problems
            assert path.read_bytes() == before, "verify changed the file"
        _or_error(partial(maintenance.info, path))
        _or_error(partial(maintenance.documents, path))
        outcome = _read(path, made, intact=problems == [])
        _or_error(partial(maintenance.prune, path, 10_000))
        if random.random() < 0.05:  # a reader of documents is a new process
            _or_error(partial(_change, path, made))
        return outcome


def _or_error(act: Callable[[], object]) -> object:
    """The result of an act, or the error of gritlite that it raised."""
    try:
        return act()
    except GritLiteError as error:
        check_message(error)
        return error


def _read(path: Path, made: Whole, *, intact: bool) -> Outcome:
    """Search, and load states: what is read is right, or an error, or found by `verify`."""
    outcome: Outcome = "right"
    try:
        store = Store.open(path, made.model, create=False)
    except GritLiteError as error:
        check_message(error)
        return "refused"
    with store:
        for mode in _MODES:
            found = _or_error(partial(store._searcher.search, "harbour mill", made.query, 9, mode))
            if isinstance(found, GritLiteError):
                outcome = "refused"
            elif _plain(found) != _plain(made.found[mode]):
                assert not intact, f"a wrong answer by {mode}, and verify found nothing"
                outcome = "refused"
        assert store._states is not None
        for (chunk, kind), (text, right) in made.states.items():
            state = _or_error(partial(store._states.load, chunk, kind, text))
            assert state is None or isinstance(state, GritLiteError) or state == right
            outcome = outcome if state == right else "refused"
        _or_error(store.condition)
    return outcome


def _plain(passages: Any) -> list[tuple[Any, ...]]:
    """What a passage says, without the folder."""
    return [
        (p.chunk, p.source.name, p.heading, p.place, p.text, p.embedded, round(p.score, 6))
        for p in passages
    ]


def _change(path: Path, made: Whole) -> None:
    """Index another document, and remove it."""
    folder = path.parent / "notes"
    folder.mkdir()
    (folder / "new.txt").write_text("New.")
    with Store.open(path, made.model, create=False) as store:
        store.scan(folder)
        store.embed()
    maintenance.remove(path, [folder])


def _edit_row(random: random.Random, path: Path) -> None:
    """Set a value of a row to anything, delete it, or exchange it with another row's."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        _allow_anything(connection)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma foreign_keys = off")
        for trigger in ("source_completed", "source_removed"):
            connection.execute(f"drop trigger {trigger}")
        for _ in range(random.choice((1, 1, 1, 3))):
            with contextlib.suppress(sqlite3.Error):
                _edit_one(random, connection)
    _restore_schema(path)


def _edit_one(random: random.Random, connection: sqlite3.Connection) -> None:
    table = random.choice(_TABLES)
    columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
    rows = connection.execute(f"select * from {table}").fetchall()
    if not rows:
        return  # an earlier edit deleted them
    row, column = random.choice(rows), random.choice(columns)
    where = " and ".join(f"{name} is ?" for name in columns)
    if random.random() < 0.1:
        connection.execute(f"delete from {table} where {where}", row)
        return
    old = row[columns.index(column)]
    choices: list[Any] = [random.choice(_VALUES), random.choice(rows)[columns.index(column)]]
    if isinstance(old, bytes) and old:
        choices += [mutate_bytes(random, old)] * 4
        if len(old) % 4 == 0:
            number = random.choice((np.nan, np.inf, -1.0, 1e38))
            choices.append(np.float32(number).tobytes() + old[4:])
    if isinstance(old, int):
        choices += [old + 1, -old, str(old), float(old)] if abs(old) < 2**60 else [0]
    if isinstance(old, str):
        choices += [old + "x", old[:-1], old.encode(), old.upper()]
    connection.execute(
        f"update {table} set {column} = ? where {where}", (random.choice(choices), *row)
    )


def _allow_anything(connection: sqlite3.Connection) -> None:
    """Take the constraints that refuse null out of the tables' definitions."""
    connection.execute("pragma writable_schema = on")
    connection.execute(
        "update sqlite_master set sql = replace(sql, 'not null', '')"
        " where type = 'table' and sql like 'create table%'"
    )


def _restore_schema(path: Path) -> None:
    original = whole("float32").folder / "a.grit"
    with contextlib.closing(sqlite3.connect(original)) as connection:
        objects = connection.execute("select * from sqlite_master").fetchall()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma writable_schema = on")
        connection.execute("delete from sqlite_master")
        marks = "?, ?, ?, ?, ?"
        connection.executemany(f"insert into sqlite_master values ({marks})", objects)
        connection.execute("pragma wal_checkpoint(truncate)")


def _edit_schema(random: random.Random, path: Path) -> None:
    """Change the tables, or all rows of one."""
    statement = random.choice(_SCHEMA).format(
        table=random.choice(_TABLES[:9]),
        trigger=random.choice(("source_completed", "source_removed")),
        number=random.choice((0, 1, 2, 4, 99, -1)),
    )
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma foreign_keys = off")
        with contextlib.suppress(sqlite3.Error):
            connection.execute(statement)
        connection.execute("pragma wal_checkpoint(truncate)")


def _flip_file(random: random.Random, path: Path) -> None:
    """Flip bits of the file, or change, cut or insert bytes."""
    data = bytearray(path.read_bytes())
    if random.random() < 0.7:
        for _ in range(random.choice((1, 1, 2, 8))):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    else:
        data = bytearray(mutate_bytes(random, bytes(data)))
    path.write_bytes(data)


def _flip_state(random: random.Random, path: Path) -> None:
    """Change bytes of a state's file."""
    file = random.choice(sorted(path.with_name("a.grit.states").rglob("*.kv")))
    file.write_bytes(mutate_bytes(random, file.read_bytes()))


def _craft_state(random: random.Random, path: Path) -> None:
    """Write a state's file whose checksum and size are right, and whose head is hostile."""
    file = random.choice(sorted(path.with_name("a.grit.states").rglob("*.kv")))
    data = file.read_bytes()
    magic, version, length = _HEAD.unpack_from(data)
    head, body = data[_HEAD.size : _HEAD.size + length], data[_HEAD.size + length : -16]
    kind = random.randrange(6)
    if kind < 3:
        facts = mutate_json(random, json.loads(head))
        if random.random() < 0.3 and isinstance(facts, dict):
            facts[random.choice(("cells", "head", "columns", "numbers"))] = any_value(random)
        head = json.dumps(facts).encode("utf-8", "surrogatepass")
    elif kind == 3:
        head = random.choice((b"", b"[" * 100_000, b"9" * 5000, b"\xff", b"null", head[:-1]))
    elif kind == 4:
        body = np.full(len(body) // 2, random.choice((np.nan, np.inf)), np.float16).tobytes()
    else:
        body = body[: random.randrange(len(body))] + b"\0" * random.choice((0, 64))
    told = random.choice((len(head), len(head), len(head), 0, 2**32 - 1, len(data)))
    data = _HEAD.pack(magic, version, told) + head + body
    data += xxhash.xxh3_128_digest(data)
    file.write_bytes(data)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "update state set bytes = ? where chunk = ?", (len(data), int(file.name.split(".")[0]))
        )
        connection.execute("pragma wal_checkpoint(truncate)")


_DAMAGES: tuple[Callable[[random.Random, Path], None], ...] = (
    *(_edit_row, _edit_row, _edit_row, _edit_schema),
    *(_flip_file, _flip_state, _craft_state),
)
