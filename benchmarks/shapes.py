"""GGUF files with random weights in the shapes of a large model, to measure speed with.

A few layers of Mistral-7B's shapes take a gigabyte where the model takes fifteen, and a pass
through them costs its share of the model's. The vocabulary is the beginning of another file's,
so that the output matrix, which llama.cpp evaluates for every token, stays small.

    python benchmarks/shapes.py FOLDER [--layers 2] [--types q8_0,q4_k_m,q4_0] [--like default]

writes FOLDER/shapes.q8_0.gguf and so on.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from gritlite.convert import convert
from gritlite.modelfile.header import GGUFFile, read_header
from gritlite.system.locate import locate

WIDTH, FEED_FORWARD, HEADS, KV_HEADS, HEAD_WIDTH = 4096, 14_336, 32, 8, 128  # Mistral-7B
CONTEXT = 4096
MERGES = 2_000
_LETTERS = 256  # of byte-level BPE
Halves = NDArray[np.float16]


def main() -> None:
    """Write the files that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--types", default="q8_0,q4_k_m,q4_0")
    parser.add_argument("--like", default="default", help="the file whose vocabulary to take")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    files = {type: options.folder / f"shapes.{type}.gguf" for type in options.types.split(",")}
    missing = {type: file for type, file in files.items() if not file.exists()}
    if missing:
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
            floats = Path(scratch) / "f16.gguf"
            write_floats(floats, options.layers, read_header(locate(options.like)))
            for type, file in missing.items():
                convert(floats, file, type)
    print(*files.values(), sep="\n")


def write_floats(path: Path, layers: int, like: GGUFFile) -> None:
    """Write the file in f16."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random weights")
    writer.add_block_count(layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    tokens = add_vocabulary(writer, like)
    random = np.random.default_rng(0)
    numbers = random.standard_normal(FEED_FORWARD * WIDTH + 7919, np.float32)
    for number, (name, (rows, columns)) in enumerate(matrices(layers, tokens)):
        # the same numbers from another place on: drawing them takes longer than reading them
        first = number * 61 % 7919
        taken = numbers[first : first + rows * columns].reshape(rows, columns)
        writer.add_tensor(name, scaled(taken, name))
    for name in norms(layers):
        writer.add_tensor(name, np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def scaled(numbers: NDArray[np.float32], name: str) -> Halves:
    """A matrix whose products are about as large as their input."""
    scale = 1.0 if name == "token_embd.weight" else numbers.shape[1] ** -0.5
    return (numbers * np.float32(scale)).astype(np.float16)


def matrices(layers: int, tokens: int) -> list[tuple[str, tuple[int, int]]]:
    """Names and shapes, rows first."""
    queries, keys = HEADS * HEAD_WIDTH, KV_HEADS * HEAD_WIDTH
    shapes = {
        "attn_q": (queries, WIDTH),
        "attn_k": (keys, WIDTH),
        "attn_v": (keys, WIDTH),
        "attn_output": (WIDTH, queries),
        "ffn_gate": (FEED_FORWARD, WIDTH),
        "ffn_up": (FEED_FORWARD, WIDTH),
        "ffn_down": (WIDTH, FEED_FORWARD),
    }
    found = [("token_embd.weight", (tokens, WIDTH))]
    for layer in range(layers):
        found += [(f"blk.{layer}.{name}.weight", shape) for name, shape in shapes.items()]
    return found


def norms(layers: int) -> list[str]:
    """The names of the norms' weights."""
    parts = [
        f"blk.{layer}.{name}.weight"
        for layer in range(layers)
        for name in ("attn_norm", "ffn_norm")
    ]
    return [*parts, "output_norm.weight"]


def add_vocabulary(writer: gguf.GGUFWriter, like: GGUFFile) -> int:
    """Add the control tokens, the letters and the first merges of a BPE vocabulary."""
    tokens: Any = like.metadata["tokenizer.ggml.tokens"]
    kinds: Any = like.metadata["tokenizer.ggml.token_type"]
    merges: Any = like.metadata["tokenizer.ggml.merges"]
    merges = merges[:MERGES]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == 3]
    letters = tokens[len(control) : len(control) + _LETTERS]
    joined = list(dict.fromkeys(merge.replace(" ", "") for merge in merges))
    words = [token for token in joined if token not in letters]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(like.metadata["tokenizer.ggml.pre"])
    writer.add_token_list([*control, *letters, *words])
    normal = [gguf.TokenType.NORMAL] * (len(letters) + len(words))
    writer.add_token_types([*[gguf.TokenType.CONTROL] * len(control), *normal])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    return len(control) + len(letters) + len(words)


if __name__ == "__main__":
    main()
