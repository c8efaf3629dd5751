"""Safety probe: tests in a child process whether llama.cpp runs on this processor.

A build can hit an instruction that the processor lacks, or crash in its AMX kernels
(GCC 12 drops stores into the tile configuration). So a child process decodes a tiny
model once per library build and processor, and the verdict is cached. A child that fails
for a reason outside llama.cpp gives no verdict. The module does not know what the child
does (see `probe_child`).
"""

import hashlib
import json
import platform
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache as remember
from pathlib import Path

from gritlite.errors import FileError, LibraryError
from gritlite.system import cache, processes
from gritlite.system.files import atomic_write
from gritlite.system.ggml_library import library_folder

CHILD = processes.module_command("gritlite.runtime.probe_child")
REBUILD = (
    'CMAKE_ARGS="-DCMAKE_CXX_FLAGS=-fno-dse" '
    "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
)
# signals of a crash; any other was sent from outside, for example by the out-of-memory killer
_CRASHES = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
NO_ROOM = 75  # a child's exit code when disk space or memory runs out; EX_TEMPFAIL of sysexits.h
_TIMEOUT = 300  # seconds; a healthy child takes one or two


@dataclass(frozen=True)
class Verdict:
    """The result of the probe.

    `repack` says whether llama.cpp may rearrange quantized weights for faster
    kernels (AMX among them); `problem` says how it failed with repacking, "" if it did not.
    """

    repack: bool
    problem: str = ""


def ensure_safe() -> Verdict:
    """Return the verdict for this build and processor; run the probe if none is cached.

    Warns if llama.cpp runs only without its repacked kernels. Raises LibraryError if it
    cannot run at all or could not be tested. That is not cached, because the remedy is to
    reinstall or to try again.
    """
    verdict = _remembered_verdict()
    if verdict.problem:
        warnings.warn(
            f"llama.cpp crashes with repacked weights here ({verdict.problem}) and runs slower "
            f"without them; to fix it run  {REBUILD}",
            stacklevel=3,
        )
    return verdict


def renew() -> Verdict:
    """Run the probe now and cache its verdict. Raises as `run_probe`."""
    _remembered_verdict.cache_clear()
    verdict = run_probe()
    _save(fingerprint(), verdict)
    return verdict


@remember
def _remembered_verdict() -> Verdict:
    key = fingerprint()
    verdict = _load(key)
    if verdict is None:
        verdict = run_probe()
        _save(key, verdict)
    return verdict


def run_probe(child: Sequence[str] = CHILD) -> Verdict:
    """Decode a tiny model in a child process, and again without repacking if that crashes.

    `child` is the command to run; "repack" or "plain" is appended.
    Raises LibraryError if both fail, or if a child fails for another reason.
    """
    problem = _try([*child, "repack"])
    if not problem:
        return Verdict(repack=True)
    worse = _try([*child, "plain"])
    if not worse:
        return Verdict(repack=False, problem=problem)
    raise LibraryError(
        f"llama.cpp cannot run on this processor ({worse}): rebuild it here with  {REBUILD}"
    )


def _try(command: Sequence[str]) -> str:
    """Run a child; return "" on success, otherwise how llama.cpp failed.

    Raises LibraryError if the child failed for a reason outside llama.cpp: no disk space,
    no memory, or a signal from outside.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:  # a crashing child does not clean up
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                env=processes.child_environment(TMPDIR=folder),
                timeout=_TIMEOUT,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return f"no result after {_TIMEOUT} s"
    except OSError as error:
        raise _untested(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode == 0:
        return ""
    if done.returncode == -signal.SIGILL:
        return "illegal instruction: built for another processor"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        if name in _CRASHES:
            return f"killed by {name}"
        reason = ", probably because memory ran out" if name == "SIGKILL" else ""
        raise _untested(f"the child was killed by {name}{reason}")
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    message = lines[-1] if lines else "no message"
    if done.returncode == NO_ROOM:
        raise _untested(f"out of memory or of space in {tempfile.gettempdir()}: {message}")
    return f"exit code {done.returncode}: {message}"


def _untested(reason: str) -> LibraryError:
    return LibraryError(
        f"llama.cpp could not be tested ({reason}): fix that and run the command again"
    )


def fingerprint() -> str:
    """Return a digest of the library's files and the processor's features."""
    parts = [platform.machine(), platform.platform(), _processor()]
    for path in sorted(library_folder().glob("*")):
        status = path.stat()
        parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(
        sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    )


def _verdict_file() -> Path:
    return cache.root() / "probe.json"


def _load(key: str) -> Verdict | None:
    try:
        known = json.loads(_verdict_file().read_text(encoding="utf-8"))
        return Verdict(**known[key]) if key in known else None
    except (OSError, ValueError, TypeError):
        return None


def _save(key: str, verdict: Verdict) -> None:
    # only this build's verdict is saved; without a writable cache each start runs the probe
    try:
        _verdict_file().parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(_verdict_file(), force=True) as file:
            file.write(json.dumps({key: asdict(verdict)}).encode())
    except (OSError, FileError):
        return
