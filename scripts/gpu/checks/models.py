"""Models with random weights, made where they are needed: nothing of them has to travel.

Tiny ones of each architecture, whose heads are as wide as GPU kernels want them,
and files in the shape of real models, which are as fast as these.
"""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.convert import convert
from gritlite.quant import ggml
from gritlite.quant.types import block_bytes, block_size
from tests.sample_gguf import byte_letters
from tests.tiny import make_checkpoint


@dataclass(frozen=True)
class Shape:
    """A Llama's dimensions, and the type its matrices are stored in."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    type: GGMLQuantizationType


SHAPES = {
    # SmolLM2-135M, of which the default model is made
    "135M": Shape(30, 576, 1536, 9, 3, 49_152, True, GGMLQuantizationType.Q8_0),
    # Mistral-7B
    "7B": Shape(32, 4096, 14_336, 32, 8, 32_000, False, GGMLQuantizationType.Q4_0),
    "small": Shape(2, 256, 512, 4, 2, 512, True, GGMLQuantizationType.Q8_0),
}
CONTEXT = 8192


def tiny_file(folder: Path, case: str, kind: str) -> Path:
    """A file of one of tests.tiny.CASES in type `kind`."""
    checkpoint, path = folder / case, folder / f"{case}.{kind}.gguf"
    if not checkpoint.exists():
        unfinished = folder / f"{case}.part"
        make_checkpoint(unfinished, case, hidden=256, feed_forward=512, layers=4)
        unfinished.rename(checkpoint)
    if not path.exists():
        convert(checkpoint, path, kind)
    return path


def shaped_file(folder: Path, name: str) -> Path:
    """A file in one of SHAPES; all of its layers have the same weights."""
    path, shape = folder / f"{name}.gguf", SHAPES[name]
    if path.exists():
        return path
    pool = np.random.default_rng(0).random(_largest(shape), np.float32) - np.float32(0.5)
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, "llama")
    _add_metadata(writer, name, shape)
    _add_matrix(writer, ["token_embd"], pool, shape, shape.vocabulary, shape.width)
    if not shape.tied:
        _add_matrix(writer, ["output"], pool, shape, shape.vocabulary, shape.width)
    keys = shape.width // shape.heads * shape.kv_heads
    for part, rows, columns in (
        ("attn_q", shape.width, shape.width),
        ("attn_k", keys, shape.width),
        ("attn_v", keys, shape.width),
        ("attn_output", shape.width, shape.width),
        ("ffn_gate", shape.feed_forward, shape.width),
        ("ffn_up", shape.feed_forward, shape.width),
        ("ffn_down", shape.width, shape.feed_forward),
    ):
        names = [f"blk.{layer}.{part}" for layer in range(shape.layers)]
        _add_matrix(writer, names, pool, shape, rows, columns)
    for layer in range(shape.layers):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(shape.width, np.float32))
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", np.ones(shape.width, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(shape.width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unfinished.rename(path)


def _largest(shape: Shape) -> int:
    return shape.width * max(shape.vocabulary, shape.feed_forward, shape.width)


def _add_matrix(
    writer: gguf.GGUFWriter,
    names: list[str],
    pool: NDArray[np.float32],
    shape: Shape,
    rows: int,
    columns: int,
) -> None:
    """The same matrix under several names, scaled so that activations keep their size."""
    values = pool[: rows * columns].reshape(rows, columns)
    values = values * np.float32(np.sqrt(12 / columns))  # uniform over 1 has a variance of 1/12
    size = columns // block_size(shape.type) * block_bytes(shape.type)
    stored = np.empty((rows, size), np.uint8)
    ggml.prepare(shape.type)
    ggml.quantize_chunk(shape.type, values, stored, None)
    for name in names:
        writer.add_tensor(f"{name}.weight", stored, raw_shape=stored.shape, raw_dtype=shape.type)


def _add_metadata(writer: gguf.GGUFWriter, name: str, shape: Shape) -> None:
    writer.add_name(name)
    writer.add_block_count(shape.layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    tokens = ["<|pad|>", "<s>", "</s>", *byte_letters(), "he"]
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3)
    unused = shape.vocabulary - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens, *(f"[unused{number}]" for number in range(unused))])
    writer.add_token_types([*kinds, *[gguf.TokenType.UNUSED] * unused])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")


def letters(count: int, seed: int = 0) -> str:
    """A text of `count` tokens for `shaped_file`, one for each letter."""
    random = np.random.default_rng(seed)
    return "".join(random.choice(list("abcdfgijklmnop"), count))
