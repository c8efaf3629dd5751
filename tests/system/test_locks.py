"""A lock between processes and threads."""

import subprocess
import sys

import pytest

from gritlite.errors import FileError
from gritlite.system import locks

HOLD = """
import sys, time
from pathlib import Path
from gritlite.system import locks
with locks.exclusive(Path(sys.argv[1]), waiting=lambda: None):
    print("held", flush=True)
    time.sleep(600)
"""


class StillHeldError(Exception):
    """Raised where the lock would be waited for."""


def refuse() -> None:
    raise StillHeldError


def test_one_at_a_time_in_one_process(tmp_path):
    path = tmp_path / "a.lock"
    with locks.exclusive(path, waiting=refuse):
        with pytest.raises(StillHeldError), locks.exclusive(path, waiting=refuse):
            pass
        with locks.exclusive(tmp_path / "b.lock", waiting=refuse):
            pass
    with locks.exclusive(path, waiting=refuse):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StillHeldError), locks.exclusive(path, waiting=refuse):
            pass
        holder.kill()
        holder.wait()
    with locks.exclusive(path, waiting=refuse):
        pass


def test_waiting_goes_on_until_it_is_free(tmp_path):
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with locks.exclusive(path, waiting=holder.kill):
            assert holder.wait() != 0


def test_a_folder_that_is_missing(tmp_path):
    with (
        pytest.raises(FileError, match="cannot open the lock file"),
        locks.exclusive(tmp_path / "none" / "a.lock", waiting=refuse),
    ):
        pass
