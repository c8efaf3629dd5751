"""Outputs are complete or absent."""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gritlite.errors import FileError, OutputExistsError
from gritlite.system import files
from gritlite.system.files import atomic_folder, atomic_write, check_output


@pytest.fixture(params=["unnamed", "hidden"])
def output(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path to write to, with and without Linux's unnamed files."""
    if request.param == "hidden":
        monkeypatch.setattr(files, "_unnamed_file", lambda _: None)
    return tmp_path / "output.bin"


def names(folder: Path) -> list[str]:
    """The names in a folder, with hidden files."""
    return [path.name for path in folder.iterdir()]


def test_appears_when_complete(output: Path) -> None:
    with atomic_write(output) as file:
        file.write(b"half")
        file.flush()
        assert not output.exists()
        file.write(b", whole")
    assert output.read_bytes() == b"half, whole"
    assert names(output.parent) == ["output.bin"]


def test_permissions_follow_the_umask(output: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(output) as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert output.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("error", [KeyError("a bug"), KeyboardInterrupt()])
def test_an_exception_leaves_things_as_they_were(
    output: Path, before: bytes | None, error: BaseException
) -> None:
    if before is not None:
        output.write_bytes(before)

    def write() -> None:
        with atomic_write(output, force=True) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        write()
    assert (output.read_bytes() if output.exists() else None) == before
    assert names(output.parent) == (["output.bin"] if before else [])


def test_what_stands_is_kept_unless_forced(output: Path) -> None:
    output.write_bytes(b"old")
    with (
        pytest.raises(OutputExistsError, match=r"output\.bin exists already"),
        atomic_write(output),
    ):
        pytest.fail("the block must not start")
    assert output.read_bytes() == b"old"
    with atomic_write(output, force=True) as file:
        file.write(b"new")
    assert output.read_bytes() == b"new"
    assert names(output.parent) == ["output.bin"]


@pytest.mark.parametrize("force", [False, True])
def test_two_writers(output: Path, force: bool) -> None:
    """With `force` the last to finish replaces the first; without it, it fails."""
    refused = pytest.raises(OutputExistsError, match="meanwhile")
    with contextlib.nullcontext() if force else refused, atomic_write(output, force=force) as slow:
        slow.write(b"slow")
        with atomic_write(output, force=force) as quick:
            quick.write(b"quick")
        assert output.read_bytes() == b"quick"
    assert output.read_bytes() == (b"slow" if force else b"quick")
    assert names(output.parent) == ["output.bin"]


def test_many_writers_at_once(output: Path) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(8)

    def write(number: int) -> None:
        together.wait()
        try:
            with atomic_write(output) as file:
                file.write(bytes([number]) * 100_000)
            outcomes.append("written")
        except OutputExistsError:
            outcomes.append("refused")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("written") == 1
    assert len(outcomes) == 8
    content = output.read_bytes()
    assert content == content[:1] * 100_000
    assert names(output.parent) == ["output.bin"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/output.bin", "does not exist"),
        ("file/output.bin", "does not exist"),
        (".", "is a folder"),
        ("x" * 300, "too long"),
        ("a\0b", "null"),
    ],
)
def test_places_that_cannot_be(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=message):
        check_output(tmp_path / name, force=True)
    with pytest.raises(FileError, match=message), atomic_write(tmp_path / name, force=True):
        pytest.fail("the block must not start")


def test_a_name_as_long_as_can_be(output: Path) -> None:
    output = output.with_name("x" * 255)
    for content in (b"one", b"two"):
        with atomic_write(output, force=True) as file:
            file.write(content)
        assert output.read_bytes() == content


def test_other_errors_of_the_block_stay_what_they_are(output: Path) -> None:
    with pytest.raises(ConnectionResetError), atomic_write(output):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.fixture
def small_files() -> Iterator[int]:
    """Limit the files of this process to the yielded size, as a full disk would."""
    limit = 100_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def write_parts(output: Path, sizes: list[int]) -> None:
    with atomic_write(output) as file:
        for size in sizes:
            file.write(b"x" * size)


def test_a_write_that_the_system_refuses(output: Path, small_files: int) -> None:
    with pytest.raises(FileError, match="too large"):
        write_parts(output, [small_files // 10] * 20)
    assert names(output.parent) == []


def test_a_refusal_when_the_last_bytes_are_flushed(output: Path, small_files: int) -> None:
    with pytest.raises(FileError, match="too large"):
        write_parts(output, [small_files - 10, 20])  # 20 stay in the buffer until the end
    assert names(output.parent) == []


def test_a_full_disk(output: Path) -> None:
    """/dev/full fails like a full disk; mounting a tiny tmpfs would need privileges."""
    with pytest.raises(FileError, match="disk is full"), atomic_write(output):
        Path("/dev/full").write_bytes(b"x")
    assert names(output.parent) == []


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        ("fsync", errno.EIO, "cannot write .*output.bin: Input/output error"),
        ("fsync", errno.ENOSPC, "disk is full while writing .*output.bin"),
        ("link", errno.EDQUOT, "disk is full while writing .*output.bin"),
        ("open", errno.EMFILE, "cannot write .*output.bin: Too many open files"),
    ],
)
def test_a_refusal_of_the_steps_around_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        with pytest.raises(FileError, match=words) as caught, atomic_write(tmp_path / "output.bin"):
            pass
    assert isinstance(caught.value.__cause__, OSError)
    assert names(tmp_path) == []


def test_a_file_that_the_block_cannot_open_is_not_the_output(output: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(output):
        (output.parent / "missing").read_bytes()
    with pytest.raises(PermissionError, match="input"), atomic_write(output):
        raise PermissionError(errno.EPERM, "refused", "input.bin")
    assert names(output.parent) == []


CHILD = """
import sys, time
from pathlib import Path
from gritlite.system.files import atomic_write
with atomic_write(Path(sys.argv[1]), force=True) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(output: Path) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(output)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    return child


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_killed_writer_leaves_nothing(tmp_path: Path, before: bytes | None) -> None:
    output = tmp_path / "output.bin"
    if before is not None:
        output.write_bytes(before)
    with start_writer(output) as child:
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert names(tmp_path) == (["output.bin"] if before else [])
    assert (output.read_bytes() if output.exists() else None) == before


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own folders do not allow."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_no_permission(open_folder: Path) -> None:
    """In a child process without root's privileges, which override permissions."""
    sealed = open_folder / "sealed"
    sealed.mkdir(mode=0o555)
    hidden = open_folder / "hidden"
    hidden.mkdir()
    (hidden / "inner").mkdir()
    hidden.chmod(0o600)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from gritlite.errors import FileError\n"
        "from gritlite.system.files import atomic_write\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        with atomic_write(Path(name)): print('written')\n"
        "    except FileError as error: print(error)\n"
    )
    places = [str(sealed / "output.bin"), str(hidden / "inner" / "output.bin")]
    done = subprocess.run(
        [sys.executable, "-c", code, *places], capture_output=True, text=True, timeout=60
    )
    hidden.chmod(0o700)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert "no permission" in lines[0]
    assert "ermission" in lines[1]
    assert names(sealed) == []


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    with start_writer(tmp_path / "output.bin") as child:
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        child.wait(10)
    assert names(tmp_path) == []


# --- folders


def test_a_folder_appears_when_it_is_filled(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "part").write_text("whole")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "part").read_text() == "whole"
    assert names(tmp_path) == ["model"]


def test_a_folder_is_replaced_with_force_only(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with (
        pytest.raises(OutputExistsError, match="model exists already"),
        atomic_folder(tmp_path / "model"),
    ):
        pass
    with atomic_folder(tmp_path / "model", force=True) as folder:
        (folder / "new").touch()
    assert names(tmp_path / "model") == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine")
    with pytest.raises(OutputExistsError), atomic_folder(tmp_path / "model", force=True):
        pass
    assert (tmp_path / "model").read_text() == "mine"


def test_a_failure_leaves_no_folder_and_keeps_the_old(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with contextlib.suppress(ZeroDivisionError):
        with atomic_folder(tmp_path / "model", force=True) as folder:
            (folder / "half").touch()
            1 / 0  # noqa: B018
        pytest.fail("the error is swallowed")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == []


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path,
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with (
        pytest.raises(FileError, match="cannot write"),
        atomic_folder(tmp_path / "model", force=True) as folder,
    ):
        folder.rmdir()  # what cannot be renamed
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["old"]


def test_a_killed_process_leaves_no_folder(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from gritlite.system.files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch(); print(flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "model")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert len(names(tmp_path)) == 1
    child.kill()
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 10
    while names(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert names(tmp_path) == []
