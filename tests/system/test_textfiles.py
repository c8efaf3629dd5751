"""Errors of text and JSON files name the place."""

import os
import subprocess
from pathlib import Path

import pytest

from gritlite.errors import FileError, FormatError
from gritlite.system import textfiles
from gritlite.system.textfiles import parse_json, read_lines, read_text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a.json: not JSON: Expecting"),
        ("[\n}", "a.json, line 2: not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5_000, "not JSON that can be read"),
    ],
)
def test_what_is_no_json_is_named(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_json(text, "a.json")


def test_lines_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfiles, "MAX_BYTES", 100)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbfone\r\n\n \t\n\xef\xbb\xbftwo\rthree\n" + b"four\n" * 100 + b"five"
    )
    lines = list(read_lines(path))
    assert lines[0] == (f"{path}, line 1", "one")
    assert lines[1] == (f"{path}, line 4", "\ufefftwo\rthree")
    assert len(lines) == 103
    assert lines[-1] == (f"{path}, line 105", "five")


def test_a_line_has_a_largest_size_and_a_pipe_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfiles, "MAX_BYTES", 1 << 20)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"a" * (1 << 21))
    with pytest.raises(FileError, match="more than 1 MiB"):
        list(read_lines(path))
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        with pytest.raises(FileError, match="more than 1 MiB"):
            list(read_lines(Path(f"/dev/fd/{endless.stdout.fileno()}")))
        endless.kill()


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"one\n\ntw\xffo\n")
    with pytest.raises(FormatError, match=r"rows.jsonl, line 3: not valid UTF-8: byte 0xff"):
        list(read_lines(path))
    os.truncate(path, 4)
    assert len(list(read_lines(path))) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(encoding: str, tmp_path: Path) -> None:
    """PowerShell 5 writes UTF-16."""
    path = tmp_path / "a.txt"
    path.write_bytes("Grüße\r\n首都".encode(encoding))
    assert read_text(path) == "Grüße\r\n首都"
    path.write_bytes(b"\xff\xfea")
    with pytest.raises(FormatError, match="not valid utf-16: save it as UTF-8"):
        read_text(path)
