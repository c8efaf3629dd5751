"""Model probe: tries in a child process a model file that the checks do not fully know.

llama.cpp ends the process when parts of a file do not fit together. Files whose
architecture, tokenizer and keys are all checked beforehand (`unchecked_parts`) are loaded
directly. Any other is first loaded, embedded with and generated with in a child, once per
file and library build; the verdict is cached. The module does not know what the child does
(see `model_probe_child`).
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from gritlite.errors import ArchitectureError
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.unchecked import unchecked_parts
from gritlite.runtime import probe
from gritlite.runtime.trial import run_trial
from gritlite.system import cache
from gritlite.system.processes import can_start, module_command
from gritlite.system.reading import open_regular

CHILD = "gritlite.runtime.model_probe_child"
_TIMEOUT = 60  # seconds for a small file, which takes one or two
_BYTES_PER_SECOND = 20_000_000  # a slow disk's, for large ones


@dataclass(frozen=True)
class ModelVerdict:
    """The result of a trial: `problem` says how llama.cpp failed, "" if it did not."""

    problem: str

    def __str__(self) -> str:
        """Say it in a few words."""
        return (
            f"llama.cpp fails: {self.problem}"
            if self.problem
            else "llama.cpp does not crash with it"
        )


def ensure_runs(
    file: GGUFFile,
    *,
    gpu_layers: int | str,
    repack: bool,
    waiting: Callable[[], object] = lambda: None,
) -> None:
    """Try a file that the checks do not fully know in a child process, unless that was done.

    `gpu_layers` and `repack` are those of `Weights`, and `waiting` that of `run_trial`. Raises
    ArchitectureError if llama.cpp crashes with the file or if it cannot be tried, and
    LibraryError if the trial failed for a reason outside llama.cpp; that is not cached.
    """
    if not unchecked_parts(file):
        return
    verdict = known_verdict(file)
    if verdict is None:
        verdict = try_model(file, gpu_layers=gpu_layers, repack=repack, waiting=waiting)
    check_verdict(file, verdict)


def check_verdict(file: GGUFFile, verdict: ModelVerdict) -> None:
    """Raise ArchitectureError for a file that llama.cpp failed with."""
    if verdict.problem:
        raise ArchitectureError(
            f"{file.path} makes llama.cpp fail ({verdict.problem}): its "
            f"{', '.join(unchecked_parts(file))} cannot be checked in advance; use a Llama, "
            "Mistral, Mixtral or Qwen2 model"
        )


def known_verdict(file: GGUFFile) -> ModelVerdict | None:
    """Return the cached verdict about a file, None if it has not been tried with this build.

    Raises FileError if the file cannot be read.
    """
    known = cache.read_record(*_record(file))
    problem = known.get("problem") if isinstance(known, dict) else None
    return ModelVerdict(problem) if isinstance(problem, str) else None


def try_model(
    file: GGUFFile,
    *,
    gpu_layers: int | str,
    repack: bool,
    child: Sequence[str] = (),
    waiting: Callable[[], object] = lambda: None,
) -> ModelVerdict:
    """Load a file in a child process, embed and generate with it, and cache the verdict.

    `child` is the command to run in place of CHILD. The verdict about a child that timed out
    is not cached, as the machine may be busy.
    Raises ArchitectureError where no child can be started, and as `run_trial`.
    """
    if not can_start():
        raise ArchitectureError(
            f"{file.path} holds what gritlite cannot check ({', '.join(unchecked_parts(file))}), "
            "and this frozen app cannot try it in a child process: use a Llama, Mistral, Mixtral "
            "or Qwen2 model, or call gritlite.freeze_support() first in its main"
        )
    command = [
        *(child or module_command(CHILD)),
        str(file.path),
        str(gpu_layers),
        "repack" if repack else "plain",
    ]
    timeout = _TIMEOUT + file.size / _BYTES_PER_SECOND
    done = run_trial(command, timeout=timeout, waiting=waiting)
    step = done.output.splitlines()[-1] if done.output else "starting"
    verdict = ModelVerdict(f"{done.problem} while {step}" if done.problem else "")
    if not done.timed_out:
        cache.keep_record(asdict(verdict), *_record(file))
    return verdict


def _record(file: GGUFFile) -> tuple[str, str]:
    """Return where the verdict is kept: by the model file's identity and the build."""
    digest = hashlib.sha256(probe.fingerprint().encode())
    with open_regular(file.path) as data:
        status = os.fstat(data.fileno())
        digest.update(f"{file.size} {status.st_mtime_ns} ".encode())
        digest.update(data.read(file.data_offset))
    return "model-probes", f"{digest.hexdigest()}.json"
