"""Embedding speed: gritlite against llama-cpp-python and the official package.

All contenders embed the same texts, in turns, in one process. Prints medians and their
ratios. Contenders that need torch run only if --checkpoint names a Hugging Face folder
of the same weights.

    python benchmarks/embed.py MODEL.gguf --texts xquad.en.json [--checkpoint DIR]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gritlite import GritLM
from gritlite.prompt import EMBED
from gritlite.system.threads import default_threads

Contender = Callable[[list[str]], object]


def main() -> None:
    """Parse the command line, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path, required=True, help="SQuAD JSON, or a text a line")
    parser.add_argument("--checkpoint", type=Path, help="folder for the official package")
    parser.add_argument("--llama-passes", default="512,2048", help="tokens a pass of Llama.embed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=default_threads())
    options = parser.parse_args()

    texts = read_texts(options.texts)
    gritlite = GritLM(options.model, threads=options.threads)
    tokens = sum(len(gritlite.tokenize(EMBED + text)) for text in texts)
    print(f"{len(texts)} texts, {tokens} tokens, {options.threads} threads", file=sys.stderr)
    contenders: dict[str, Contender] = {"gritlite": lambda batch: gritlite.encode(batch)}
    sizes = [int(size) for size in options.llama_passes.split(",")]
    contenders |= llama_contenders(options.model, options.threads, sizes)
    if options.checkpoint is not None:
        contenders |= official_contenders(options.checkpoint, options.threads)
    report(measure(contenders, texts, options.rounds), tokens)


def read_texts(path: Path) -> list[str]:
    """The paragraphs of a SQuAD file, or the lines of any other."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return content.splitlines()
    articles = json.loads(content)["data"]
    return [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]


def llama_contenders(model: Path, threads: int, sizes: Sequence[int]) -> dict[str, Contender]:
    """`llama_cpp.Llama.embed` with passes of these sizes, flash attention on."""
    from llama_cpp import LLAMA_POOLING_TYPE_MEAN, Llama

    def contender(size: int) -> Contender:
        llama = Llama(
            str(model),
            embedding=True,
            pooling_type=LLAMA_POOLING_TYPE_MEAN,
            n_ctx=size,
            n_batch=size,
            n_ubatch=size,
            n_threads=threads,
            n_threads_batch=threads,
            flash_attn=True,
            verbose=False,
        )
        return lambda texts: llama.embed([EMBED + text for text in texts], normalize=True)

    return {f"Llama.embed {size}": contender(size) for size in sizes}


def official_contenders(checkpoint: Path, threads: int) -> dict[str, Contender]:
    """`gritlm.GritLM.encode` in float32 and bfloat16 on the CPU, batches of 8 of like length."""
    import gritlm
    import torch

    torch.set_num_threads(threads)

    def contender(dtype: torch.dtype) -> Contender:
        model = gritlm.GritLM(str(checkpoint), device="cpu", torch_dtype=dtype)
        return lambda texts: model.encode(sorted(texts, key=len), instruction=EMBED, batch_size=8)

    return {f"gritlm {str(t)[6:]}": contender(t) for t in (torch.float32, torch.bfloat16)}


def measure(
    contenders: dict[str, Contender], texts: Sequence[str], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each round for each contender, after one warm-up on a few texts."""
    for run in contenders.values():
        run(list(texts[:4]))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run(list(texts))
            seconds[name].append(time.perf_counter() - start)
            print(f"round {number + 1}: {name} {seconds[name][-1]:.2f} s", file=sys.stderr)
    return seconds


def report(seconds: dict[str, list[float]], tokens: int) -> None:
    """Print a Markdown table: medians, tokens a second, ratio of medians to gritlite."""
    ours = statistics.median(seconds["gritlite"])
    print("| contender | seconds (median) | tokens/s | gritlite is faster by |")
    print("|---|---|---|---|")
    for name, runs in seconds.items():
        median = statistics.median(runs)
        print(f"| {name} | {median:.2f} | {tokens / median:.0f} | {median / ours:.2f} |")


if __name__ == "__main__":
    main()
