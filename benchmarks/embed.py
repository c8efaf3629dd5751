"""Embedding speed: gritlite's engines against llama-cpp-python and the official package.

All contenders embed the same texts, in turns, in one process. Prints medians, their ratios,
and how close the vectors are to those of --reference. Contenders that need torch run only if
--checkpoint names a Hugging Face folder of the same weights.

    python benchmarks/embed.py MODEL.gguf --texts xquad.en.json [--limit 30]
        [--engine llama --engine onnx --engine openvino] [--precision exact --precision fast]
        [--llama OTHER_TYPE.gguf] [--reference F32.gguf] [--checkpoint DIR] [--tokens N]
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite import GritLM
from gritlite.prompt import EMBED
from gritlite.system.locate import locate
from gritlite.system.threads import default_threads

Vectors = NDArray[np.float32]
Contender = Callable[[list[str]], Vectors]


def main() -> None:
    """Parse the command line, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--texts", type=Path, required=True, help="SQuAD JSON, or a text a line")
    parser.add_argument("--limit", type=int, help="so many of the texts, from all over the file")
    parser.add_argument("--tokens", type=int, help="cut the texts anew, into so many tokens each")
    parser.add_argument("--engine", action="append", choices=["llama", "onnx", "openvino"])
    parser.add_argument("--precision", action="append", choices=["exact", "fast"])
    parser.add_argument("--llama", type=Path, action="append", default=[], help="other types")
    parser.add_argument("--reference", type=Path, help="the same weights in f32")
    parser.add_argument("--checkpoint", type=Path, help="folder for the official package")
    parser.add_argument("--llama-passes", default="512", help="tokens a pass of Llama.embed")
    parser.add_argument("--pass-tokens", type=int, help="tokens a pass of gritlite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=default_threads())
    options = parser.parse_args()
    path, threads = locate(options.model), options.threads

    with GritLM(options.reference or path, engine="llama", threads=threads) as model:
        texts = read_texts(options.texts)
        if options.tokens:
            texts = list(cut(model, " ".join(texts), options.tokens))
        texts = spread(texts, options.limit or len(texts))
        tokens = sum(len(model.tokenize(EMBED + text)) for text in texts)
        expected = model.encode(texts) if options.reference else None
    print(f"{path.name}, {len(texts)} texts, {tokens} tokens, {threads} threads, {processor()}\n")
    sizes = [int(size) for size in options.llama_passes.split(",")]
    contenders: dict[str, Contender] = {}
    for file in (path, *options.llama):
        contenders |= llama_contenders(file, threads, sizes)
    contenders |= gritlite_contenders(
        path,
        threads,
        options.engine or ["llama"],
        options.precision or ["exact"],
        options.pass_tokens,
    )
    if options.checkpoint is not None:
        contenders |= official_contenders(options.checkpoint, threads)
    report(*measure(contenders, texts, options.rounds), tokens, expected)


def processor() -> str:
    """The processor's name and what it multiplies small numbers with."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    said = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in said.items()}
    wanted = ("avx2", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    flags = set(fields.get("flags", "").split())
    return f"{fields.get('model name', '')} ({', '.join(f for f in wanted if f in flags)})"


def read_texts(path: Path) -> list[str]:
    """The paragraphs of a SQuAD file, or the lines of any other."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return content.splitlines()
    articles = json.loads(content)["data"]
    return [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]


def spread(texts: Sequence[str], count: int) -> list[str]:
    """`count` of the texts, at equal distances."""
    return [texts[i * len(texts) // count] for i in range(min(count, len(texts)))]


def cut(model: GritLM, text: str, tokens: int) -> Iterator[str]:
    """Pieces of whole words with about so many tokens each; the rest is left out."""
    piece, length = "", 0
    for word in text.split():
        piece, length = f"{piece} {word}", length + len(model.tokenize(f" {word}"))
        if length >= tokens:
            yield piece.strip()
            piece, length = "", 0


def gritlite_contenders(
    model: Path,
    threads: int,
    engines: Sequence[str],
    precisions: Sequence[str],
    pass_tokens: int | None,
) -> dict[str, Contender]:
    """`GritLM.encode` with each engine, in each precision where it has several."""

    def contender(**options: Any) -> Contender:
        if pass_tokens is not None:
            options["pass_tokens"] = pass_tokens
        loaded = GritLM(model, threads=threads, **options)
        return lambda texts: loaded.encode(texts)

    found: dict[str, Contender] = {}
    for engine in engines:
        if engine == "llama":
            found["gritlite, llama"] = contender(engine="llama")
            continue
        for precision in precisions:
            if (engine, precision) != ("openvino", "fast"):  # there is none
                found[f"gritlite, {engine} {precision}"] = contender(
                    engine=engine, precision=precision
                )
    return found


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
        return lambda texts: np.array(
            llama.embed([EMBED + text for text in texts], normalize=True), np.float32
        )

    kind = model.suffixes[-2][1:] if len(model.suffixes) > 1 else model.stem
    return {f"Llama.embed, {kind}, passes of {size}": contender(size) for size in sizes}


def official_contenders(checkpoint: Path, threads: int) -> dict[str, Contender]:
    """`gritlm.GritLM.encode` in float32 and bfloat16 on the CPU, batches of 8 of like length."""
    import gritlm
    import torch

    torch.set_num_threads(threads)

    def contender(dtype: torch.dtype) -> Contender:
        model = gritlm.GritLM(str(checkpoint), device="cpu", torch_dtype=dtype)

        def encode(texts: list[str]) -> Vectors:
            order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
            vectors = np.empty((len(texts), model.model.config.hidden_size), np.float32)
            ordered = [texts[i] for i in order]
            vectors[order] = model.encode(ordered, instruction=EMBED, batch_size=8)
            return vectors

        return encode

    return {f"gritlm {str(t)[6:]}": contender(t) for t in (torch.float32, torch.bfloat16)}


def measure(
    contenders: dict[str, Contender], texts: Sequence[str], rounds: int
) -> tuple[dict[str, list[float]], dict[str, Vectors]]:
    """Each contender's seconds in each round, after a warm-up on a few texts, and its vectors.

    Each runs in a thread of its own. In one that others used, llama.cpp would compute with
    the AMX tiles that torch or ONNX Runtime left behind: it crashes, or is silently wrong.
    """
    threads = {name: ThreadPoolExecutor(1) for name in contenders}
    for name, run in contenders.items():
        threads[name].submit(run, list(texts[:4])).result()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    vectors: dict[str, Vectors] = {}
    for number in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            vectors[name] = threads[name].submit(run, list(texts)).result()
            seconds[name].append(time.perf_counter() - start)
            print(f"round {number + 1}: {name} {seconds[name][-1]:.2f} s", file=sys.stderr)
    return seconds, vectors


def report(
    seconds: dict[str, list[float]],
    vectors: dict[str, Vectors],
    tokens: int,
    expected: Vectors | None,
) -> None:
    """Print a Markdown table: medians, tokens a second, ratio of medians to the first, cosines."""
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    first = next(iter(medians.values()))
    print("| contender | seconds (median) | tokens/s | to the first | cosine, mean | least |")
    print("|---|---|---|---|---|---|")
    for name, median in medians.items():
        line = f"| {name} | {median:.2f} | {tokens / median:.0f} | {first / median:.2f} |"
        # llama.cpp's own pooling counts the prompt's tokens too
        if expected is None or name.startswith("Llama.embed"):
            print(line + " | |")
        else:
            cosines = (vectors[name] * expected).sum(axis=1)
            print(f"{line} {cosines.mean():.5f} | {cosines.min():.5f} |")


if __name__ == "__main__":
    main()
