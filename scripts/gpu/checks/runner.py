"""Runs the parts one after the other: `python -m checks.runner RESULTS`.

Each is a child process with a limit of time, so that one which crashes or hangs
takes nothing with it. Ends with 1 if anything failed. The module does not know
what a part does.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from checks.parts import PARTS
from checks.results import FAILED, NOT_DONE, Device, Results, read

CHILD = (sys.executable, "-m", "checks.child")
_LEAST_SECONDS = 5  # a part that has less is not begun


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="a file of JSON lines; new lines are appended")
    parser.add_argument("--parts", help="names with commas between them (default: all)")
    parser.add_argument("--seconds", type=float, default=400, help="for all parts (400)")
    parser.add_argument("--patience", type=float, default=1, help="multiplies each part's limit")
    parser.add_argument("--size", default="auto", help="auto, gpu, cpu or small")
    options = parser.parse_args()
    names = options.parts.split(",") if options.parts else [part.name for part in PARTS]
    unknown = set(names) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"no part {', '.join(unknown)}: there are {[part.name for part in PARTS]}")
    limits = {part.name: options.patience * part.seconds for part in PARTS if part.name in names}
    run(limits, options.results, options.seconds * options.patience, options.size)
    lines = read(options.results)
    print(summary(lines))
    sys.exit(any(line["verdict"] == FAILED for line in lines))


def run(
    limits: dict[str, float], path: Path, seconds: float, size: str, child: Sequence[str] = CHILD
) -> None:
    """Run the parts that have limits, in that order, within so many seconds in all."""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="gritlite-gpu-") as scratch:
        for name, limit in limits.items():
            left = end - time.monotonic()
            if left < _LEAST_SECONDS:
                _results(path, name).end(NOT_DONE, 0, "no time was left")
                continue
            print(f"{name}, {min(limit, left):.0f} s at most", flush=True)
            command = [*child, name, str(path), scratch, size]
            started, before = time.monotonic(), _ends(path, name)
            problem = _run(command, min(limit, left))
            if _ends(path, name) == before:
                _results(path, name).end(FAILED, time.monotonic() - started, problem)


def _run(command: Sequence[str], seconds: float) -> str:
    """Run a child, and say how it ended."""
    # its input is a pipe that ends with this process, and the child with it
    child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"stopped after {seconds:.0f} s"
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)  # with what it started
            child.wait()
        assert child.stdin is not None
        child.stdin.close()
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _ends(path: Path, name: str) -> int:
    """How often a part has said that it ended."""
    lines = read(path) if path.exists() else []
    return sum(line["part"] == name and line["name"] == "end" for line in lines)


def _results(path: Path, name: str) -> Results:
    """For a part that cannot speak for itself: its device is that of the others."""
    lines = read(path) if path.exists() else []
    devices: list[Device] = [line["device"] for line in lines]
    return Results(path, name, devices[-1] if devices else "cpu")


def summary(lines: Sequence[dict[str, object]]) -> str:
    """The failures, and how many lines there are of each verdict."""
    counts: dict[str, int] = {}
    for line in lines:
        counts[str(line["verdict"])] = counts.get(str(line["verdict"]), 0) + 1
    failures = [f"FAILED {line}" for line in lines if line["verdict"] == FAILED]
    return "\n".join([*failures, ", ".join(f"{n} {verdict}" for verdict, n in counts.items())])


if __name__ == "__main__":
    main()
