"""Whole files are read up to a limit, and never from a device."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.system.reading import open_regular, read_bytes, read_stream
from gritlite.system.textfiles import read_text

MANY = 3 << 20


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe without a writer."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    data = os.urandom(MANY)
    (tmp_path / "a").write_bytes(data)
    assert read_bytes(tmp_path / "a", MANY) == data
    with open_regular(tmp_path / "a") as file:
        assert file.read() == data


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(MANY + 1))
    with pytest.raises(FileError, match=r"a has more than 3 MiB, the most that is read"):
        read_bytes(tmp_path / "a", MANY)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(FileError, match=f"{device} is a device: name a file"):
        read_bytes(Path(device), pipes=True)
    with pytest.raises(FileError, match=f"{device} is a device"):
        open_regular(Path(device))


def test_a_pipe_is_not_waited_for_where_a_file_is_meant(pipe: Path) -> None:
    for read in (read_bytes, open_regular):
        with pytest.raises(FileError, match="is a pipe: name a file"):
            read(pipe)


def test_a_text_may_come_from_a_pipe(pipe: Path) -> None:
    writer = threading.Thread(target=pipe.write_text, args=("one\ntwo",))
    writer.start()
    assert read_text(pipe) == "one\ntwo"
    writer.join()


def test_a_pipe_without_end_is_read_up_to_the_limit() -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        with pytest.raises(FileError, match="standard input has more than 1 MiB"):
            read_stream(endless.stdout, "standard input", 1 << 20)
        endless.kill()


def test_what_a_shell_substitutes_is_a_pipe() -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        path = Path(f"/dev/fd/{endless.stdout.fileno()}")
        with pytest.raises(FileError, match=f"{path} has more than 1 MiB"):
            read_text(path, 1 << 20)
        endless.kill()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "none: it does not exist"),
        (".", "it is a folder: name a file"),
        ("a\0b", "zero byte"),
        ("a" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        read_bytes(tmp_path / name)
