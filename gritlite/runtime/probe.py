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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache as remember

from gritlite.errors import LibraryError
from gritlite.runtime.trial import can_run, run_trial
from gritlite.system import cache, processor
from gritlite.system.ggml_library import library_folder
from gritlite.system.processes import module_command

CHILD = module_command("gritlite.runtime.probe_child")
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


_NOT_PROBED = Verdict(repack=False, problem="not probed in a frozen app")


def ensure_safe() -> Verdict:
    """Return the verdict for this build and processor; run the probe if none is cached.

    Warns if llama.cpp runs only without its repacked kernels. Raises LibraryError if it
    cannot run at all or could not be tested. That is not cached, because the remedy is to
    reinstall or to try again. A frozen app cannot run the probe: without a cached verdict it
    does without repacking.
    """
    verdict = _remembered_verdict()
    if verdict == _NOT_PROBED:
        warnings.warn(
            "a frozen app cannot test whether llama.cpp's repacked weights crash here, and runs "
            "slower without them",
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
    _remembered_verdict.cache_clear()
    verdict = run_probe()
    _save(fingerprint(), verdict)
    return verdict


@remember
def _remembered_verdict() -> Verdict:
    key = fingerprint()
    verdict = _load(key)
    if verdict is None:
        if not can_run():
            return _NOT_PROBED
        verdict = run_probe()
        _save(key, verdict)
    return verdict


def run_probe(child: Sequence[str] = CHILD) -> Verdict:
    """Decode a tiny model in a child process, and again without repacking if that crashes.

    `child` is the command to run; "repack" or "plain" is appended.
    Raises LibraryError if both fail, or if a child fails for another reason.
    """
    problem = run_trial([*child, "repack"], timeout=_TIMEOUT).problem
    if not problem:
        return Verdict(repack=True)
    worse = run_trial([*child, "plain"], timeout=_TIMEOUT).problem
    if not worse:
        return Verdict(repack=False, problem=problem)
    raise LibraryError(
        f"llama.cpp cannot run on this processor ({worse}): rebuild it here with  {REBUILD}"
    )


def fingerprint() -> str:
    """Return a digest of the library's files and the processor's features."""
    parts = [platform.machine(), platform.platform(), processor.description()]
    for path in sorted(library_folder().glob("*")):
        status = path.stat()
        parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _load(key: str) -> Verdict | None:
    known = cache.read_record(_RECORD)
    try:
        return Verdict(**known[key]) if key in known else None
    except TypeError:
        return None


def _save(key: str, verdict: Verdict) -> None:
    cache.keep_record({key: asdict(verdict)}, _RECORD)  # only this build's
