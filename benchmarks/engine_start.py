"""How long each engine takes until its first vector, and the memory that it then holds.

Every start is a process of its own; engines take turns. Python's start and the imports of
gritlite and numpy, which all have in common, are not counted; those of a runtime are. The first
start of an engine prepares its graph, and is not counted either.

    python benchmarks/engine_start.py MODEL.gguf [--engine llama --engine onnx --engine openvino]
        [--precision exact --precision fast] [--rounds 4]

Memory is from /proc (Linux): private pages are the process's own; file-backed ones are mapped from
files, shared among processes, and given up when memory is short.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from embed import processor

from gritlite import GritLM
from gritlite.system.threads import default_threads

MIB = 2**20
TEXT = "The first vector that a program wants is that of a question, which is short."
FIELDS = {"private MiB": "RssAnon", "file-backed MiB": "RssFile", "most at once MiB": "VmHWM"}


def main() -> None:
    """Start every engine in every round, and print a Markdown table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--engine", action="append", choices=["llama", "onnx", "openvino"])
    parser.add_argument("--precision", action="append", choices=["exact", "fast"])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # in a child: GritLM's options
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.model, options.threads, json.loads(options.measure))))
        return
    engines = options.engine or ["llama", "onnx", "openvino"]
    chosen = dict(variants(engines, options.precision or ["exact", "fast"]))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for number in range(options.rounds + 1):
        for name, choice in chosen.items():
            start = in_child(options.model, options.threads, choice)
            if number:  # the first start may have prepared the graph
                found[name].append(start)
    print(f"{Path(options.model).name}, {options.threads} threads, {processor()}\n")
    columns = list(next(iter(found.values()))[0])
    print(f"| engine | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, starts in found.items():
        medians = (statistics.median(start[column] for start in starts) for column in columns)
        print(f"| {name} | {' | '.join(f'{median:.2f}' for median in medians)} |")


def variants(
    engines: Sequence[str], precisions: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Names of engines in each of their precisions, and GritLM's options for them."""
    for engine in engines:
        if engine == "llama":
            yield "llama", {"engine": "llama"}
            continue
        for precision in precisions:
            if (engine, precision) != ("openvino", "fast"):  # there is none
                yield f"{engine} {precision}", {"engine": engine, "precision": precision}


def in_child(model: str, threads: int, choice: dict[str, str]) -> dict[str, float]:
    """What a process of its own measured."""
    line = [sys.executable, __file__, model, "--threads", str(threads)]
    done = subprocess.run(
        [*line, "--measure", json.dumps(choice)], stdout=subprocess.PIPE, check=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(model: str, threads: int, choice: dict[str, Any]) -> dict[str, float]:
    """Seconds until the model is loaded and until its first vector, and memory afterwards."""
    before = memory()
    start = time.perf_counter()
    with GritLM(model, threads=threads, **choice) as loaded:
        opened = time.perf_counter() - start
        loaded.encode([TEXT])
        first = time.perf_counter() - start
        after = memory()
    found = {"loaded s": opened, "first vector s": first}
    for name, field in FIELDS.items():
        kept = 0 if field == "VmHWM" else before[field]
        found[name] = (after[field] - kept) / MIB
    return found


def memory() -> dict[str, int]:
    """This process's memory in bytes, by /proc's names."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) << 10 for name in FIELDS.values()}


if __name__ == "__main__":
    main()
