"""How the command line ends, in child processes."""

import errno
import os
import signal
import subprocess
import sys

import pytest

# a command that does what its argument says, run as the real ones are
PROGRAM = """
import sys, time
import click
from gritlite import errors
from gritlite.cli import main

class Command:
    @staticmethod
    @click.command()
    @click.argument("what")
    def command(what):
        exec(what)

sys.modules["gritlite.cli.commands.act"] = Command
main.COMMANDS["act"] = "Act."
main.main()
"""


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE, **options},
    )


def run(*arguments, **options):
    child = start(*arguments, **options)
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err


@pytest.mark.parametrize(
    ("what", "status", "line"),
    [
        (
            "raise errors.FileError('x.gguf is missing: get it')",
            2,
            "error: x.gguf is missing: get it",
        ),
        ("raise errors.FileError('two\\nlines')", 2, "error: two lines"),
        ("raise errors.DownloadError('broken')", 1, "error: broken"),
        ("raise errors.CancelledError('stopped')", 130, "error: stopped"),
        ("open('/nowhere/x')", 2, "error: /nowhere/x: No such file or directory"),
        ("raise TimeoutError", 1, "error: TimeoutError"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        (
            "raise click.BadParameter('odd')",
            2,
            "error: Invalid value: odd (see `gritlite act --help`)",
        ),
        ("raise click.ClickException('odd')", 1, "error: odd"),
        (
            "raise MemoryError",
            1,
            "error: out of memory: close other programs, or use a smaller model or context",
        ),
        (
            "1 / 0",
            1,
            "error: unexpected ZeroDivisionError: division by zero "
            "(run again as `gritlite --debug ...` for the traceback)",
        ),
        (
            "raise EOFError('the end')",
            1,
            "error: unexpected EOFError: the end "
            "(run again as `gritlite --debug ...` for the traceback)",
        ),
    ],
)
def test_an_error_is_one_line_and_a_status(what, status, line):
    returned, out, err = run("act", what)
    assert (returned, out) == (status, "")
    assert err.lstrip("\n") == f"gritlite: {line}\n"  # click ends the terminal's ^C line


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("ENOENT", 2),
        ("EACCES", 2),
        ("EROFS", 2),
        ("ENOSPC", 2),
        ("EDQUOT", 2),
        ("EFBIG", 2),
        ("EIO", 1),
        ("EMFILE", 1),
        ("ECONNRESET", 1),
    ],
)
def test_the_reason_decides_by_whatever_route_it_comes(name, status):
    raw = f"import errno, os; raise OSError(errno.{name}, os.strerror(errno.{name}), b'x.bin')"
    told = (
        f"try:\n    {raw}\nexcept OSError as error:\n"
        "    raise errors.FileError(f'cannot read x.bin: {error.strerror}') from error"
    )
    ends = [run("act", raw), run("act", told)]
    assert [end[0] for end in ends] == [status, status]
    for _, out, err in ends:
        assert out == ""
        assert err.startswith("gritlite: error: ")
        assert os.strerror(getattr(errno, name)) in err
        assert "x.bin" in err
        assert len(err.splitlines()) == 1


def test_debug_shows_the_traceback_too():
    status, _, err = run("--debug", "act", "1 / 0")
    assert status == 1
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("gritlite: error: unexpected ZeroDivisionError")


def test_a_warning_is_one_line():
    done = run("act", "import warnings; warnings.warn('cut to 5 tokens')")
    assert done == (0, "", "gritlite: warning: cut to 5 tokens\n")


def test_what_went_well_is_zero():
    assert run("act", "print('fine')") == (0, "fine\n", "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing"], "error: No such command 'nothing' (see `gritlite --help`)"),
        (["--odd"], "error: No such option '--odd' (see `gritlite --help`)"),
        (["act"], "error: Missing argument 'WHAT' (see `gritlite act --help`)"),
    ],
)
def test_a_mistake_in_the_call_is_two(arguments, line):
    assert run(*arguments) == (2, "", f"gritlite: {line}\n")


