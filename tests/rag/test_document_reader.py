"""Reading documents in a child process, which may crash without harm."""

import os

import pytest

from gritlite.errors import DocumentError
from gritlite.rag import document_reader
from gritlite.rag.document_reader import DocumentReader, snapshot
from tests.rag import documents


@pytest.fixture
def reader():
    with DocumentReader() as opened:
        yield opened


def test_title_is_the_first_heading_or_else_the_name(reader, tmp_path):
    assert reader.read(b"# Inns\n\ntext", tmp_path / "a.md").title == "Inns"
    assert reader.read(b"text", tmp_path / "Old inns.txt").title == "Old inns"
    long = f"<title>{'word ' * 100}</title><h1>Inns</h1>".encode()
    assert reader.read(long, tmp_path / "a.html").title == "Inns"


def test_a_file_that_cannot_be_read_is_named(reader, tmp_path):
    path = tmp_path / "a.pdf"
    with pytest.raises(DocumentError, match=r"a\.pdf is encrypted: save"):
        reader.read(documents.encrypted_pdf(), path)
    assert reader.read(documents.pdf(["still here"]), path).blocks[0].text == "still here"


def test_a_bomb_harms_nobody(reader, tmp_path):
    with pytest.raises(DocumentError, match=r"bomb\.pdf "):
        reader.read(documents.pdf_bomb(), tmp_path / "bomb.pdf")
    assert reader.read(b"fine", tmp_path / "a.txt").blocks


def test_a_crash_is_told_and_the_next_document_is_read(reader, tmp_path):
    reader.read(b"x", tmp_path / "a.txt")
    reader._child.kill()
    with pytest.raises(DocumentError, match=r"b\.txt crashed the library"):
        reader.read(b"x", tmp_path / "b.txt")
    assert reader.read(b"x", tmp_path / "c.txt").title == "c"


def test_a_document_that_takes_too_long_is_given_up(tmp_path):
    with (
        DocumentReader(timeout=0.01) as hasty,
        pytest.raises(DocumentError, match="took more than"),
    ):
        hasty.read(b"x", tmp_path / "a.txt")


def test_too_much_text_is_refused(reader, tmp_path):
    with pytest.raises(DocumentError, match="has more than 64 million characters"):
        reader.read(b"x" * (65 << 20), tmp_path / "a.txt")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "log.txt"
    path.write_text("begun")
    look = os.fstat

    def look_after_another_wrote(descriptor: int) -> os.stat_result:
        with path.open("a") as file:
            file.write(" more")
        return look(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(document_reader.os, "fstat", look_after_another_wrote)
        with pytest.raises(DocumentError, match="changes while it is read"):
            snapshot(path)
    assert snapshot(path).data.startswith(b"begun more")


def test_a_huge_file_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(document_reader, "_MAX_BYTES", 10)
    path = tmp_path / "a.txt"
    path.write_text("eleven char")
    with pytest.raises(DocumentError, match="that are read: split it"):
        snapshot(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DocumentError, match="cannot read"):
        snapshot(tmp_path / "none.txt")


def test_a_pipe_is_no_document(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DocumentError, match=r"pipe\.txt is a pipe: name a file"):
        snapshot(tmp_path / "pipe.txt")


def test_no_module_of_the_working_folder_is_run(tmp_path, monkeypatch):
    (tmp_path / "bs4.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    with DocumentReader() as reader:
        assert reader.read(b"<p>fine", tmp_path / "a.html").blocks
