"""The parts, in order of worth: what is left when the time is over matters least.

Seconds are the most that a part may take. On the processor of a rehearsal, which is
slower, they are all multiplied by --patience.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checks.results import Results
from checks.sizes import Size


@dataclass(frozen=True)
class Task:
    """What a part is given: where to write, how much to do, and a folder for models."""

    results: Results
    size: Size
    folder: Path


@dataclass(frozen=True)
class Part:
    """A module of this package whose `run` takes a Task, and how long it may take."""

    name: str
    seconds: float

    @property
    def run(self) -> Callable[[Task], None]:
        """The function; its imports are made now."""
        run: Callable[[Task], None] = importlib.import_module(f"checks.{self.name}").run
        return run


PARTS = (
    Part("build", 40),
    Part("parity", 90),
    Part("answers", 40),
    Part("states", 30),
    Part("default", 30),
    Part("layers", 50),
    Part("speed", 120),
    Part("memory", 40),
    Part("gptq", 90),
    Part("graph", 60),
)