def test_no_command_shows_the_help():
    status, _, err = run()
    assert status == 2
    assert "Commands:" in err


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_unwind_with_blocks(tmp_path, name, status):
    what = (
        "from pathlib import Path; from gritlite.system.files import atomic_write\n"
        f"with atomic_write(Path({str(tmp_path / 'out')!r})) as file:\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(30)\n"
        "    finally:\n"
        "        print('unwound')\n"
    )
    child = start("act", what)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(getattr(signal, name))
    out, err = child.communicate(timeout=30)
    assert child.returncode == status
    assert out == "unwound\n"
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_ends_a_process_that_hangs_in_unwinding():
    what = (
        "try:\n    print('ready', flush=True); time.sleep(30)\n"
        "finally:\n    print('hanging', flush=True); time.sleep(30)\n"
    )
    child = start("act", what)
    for line in ("ready\n", "hanging\n"):
        assert child.stdout.readline() == line
        child.terminate()
    assert child.wait(10) == -signal.SIGTERM
    child.communicate()


def test_an_ignored_hangup_stays_ignored():
    child = start(
        "act",
        "print('ready', flush=True); time.sleep(0.5); print('done')",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGHUP)
    assert child.communicate(timeout=30) == ("done\n", "")
    assert child.returncode == 0


@pytest.mark.parametrize("what", ["print('x' * 9)", "print('x' * 100_000)"])
def test_a_reader_that_went_away_is_no_noise(what):
    child = start("act", f"sys.stdin.readline(); {what}", stdin=subprocess.PIPE)
    child.stdout.close()
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.wait(30) == 1
    assert child.stderr.read() == ""
    child.stdin.close()
    child.stderr.close()


@pytest.mark.parametrize(
    "arguments", [("act", "print('x')"), ("act", "print('x' * 9999)"), ("-h",)]
)
def test_a_full_disk_is_reported(arguments):
    with open("/dev/full", "w") as full:
        status, _, err = run(*arguments, stdout=full)
    assert status == 2
    assert err == (
        "gritlite: error: No space left on device: free some space and run the command again\n"
    )


@pytest.mark.parametrize(
    ("what", "status"),
    [("raise errors.FileError('x')", 2), ("raise KeyboardInterrupt", 130), ("print('x')", 0)],
)
def test_the_exit_code_stays_where_nothing_can_be_said(what, status):
    with open("/dev/full", "w") as full:
        child = subprocess.run(
            [sys.executable, "-c", PROGRAM, "act", f"import warnings; warnings.warn('x'); {what}"],
            stdout=subprocess.DEVNULL,
            stderr=full,
            check=False,
        )
    assert child.returncode == status


def test_a_closed_output_is_no_error():
    child = subprocess.run(
        ["sh", "-c", 'exec "$0" -m gritlite --version >&-', sys.executable],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("closed", "arguments", "said"),
    [
        ("<&-", "act 'print(sys.stdin.read() or \"nothing\")'", ("nothing\n", "")),
        (">&-", "act 'print(1)'", ("", "")),
        ("<&- >&- 2>&-", "act 'print(1); assert sys.stderr.fileno() == 2'", ("", "")),
    ],
)
def test_closed_streams_are_empty_ones(closed, arguments, said):
    child = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {arguments} {closed}', sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, *said)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "utf-16"])
def test_a_terminal_that_lacks_characters(encoding):
    what = "print('\u9996 \u20ac'); sys.stderr.write('\u9996')"
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, "act", what],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    shown = child.stdout.decode(encoding), child.stderr.decode(encoding)
    euro = "\\u20ac" if encoding == "ascii" else "\u20ac"
    sign = "\u9996" if encoding.startswith("utf") else "\\u9996"
    assert shown == (f"{sign} {euro}\n", sign)
