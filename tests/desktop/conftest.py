"""A screen that nobody sees, and the examples' processes on it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gritlite import FileError
from gritlite.system.locate import locate

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "desktop"


@pytest.fixture(scope="session", autouse=True)
def screen() -> Iterator[None]:
    """Xvfb, on a display of its own. Without it the tests fail."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.fail("the examples need a screen: run  make screen  as root", pytrace=False)
    reading, writing = os.pipe()
    command = [program, "-displayfd", str(writing), "-screen", "0", "1280x900x24"]
    with subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=[writing], stderr=subprocess.DEVNULL
    ) as server:
        os.close(writing)
        with open(reading) as numbers:
            number = numbers.readline().strip()
        assert number
        os.environ.update(DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb", GDK_BACKEND="x11")
        os.environ.pop("WAYLAND_DISPLAY", None)
        yield
        server.terminate()


@pytest.fixture(scope="session")
def default_model() -> str:
    """The path of the default model."""
    try:
        return str(locate("default"))
    except FileError as error:
        pytest.fail(f"the examples need the default model, run `make pull`: {error}")


@pytest.fixture(autouse=True)
def user_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the examples store out of the user's data, and stay in the clone's gritlite."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a program in a session of its own; what is left of it at the end fails the test."""
    started = []

    def begin(*command: object, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        started.append(process)
        return process

    yield begin
    left = {number: line for each in started for number, line in processes_of(each.pid).items()}
    for number in left:
        os.kill(number, signal.SIGKILL)
    for process in started:
        process.communicate()
    assert not left


@pytest.fixture
def gritlite_program(tmp_path: Path) -> str:
    """A program called gritlite."""
    program = tmp_path / "gritlite"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m gritlite "$@"\n')
    program.chmod(0o755)
    return str(program)


def processes_of(session: int) -> dict[int, str]:
    """The command lines of a session's processes, by their ids."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(number) == session and state != "Z":
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                found[int(folder.name)] = " ".join(words)
        except OSError:  # it has ended
            continue
    return found
