"""What a start costs an app: imports, the first vector, the first words of a chat, and memory.

Every start is a process of its own, timed from before Python starts; what is measured takes turns.
The model's file is in the system's cache of files. An engine's first start prepares its graph,
and is not counted. On one thread, as an app that leaves a core to its window; two that wait for
each other would measure what else the machine does.

    python benchmarks/startup.py [MODEL] [--engine llama --engine onnx] [--threads 1]
        [--rounds 10]

Memory is from /proc (Linux): private pages are the process's own; file-backed ones, mostly of
the model's file, are mapped, and given up when memory is short.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from embed import processor

CODE = """
import json, sys, time
begun = time.perf_counter()
import gritlite
imported = time.perf_counter()
from gritlite import GritLM, Store
named = time.perf_counter()
model_name, engine, threads = sys.argv[1:]

def say(step):
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    memory = {name: int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")}
    print(json.dumps({"step": step, **memory}), flush=True)

say("imported")
model = GritLM(model_name, engine=engine, threads=int(threads))
model.encode("The first vector that a program wants is that of a question, which is short.")
say("first vector")
model.encode(["A paragraph of a document that is embedded for a store. " * 20] * 4)
say("embedded 4 texts")
question = {"role": "user", "content": "In one sentence: why do leaves look green?"}
for number, _ in enumerate(model.chat([question], stream=True, temperature=0, max_tokens=60)):
    if number == 0:
        say("first words of a chat")
say("chatted")
times = {"import gritlite": imported - begun, "import GritLM and Store": named - imported}
print(json.dumps(times))
"""


def main() -> None:
    """Start the program in turns, and print a Markdown table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--engine", action="append", choices=["llama", "onnx", "openvino"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    engines = arguments.engine or ["llama"]
    for engine in engines:
        start(arguments.model, engine, arguments.threads)
    starts: dict[str, list[Any]] = {engine: [] for engine in engines}
    for _ in range(arguments.rounds):
        for engine in engines:
            starts[engine].append(start(arguments.model, engine, arguments.threads))
    print(
        f"{processor()}; {arguments.threads} thread(s); medians of {arguments.rounds} processes\n"
    )
    for engine, measured in starts.items():
        print(f"### {engine}\n\n| | from the start | private | file-backed |\n|---|---|---|---|")
        for step in measured[0]:
            print(f"| {step} | {' | '.join(medians([each[step] for each in measured]))} |")
        print()


def start(model: str, engine: str, threads: int) -> dict[str, tuple[float, ...]]:
    """Run the program once; return seconds, and MiB of memory, of each of its steps."""
    command = [sys.executable, "-c", CODE, model, engine, str(threads)]
    begun = time.perf_counter()
    steps: dict[str, tuple[float, ...]] = {}
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = json.loads(line)
            if "step" in found:
                seconds = time.perf_counter() - begun
                steps[found["step"]] = (seconds, found["RssAnon"], found["RssFile"])
            else:
                steps = {name: (spent,) for name, spent in found.items()} | steps
    if process.returncode:
        raise SystemExit(f"the program ended with exit code {process.returncode}")
    return steps


def medians(measured: list[tuple[float, ...]]) -> list[str]:
    """The medians of seconds and of MiB, as a table shows them."""
    seconds, *memory = (statistics.median(column) for column in zip(*measured, strict=True))
    return [f"{seconds:.3f} s", *(f"{each:.0f} MiB" for each in memory)] + [""] * (2 - len(memory))


if __name__ == "__main__":
    main()
