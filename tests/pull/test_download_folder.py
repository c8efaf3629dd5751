"""Who removes the folders of downloads, with processes that are really killed."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.pull.download_folder import bytes_in, download_folder
from gritlite.system import cache

OWNER = """
import sys, time
from gritlite.system import cleanup
from gritlite.pull.download_folder import download_folder
if sys.argv[1] == "alone":  # as if the shell that waits were killed too
    assert cleanup._REMOVE_AT_END  # still its name
    cleanup._REMOVE_AT_END = "exit"
with download_folder() as own:
    (own / "half").write_bytes(b"half")
    print(own, flush=True)
    time.sleep(60)
"""


def start_owner(how: str) -> tuple["subprocess.Popen[str]", Path]:
    child = subprocess.Popen([sys.executable, "-c", OWNER, how], stdout=subprocess.PIPE, text=True)
    return child, Path(child.stdout.readline().strip())


def kill(child: "subprocess.Popen[str]") -> None:
    with child:
        child.kill()


def pending() -> list[str]:
    return sorted(path.name for path in cache.folder("pending").iterdir())


def wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + 20
    while path.exists():
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.02)


def test_it_is_there_for_the_block_only(cache_folder):
    with download_folder() as own:
        (own / "folder").mkdir()
        (own / "folder" / "file").write_bytes(b"x")
        assert own.parent == cache_folder / "pending"
    assert pending() == []


def test_an_error_removes_it_and_stays_what_it_is(cache_folder):
    with pytest.raises(KeyError), download_folder():
        raise KeyError
    assert pending() == []


def test_a_killed_owner_leaves_nothing(cache_folder):
    child, own = start_owner("watched")
    assert (own / "half").exists()
    kill(child)
    wait_until_gone(own)
    assert pending() == []


def test_the_next_one_removes_what_nobody_else_could(cache_folder):
    child, left = start_owner("alone")
    kill(child)
    assert (left / "half").exists()
    with download_folder() as own:
        assert pending() == [own.name]


def test_a_live_owner_keeps_its_own(cache_folder):
    child, theirs = start_owner("alone")
    with download_folder() as first, download_folder() as second:
        assert pending() == sorted([first.name, second.name, theirs.name])
        assert (theirs / "half").exists()
    kill(child)


def test_many_at_once(cache_folder):
    """Opening sweeps; none may take another's that is just being made."""
    code = (
        "from gritlite.pull.download_folder import download_folder\n"
        "for _ in range(30):\n"
        "    with download_folder() as own:\n"
        "        (own / 'file').write_bytes(b'x')\n"
        "        with download_folder(): assert (own / 'file').exists()\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)
    ]
    assert [child.communicate()[1] for child in children] == [b""] * 4
    assert pending() == []


def test_without_locks_a_week_decides(cache_folder):
    old, young = cache.folder("pending", "old"), cache.folder("pending", "young")
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (week_ago, week_ago))
    with download_folder() as own:
        assert pending() == sorted([own.name, young.name])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_with_its_place_and_the_cure(cache_folder, number):
    place = rf"{cache_folder / 'pending'} is full: .* set GRITLITE_CACHE"
    with pytest.raises(FileError, match=place), download_folder():
        raise OSError(number, os.strerror(number))
    assert pending() == []


def test_without_a_shell_it_works_all_the_same(cache_folder, monkeypatch):
    def no_shell(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/bin/sh")

    monkeypatch.setattr(subprocess, "Popen", no_shell)
    with download_folder() as own:
        assert own.exists()
    assert pending() == []


def test_bytes_are_counted_while_a_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As pip removes its own, between our listing and our look into it."""
    for name in ("gone", "stays"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_bytes(b"half")
    scan = os.scandir

    def scan_too_late(path):
        if Path(path).name == "gone":
            (Path(path) / "half").unlink()
            Path(path).rmdir()
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_too_late)
    assert bytes_in(tmp_path) == 4
