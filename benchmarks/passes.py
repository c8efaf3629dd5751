"""Embedding speed by the size of a packed pass; sizes take turns in one process.

python benchmarks/passes.py MODEL.gguf --texts FILE [--sizes 128,256,512,1024,2048]
"""

import argparse
import statistics
import time
from pathlib import Path

from embed import read_texts

from gritlite import GritLM


def main() -> None:
    """Time every size in every round, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--sizes", default="128,256,512,1024,2048")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    texts = read_texts(options.texts)
    sizes = [int(size) for size in options.sizes.split(",")]
    models = {size: GritLM(options.model, pass_tokens=size) for size in sizes}
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for round_number in range(options.rounds + 1):
        for size, model in models.items():
            start = time.perf_counter()
            model.encode(texts)
            if round_number:  # the first round warms up
                seconds[size].append(time.perf_counter() - start)
    tokens = sum(len(models[sizes[0]].tokenize(text)) for text in texts)
    print("| tokens a pass | tokens/s (median) |\n|---|---|")
    for size in sizes:
        print(f"| {size} | {tokens / statistics.median(seconds[size]):.0f} |")


if __name__ == "__main__":
    main()
