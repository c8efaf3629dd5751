"""Safety probe: tests in a child process whether llama.cpp runs on this processor.

A build can hit an instruction that the processor lacks, or crash in its AMX kernels
(GCC 12 drops stores into the tile configuration). So a child process decodes a tiny
model once per library build and processor, and the verdict is cached. A child that fails
for a reason outside llama.cpp gives no verdict. The module does not know what the child
does (see `probe_child`).
"""

import hashlib
import platform
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from gritlite.errors import LibraryError
from gritlite.runtime.trial import run_trial
from gritlite.system import cache, processor
from gritlite.system.files import sha256
from gritlite.system.ggml_library import library_folder
from gritlite.system.processes import can_start, module_command, runs_python

CHILD = "gritlite.runtime.probe_child"
REBUILD = (
    'CMAKE_ARGS="-DCMAKE_CXX_FLAGS=-fno-dse" '
    "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
)
_TIMEOUT = 300  # seconds; a healthy child takes one or two
_RECORD = "probe.json"  # in the cache


@dataclass(frozen=True)
class Verdict:
    """The result of the probe.

    `repack` says whether llama.cpp may rearrange quantized weights for faster
    kernels (AMX among them); `problem` says how it failed with repacking, "" if it did not.
    """

    repack: bool
    problem: str = ""


_NOT_PROBED = Verdict(repack=False, problem="not probed in an app that starts no children")


_remembered: list[Verdict] = []  # this process's, once it is known


def ensure_safe(waiting: Callable[[], object] = lambda: None) -> Verdict:
    """Return the verdict for this build and processor; run the probe if none is cached.

    Warns if llama.cpp runs only without its repacked kernels. Raises LibraryError if it
    cannot run at all or could not be tested. That is not cached, because the remedy is to
    reinstall or to try again. A frozen app that cannot start children does without repacking,
    unless a verdict is cached. `waiting` is that of `run_trial`.
    """
    if not _remembered:
        _remembered.append(_known_or_found(waiting))
    verdict = _remembered[-1]
    if verdict == _NOT_PROBED:
        warnings.warn(
            "this frozen app cannot test whether llama.cpp's repacked weights crash here, and runs "
            "slower without them: call gritlite.freeze_support() first in its main",
            stacklevel=3,
        )
    elif verdict.problem:
        warnings.warn(
            f"llama.cpp crashes with repacked weights here ({verdict.problem}) and runs slower "
            f"without them; to fix it run  {REBUILD}",
            stacklevel=3,
        )
    return verdict


def renew() -> Verdict:
    """Run the probe now and cache its verdict. Raises as `run_probe`."""
    forget()
    verdict = run_probe()
    _save(fingerprint(), verdict)
    return verdict


def forget() -> None:
    """Forget the verdict, so that the cache is looked into again."""
    _remembered.clear()


def _known_or_found(waiting: Callable[[], object]) -> Verdict:
    key = fingerprint()
    verdict = _load(key)
    if verdict is None:
        if not can_start():
            return _NOT_PROBED
        verdict = run_probe(waiting=waiting)
        _save(key, verdict)
    return verdict


def run_probe(
    child: Sequence[str] = (), *, waiting: Callable[[], object] = lambda: None
) -> Verdict:
    """Decode a tiny model in a child process, and again without repacking if that crashes.

    `child` is the command to run in place of CHILD; "repack" or "plain" is appended.
    Raises LibraryError if both fail, or if a child fails for another reason.
    """
    child = child or module_command(CHILD)
    problem = run_trial([*child, "repack"], timeout=_TIMEOUT, waiting=waiting).problem
    if not problem:
        return Verdict(repack=True)
    worse = run_trial([*child, "plain"], timeout=_TIMEOUT, waiting=waiting).problem
    if not worse:
        return Verdict(repack=False, problem=problem)
    raise LibraryError(
        f"llama.cpp cannot run on this processor ({worse}): rebuild it here with  {REBUILD}"
    )


def fingerprint() -> str:
    """Return a digest of the library's files and the processor's features.

    An app that is one file unpacks itself to another folder at each start, so the libraries of
    frozen apps are known by their bytes.
    """
    parts = [platform.machine(), platform.platform(), processor.description()]
    for path in sorted(library_folder().glob("*")):
        if runs_python():
            status = path.stat()
            parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
        else:
            parts.append(f"{path.name} {sha256(path)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _load(key: str) -> Verdict | None:
    known = cache.read_record(_RECORD)
    try:
        return Verdict(**known[key]) if key in known else None
    except TypeError:
        return None


def _save(key: str, verdict: Verdict) -> None:
    cache.keep_record({key: asdict(verdict)}, _RECORD)  # only this build's
