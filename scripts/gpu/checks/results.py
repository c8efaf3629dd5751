"""What the parts found: one JSON object a line, written as soon as it is known.

A line is one write to a file opened for appending, so whatever is stopped loses
the line at hand at most, and readers leave out a last line that is torn.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PASSED = "passed"
FAILED = "failed"
NEEDS_GPU = "needs a GPU"
MEASURED = "measured"
NOT_DONE = "not done"

Device = Literal["gpu", "cpu"]
Line = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """Where one part writes. `device` is what it runs on."""

    path: Path
    part: str
    device: Device

    def check(self, name: str, held: bool, **facts: object) -> None:
        """Something that has to hold on a GPU, and whether it does; a processor passes nothing."""
        good = PASSED if self.device == "gpu" else NEEDS_GPU
        self._write(name, good if held else FAILED, facts)

    def measure(self, name: str, **facts: object) -> None:
        """Figures that nothing is asked of."""
        self._write(name, MEASURED, facts)

    def needs_gpu(self, name: str, reason: str) -> None:
        """Something that only a GPU can show."""
        self._write(name, NEEDS_GPU, {"reason": reason})

    def leave_out(self, name: str, reason: str) -> None:
        """Something that is not done for want of something else."""
        self._write(name, NOT_DONE, {"reason": reason})

    def end(self, verdict: str, seconds: float, reason: str = "") -> None:
        """How the part as a whole ended."""
        facts: Line = {"seconds": round(seconds, 1)}
        self._write("end", verdict, facts | ({"reason": reason} if reason else {}))

    def _write(self, name: str, verdict: str, facts: Line) -> None:
        line = {"part": self.part, "device": self.device, "name": name, "verdict": verdict, **facts}
        text = json.dumps(line, ensure_ascii=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, text.encode("utf-8"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> list[Line]:
    """The lines of a file of results, in the order of writing."""
    whole, _, _torn = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
