"""What every fuzzer shares: run one case after another, and count how each ended.

A case is a function of a random generator. It returns "right" if the product did its work and
the result passed the fuzzer's own check, or "refused" if the product raised one of its own
errors. Any other exception is a failure; its case is made again from the seed and its number.
"""

import random
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["right", "refused"]
Case = Callable[[random.Random], Outcome]

_SHOWN = 10  # failures whose traceback is printed


@dataclass
class Counts:
    """How many inputs ended how, and the numbers of the first that failed."""

    target: str
    seed: int
    inputs: int = 0
    right: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list[int] = field(default_factory=list)


def check_message(error: Exception) -> None:
    """Fail for an error whose message is empty or not one line that a terminal can show."""
    message = str(error)
    assert message.strip(), repr(error)
    assert message.isprintable(), message


def run(target: str, case: Case, inputs: int, seed: int, first: int = 0) -> Counts:
    """Run cases `first` to `first + inputs`, and print the traceback of those that fail."""
    counts = Counts(target, seed)
    start = time.perf_counter()
    for number in range(first, first + inputs):
        try:
            outcome = case(random.Random(f"{seed} {number}"))
        except Exception:
            counts.failed += 1
            if len(counts.failures) < _SHOWN:
                counts.failures.append(number)
                print(f"case {number}:", traceback.format_exc(), sep="\n", file=sys.stderr)
        else:
            counts.right += outcome == "right"
            counts.refused += outcome == "refused"
        counts.inputs += 1
    counts.seconds = round(time.perf_counter() - start, 1)
    return counts
