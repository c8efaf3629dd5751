"""Stored key-value states: time to first token, indexing time, memory.

    python benchmarks/rag.py MODEL --ttft 1000 --ttft 4000 --texts FILE
    python benchmarks/rag.py MODEL --indexing 200 --texts FILE
    python benchmarks/rag.py MODEL --memory 1000 --memory 20000

FILE is any long text. The first compares answers about a document of that many tokens after a
full prefill with answers from its stored state, read from disk. The second indexes that many
chunks with and without storing their states, in turns. The third indexes that many short chunks,
each number in its own process, and prints the peak resident memory; a small MODEL is enough,
because the model's share does not grow.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from gritlite import GritLM
from gritlite.errors import GritLiteError
from gritlite.eval import latency
from gritlite.eval.layouts import Variant, indexed
from gritlite.rag.settings import StateTypeOrNone
from gritlite.rag.state_quantization import StateType
from gritlite.rag.store import Store

ROUNDS = 5
CHUNK_TOKENS = 256
LAYOUTS = (Variant("document-then-query"), Variant("exact", "q8_0"), Variant("doc", "q8_0"))
KEPT: tuple[StateTypeOrNone, ...] = ("none", *get_args(StateType))
MEMORY = """
import resource, sys
from gritlite import GritLM
from gritlite.rag.store import Store
model, path, folder = sys.argv[1:]
with GritLM(model, threads=2) as loaded, Store.open(path, loaded, states="q8_0") as store:
    store.add(folder)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20)
"""


def main() -> None:
    """Parse the command line and measure what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path, help="a long text")
    parser.add_argument("--ttft", type=int, action="append", default=[], help="tokens")
    parser.add_argument("--indexing", type=int, action="append", default=[], help="chunks")
    parser.add_argument("--memory", type=int, action="append", default=[], help="chunks")
    options = parser.parse_args()
    if (options.ttft or options.indexing) and not options.texts:
        parser.error("--ttft and --indexing need --texts")
    words = options.texts.read_text("utf-8").split() if options.texts else []
    try:
        for tokens in options.ttft:
            measure_ttft(options.model, words, tokens)
        for chunks in options.indexing:
            measure_indexing(options.model, words, chunks)
        for chunks in options.memory:
            measure_memory(options.model, chunks)
    except GritLiteError as error:
        sys.exit(f"error: {error}")


def measure_ttft(path: Path, words: Sequence[str], tokens: int) -> None:
    """Print the seconds to the first token of each layout, and what a stored state must take."""
    with GritLM(path, context_length=tokens + latency.ROOM) as model:
        sample = latency.samples(model, words, tokens)["document"]
        found = latency.measure(model, sample, LAYOUTS, lambda *_: None)
        question = prefill(model, sample)
        size, reading = disk(model, sample.document)
    full = found[LAYOUTS[0]].ttft
    for variant, each in found.items():
        ratio = f"{full / each.ttft:6.1f} times as fast"
        print(f"{tokens:,} tokens, {variant.layout:20} {each.ttft * 1e3:8.0f} ms {ratio}")
    limit = reading + question
    parts = f"{size / 1e6:.1f} MB from the disk {reading * 1e3:.0f}, question {question * 1e3:.0f}"
    print(f"{tokens:,} tokens, limit {limit * 1e3:.0f} ms ({parts}): {full / limit:.1f} times")


def prefill(model: GritLM, sample: latency.Sample) -> float:
    """Seconds to the first token of an answer when the document is in the context already."""
    state = model.prefix_state(sample.document)
    seconds = []
    for question in ["Hello!", *[sample.query, "Which boat leaves first?"] * ROUNDS]:
        start = time.perf_counter()
        asked = [{"role": "user", "content": question}]
        model.chat(asked, document=state, max_tokens=1, temperature=0)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def disk(model: GritLM, document: str) -> tuple[int, float]:
    """The bytes of a document's state, and the seconds that reading them from the disk takes."""
    chosen = [Variant("doc", "q8_0")]
    with indexed(model, [document], chosen, lambda *_: None) as stores:
        folder = stores["q8_0"].path.parent
        (state,) = folder.rglob("*.kv")
        seconds = []
        for _ in range(ROUNDS):
            latency.forget_files(folder)
            start = time.perf_counter()
            state.read_bytes()
            seconds.append(time.perf_counter() - start)
        return state.stat().st_size, statistics.median(seconds)


def measure_indexing(path: Path, words: Sequence[str], chunks: int) -> None:
    """Print the seconds of indexing with and without keeping states, and the ratios of medians."""
    seconds: dict[StateTypeOrNone, list[float]] = {state_type: [] for state_type in KEPT}
    with GritLM(path) as model, tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes.txt")
        notes.write_text(latency.of_length(model, words, chunks * CHUNK_TOKENS), "utf-8")
        for number, state_type in itertools.product(range(ROUNDS), KEPT):
            store_path = Path(folder, f"{number}.{state_type}.grit")
            with Store.open(store_path, model, states=state_type) as store:
                store.scan(notes)
                start = time.perf_counter()
                store.embed()
                seconds[state_type].append(time.perf_counter() - start)
    plain = statistics.median(seconds["none"])
    for state_type, times in seconds.items():
        spent = statistics.median(times)
        print(f"{chunks:,} chunks, states {state_type:5} {spent:7.2f} s, {spent / plain - 1:+.1%}")


def measure_memory(path: Path, chunks: int) -> None:
    """Print the most resident memory of a process that indexes so many chunks."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        notes.mkdir()
        for first in range(0, chunks, 100):
            numbers = range(first, min(first + 100, chunks))
            parts = [f"# Part {number}\n\nThe ferry leaves.\n" for number in numbers]
            (notes / f"{first}.md").write_text("\n".join(parts), "utf-8")
        arguments = [sys.executable, "-c", MEMORY, str(path), f"{folder}/a.grit", str(notes)]
        said = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    print(f"{chunks:,} chunks: {int(said):,} MiB resident at most")


if __name__ == "__main__":
    main()
