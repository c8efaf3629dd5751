"""The check's modules are a package beside its scripts, as `scripts/gpu/setup.sh` tells Python."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "gpu"))

from checks.parts import PARTS, Task
from checks.results import Line, Results, read
from checks.sizes import SIZES


@pytest.fixture
def run_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Line]]:
    """Runs a part in this process, on the processor and in its smallest size."""
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "cache"))

    def run(name: str) -> list[Line]:
        (part,) = [part for part in PARTS if part.name == name]
        results = Results(tmp_path / f"{name}.jsonl", name, "cpu")
        part.run(Task(results, SIZES["small"], tmp_path))
        return read(results.path)

    return run
