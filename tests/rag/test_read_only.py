"""Stores where nothing can be written: a mount in a namespace of its own, and the same in part."""

import os
import re
import shutil
import sqlite3
import sys

import pytest

from gritlite.errors import FileError
from gritlite.rag import connection
from gritlite.rag.store import Store
from tests.rag.documents import notes
from tests.rag.old_stores import to_format_2
from tests.rag.test_full_disk import in_a_namespace, may_mount

READ = """
import sys
from pathlib import Path
from gritlite import GritLM
from gritlite.errors import FileError
from gritlite.rag import maintenance
from gritlite.rag.store import Store
model, path = sys.argv[1:]
with GritLM(model, threads=1) as loaded, Store.open(path, loaded, create=False) as store:
    print([len(store.search("ferry", 9, mode=mode)) for mode in ("vectors", "words", "hybrid")])
    answer = store.ask("ferry?", 2, layout="exact", max_tokens=2)
    print(answer.states_loaded, answer.states_computed, store.condition().read_only)
    print(store.state_usage().states, maintenance.info(path).sources, maintenance.verify(path))
    for act in (
        lambda: store.add("."),
        lambda: maintenance.prune(path),
        lambda: maintenance.remove(path, ["."]),
    ):
        try:
            act()
        except FileError as error:
            print(error)
"""
RUN = """
set -e
mount --bind "$1" "$1"
mount -o remount,ro,bind "$1"
shift
exec "$@"
"""
WHOLE = ["[4, 1, 4]", "0 2 True", "4 3 []"]


@pytest.fixture
def path(tmp_path, tiny_model):
    """A closed store with states, alone in a folder."""
    (tmp_path / "disk").mkdir()
    with Store.open(tmp_path / "disk" / "a.grit", tiny_model, states="f16") as store:
        store.add(notes(tmp_path / "notes"))
    return store.path


def read(path, tiny_path):
    """What a process prints for which the store's folder is mounted read-only."""
    if sys.platform != "linux" or not may_mount(path.parent):
        pytest.skip("this system does not let users mount a folder read-only")
    found = in_a_namespace(
        *("sh", "-c", RUN, "sh", path.parent, sys.executable, "-c", READ, tiny_path, path)
    )
    assert found.stderr == ""
    *lines, add, prune, remove = found.stdout.splitlines()
    for error in (add, prune, remove):
        assert error.startswith(f"{path} cannot be changed: the file or its folder is read-only")
    return lines


def test_a_read_only_mount(path, tiny_path):
    assert read(path, tiny_path) == WHOLE
    assert not list(path.parent.glob("a.grit-*"))


def test_no_store_is_made_on_a_read_only_mount(tmp_path):
    if sys.platform != "linux" or not may_mount(tmp_path):
        pytest.skip("this system does not let users mount a folder read-only")
    create = f"""
from pathlib import Path
from gritlite.rag.database import check_location
check_location(Path({str(tmp_path / "new.grit")!r}), create=True)
"""
    found = in_a_namespace("sh", "-c", RUN, "sh", tmp_path, sys.executable, "-c", create)
    assert found.stderr.endswith(f"FileError: no permission to write in {tmp_path}\n")


def test_a_store_of_an_older_format_on_a_read_only_mount(path, tiny_path):
    to_format_2(path)
    before = path.read_bytes()
    assert read(path, tiny_path) == WHOLE
    assert path.read_bytes() == before


def test_a_store_that_another_process_writes_to(path, tiny_path):
    """Its newest changes are in the log only, which must be read."""
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("pragma wal_autocheckpoint = 0")
        writer.execute("insert into root values ('elsewhere')")
        assert path.with_name("a.grit-wal").stat().st_size
        assert read(path, tiny_path) == WHOLE
    writer.close()


def test_a_log_that_cannot_be_read_is_told(path, tiny_path, tmp_path):
    """The writer was killed: without the shared index, SQLite would have to write to read it."""
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("insert into root values ('elsewhere')")
        other = tmp_path / "copy"
        other.mkdir()
        for name in ("a.grit", "a.grit-wal"):
            shutil.copy(path.with_name(name), other / name)
    writer.close()
    if not may_mount(other):
        pytest.skip("this system does not let users mount a folder read-only")
    found = in_a_namespace(
        *("sh", "-c", RUN, "sh", other, sys.executable, "-c", READ, tiny_path, other / "a.grit")
    )
    assert re.search(r"FileError: .*a\.grit has changes in a\.grit-wal, which cannot", found.stderr)


def forbid_writing(monkeypatch):
    """Tell that the store's folder cannot be written, as for a user without permission."""
    access = os.access
    monkeypatch.setattr(
        connection.os,
        "access",
        lambda name, mode: access(name, mode) and not (mode == os.W_OK and "disk" in str(name)),
    )


def test_changes_from_elsewhere_are_seen(path, tiny_model, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        forbid_writing(patched)
        store = Store.open(path, tiny_model, create=False)
    with store:
        assert store.condition().read_only
        assert len(store.search("ferry", 9)) == 4
        (tmp_path / "notes" / "new.txt").write_text("The ferry is new.")
        with Store.open(path, tiny_model, create=False) as writer:
            writer.add(tmp_path / "notes")
        with monkeypatch.context() as patched:
            forbid_writing(patched)
            assert len(store.search("ferry", 9)) == 5


def test_a_store_is_not_made_where_nothing_can_be_written(path, tiny_model, monkeypatch):
    forbid_writing(monkeypatch)
    new = path.with_name("b.grit")
    with pytest.raises(FileError):
        Store.open(new, tiny_model)
    assert not new.exists()


def test_a_system_that_refuses_only_the_first_statement(path, tiny_model, monkeypatch):
    """As where a file system lies about permissions."""
    monkeypatch.setattr(connection, "_can_write", lambda _: True)
    connect = connection._connect

    class Refused(sqlite3.Connection):
        def execute(self, sql, *arguments):
            if sql == "begin":
                error = sqlite3.OperationalError("unable to open database file")
                error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
                raise error
            return super().execute(sql, *arguments)

    def refuse(place, *, uri=False):
        if uri:
            return connect(place, uri=uri)
        return sqlite3.connect(place, isolation_level=None, factory=Refused)

    monkeypatch.setattr(connection, "_connect", refuse)
    with Store.open(path, tiny_model, create=False) as store:
        assert store.condition().read_only
        assert len(store.search("ferry", 9)) == 4
