"""How long llama.cpp's threads spin before they sleep: what it costs when quiet, and when busy.

Each setting loads the model in a process of its own, in turns. Prints medians in milliseconds:
a token of an answer, and 512 tokens that are embedded.

    python benchmarks/waiting.py MODEL [--busy 4] [--rounds 4] [--tokens 32]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from embed import processor

SETTINGS = {
    "OpenMP's own": {"GOMP_SPINCOUNT": "300000"},
    **{f"{count} spins": {"GOMP_SPINCOUNT": count} for count in ("3000", "1000", "300", "100")},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}
MEASURE = """
import json, sys, time
from gritlite import GritLM
path, tokens, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = GritLM(path, threads=threads, engine="llama")
text = "The ferry leaves at seven, and nobody waits for it. " * 38
answer = model.generate(text[:600], max_tokens=tokens + 1, temperature=0, stream=True)
next(answer)
start = time.perf_counter()
count = sum(1 for _ in answer)
decoded = (time.perf_counter() - start) / count
start = time.perf_counter()
model.encode([text])
print(json.dumps([1000 * decoded, 1000 * (time.perf_counter() - start)]))
"""


def main() -> None:
    """Parse the command line, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--busy", type=int, default=0, help="other processes that never pause")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
    command = [options.model, str(options.tokens), str(options.threads)]
    with busy(options.busy):
        for _ in range(options.rounds):
            for name, setting in SETTINGS.items():
                found[name].append(measured(command, setting))
    print(f"{processor()}, {options.threads} threads, {options.busy} busy processes\n")
    print("| threads that wait | ms a token | ms for 512 embedded |\n|---|---|---|")
    for name, rounds in found.items():
        token, embedded = map(statistics.median, zip(*rounds, strict=True))
        print(f"| {name} | {token:.1f} | {embedded:.0f} |")


def measured(arguments: list[str], setting: dict[str, str]) -> list[float]:
    """Milliseconds a token, and for an embedding, in a process with `setting`."""
    environment = {**os.environ, **setting}
    command = [sys.executable, "-c", MEASURE, *arguments]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return [float(each) for each in json.loads(done.stdout)]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep the processor busy with so many processes."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
