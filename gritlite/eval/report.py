"""Reports of evaluations: scores, the model file and the versions, as JSON.

The module measures nothing.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gritlite.errors import FileError, FormatError, UsageError
from gritlite.eval.task import Score
from gritlite.system.files import atomic_write, sha256
from gritlite.system.textfiles import parse_json, read_text
from gritlite.version import __version__


@dataclass(frozen=True)
class ModelFile:
    """The file that was measured: its name, size in bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class EvaluationReport:
    """One evaluation.

    `settings` are the choices that change scores, `seconds` the time of each
    task by its name, `date` the end of the run in ISO 8601.
    """

    model: ModelFile
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    scores: tuple[Score, ...]
    seconds: Mapping[str, float]
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def model_file(path: Path) -> ModelFile:
    """The facts of a model file. Raises FileError if it cannot be read."""
    try:
        return ModelFile(path.name, path.stat().st_size, sha256(path))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def versions() -> dict[str, str]:
    """Of gritlite, and of the llama-cpp-python that brings llama.cpp."""
    return {"gritlite": __version__, "llama-cpp-python": version("llama-cpp-python")}


def write_report(report: EvaluationReport, path: Path, *, force: bool = False) -> None:
    """Write a report as indented JSON. Raises as `gritlite.system.files.atomic_write`."""
    with atomic_write(path, force=force) as file:
        file.write(json.dumps(asdict(report), indent=2, ensure_ascii=False).encode() + b"\n")


def read_report(path: Path) -> EvaluationReport:
    """Read what `write_report` wrote. Raises FileError, and FormatError for another file."""
    parsed = parse_json(read_text(path), str(path))
    try:
        return EvaluationReport(
            **parsed
            | {
                "model": ModelFile(**parsed["model"]),
                "scores": tuple(Score(**score) for score in parsed["scores"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: not a report of `gritlite eval`: {error}") from error


def check_names(names: Iterable[str]) -> None:
    """Raise UsageError if two tasks have one name: a reader could not tell their scores apart."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"two test sets are called {name!r}: measure them in runs apart")
        seen.add(name)
