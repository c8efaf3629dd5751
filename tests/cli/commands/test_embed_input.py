"""Lines become texts, otherwise unchanged; errors name the file and line."""

import os
import threading

import pytest

from gritlite.cli.commands import embed_input as module
from gritlite.cli.commands.embed_input import Texts
from gritlite.errors import FileError, FormatError, InputError, UsageError


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\n\ntwo\n\n", ["one", "", "two", ""]),
        (b" one \t\n", [" one \t"]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo", ["one", "\ufefftwo"]),
        (b"\xef\xbb\xbf", []),
        ("a\x0bb\x0cc\x1cd\x85e\u2028f\rg\0h".encode(), ["a\x0bb\x0cc\x1cd\x85e\u2028f\rg\0h"]),
    ],
)
def test_a_line_is_a_text(write, content, expected):
    assert list(Texts([write(content)])) == expected


def test_files_follow_each_other(write):
    files = [write(b"one\ntwo", "a"), write(b"", "b"), write(b"three\n", "c")]
    texts = Texts(files)
    assert list(texts) == ["one", "two", "three"]
    assert [texts.place(index) for index in range(3)] == [
        f"{files[0]}, line 1",
        f"{files[0]}, line 2",
        f"{files[2]}, line 1",
    ]
    assert texts.bytes_read == texts.bytes_total == 13


PROSE = b"\xef\xbb\xbf\n\none\r\n  two\r\n\r\n \t\r\nthree\n\n\nfour\n"


def test_a_paragraph_is_a_text(write):
    path = write(PROSE)
    texts = Texts([path, write(b"five", "b.txt")], split="paragraphs")
    assert list(texts) == ["one\n  two", "three", "four", "five"]
    assert [texts.place(index) for index in range(4)] == [
        f"{path}, line 3",
        f"{path}, line 7",
        f"{path}, line 10",
        f"{path.replace('a.txt', 'b.txt')}, line 1",
    ]
    assert texts.bytes_read == texts.bytes_total


def test_a_file_is_a_text(write):
    path = write(PROSE)
    texts = Texts([path, write(b"", "b.txt")], split="files")
    assert list(texts) == ["one\n  two\n\n \t\nthree\n\n\nfour", ""]
    assert [texts.place(index) for index in range(2)] == [path, path.replace("a.txt", "b.txt")]
    assert texts.bytes_read == texts.bytes_total


def test_a_bad_byte_in_a_paragraph_or_file_is_named_by_its_line(write):
    path = write(b"one\ntwo\n\nth\xffree\n")
    for split in ("paragraphs", "files"):
        with pytest.raises(FormatError, match=r"a\.txt, line 4: not valid UTF-8: byte 0xff at pos"):
            list(Texts([path], split=split))


def test_blank_texts_are_left_out_and_counted(write):
    path = write(b"\none\n \t\ntwo\n\n")
    rows = write(b'{"text": ""}\n\n{"text": "three"}\n', "b.jsonl")
    texts = Texts([path, rows], skip_empty=True)
    for _ in range(2):
        assert list(texts) == ["one", "two", "three"]
        assert texts.skipped == 5
        assert [texts.place(index) for index in range(3)] == [
            f"{path}, line 2",
            f"{path}, line 4",
            f"{rows}, line 3",
        ]
        texts.restart()


def test_json_lines_have_a_text_in_each_line(write):
    path = write(b'{"text": "one"}\n', "a.jsonl")
    for split in ("paragraphs", "files"):
        with pytest.raises(UsageError, match=f"a.jsonl is JSON Lines.* split into {split}"):
            Texts([path], split=split)


@pytest.mark.parametrize("split", ["paragraphs", "files"])
def test_a_text_has_a_largest_size(write, monkeypatch, split):
    monkeypatch.setattr(module, "_LONGEST_TEXT", 2**20)
    with pytest.raises((FormatError, FileError), match=r"(longer|more) than 1 MiB"):
        list(Texts([write(b"many words\n" * 110_000)], split=split))


def test_json_lines_by_name_and_by_field(write):
    line = b'{"id": 1, "text": "a\\nb", "title": "c"}\n'
    assert list(Texts([write(line, "a.jsonl")])) == ["a\nb"]
    assert list(Texts([write(line, "a.NDJSON")], "title")) == ["c"]
    assert list(Texts([write(line, "a.txt")], "title")) == ["c"]
    assert list(Texts([write(line, "a.txt")])) == [line.decode().rstrip("\n")]


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        (b"a\xffb", FormatError, "not valid UTF-8: byte 0xff at position 2"),
        (b"\xed\xa0\x80", FormatError, "not valid UTF-8: byte 0xed at position 1"),
        (b"{", FormatError, "not JSON: "),
        (b"", FormatError, "not JSON: "),
        (b"[" * 100_000, FormatError, "not JSON: "),
        (b"[1]", FormatError, "not a JSON object"),
        (b"{}", InputError, "no field 'text' (it has none)"),
        (b'{"b": "", "a": ""}', InputError, "no field 'text' (it has a, b)"),
        (b'{"text": null}', InputError, "the field 'text' is null, not a string"),
        (b'{"text": true}', InputError, "the field 'text' is a boolean, not a string"),
        (b'{"text": 1.5}', InputError, "the field 'text' is a number, not a string"),
        (b'{"text": ["a"]}', InputError, "the field 'text' is an array, not a string"),
    ],
)
def test_a_bad_line_is_named(write, line, kind, said):
    path = write(b'{"text": "fine"}\n' + line + b"\n", "a.jsonl")
    reading = iter(Texts([path]))
    assert next(reading) == "fine"
    with pytest.raises(kind) as caught:
        next(reading)
    assert str(caught.value).startswith(f"{path}, line 2: {said}")


def test_a_file_without_line_ends_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_TEXT", 2**20)
    with pytest.raises(FormatError, match=r"/dev/zero, line 1: longer than 1 MiB"):
        next(iter(Texts(["/dev/zero"])))


def test_what_cannot_be_read_is_reported_before_reading(tmp_path, write):
    fine = write(b"fine")
    for name, said in [("nothing", "does not exist"), ("", "is a folder")]:
        with pytest.raises(FileError, match=said):
            Texts([fine, str(tmp_path / name)])
    with pytest.raises(UsageError, match="named twice"):
        Texts(["-", "-"])


def test_a_named_pipe_is_read_once_and_has_no_size(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"one\ntwo\n",))
    texts = Texts([str(path)])
    assert texts.bytes_total is None
    writer.start()
    assert list(texts) == ["one", "two"]
    writer.join()
