"""Memory estimates, compared with the buffers that llama.cpp reserves."""

import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from gritlite.modelfile.header import GGUFFile, read_header
from gritlite.modelfile.memory import embed_memory, generate_memory

REPORTER = Path(__file__).with_name("report_buffers.py")
LAYERS = 2
MIB = 1 << 20

# vocabulary, width, heads, KV heads, feed-forward length, experts: a quarter or an
# eighth of known models, but for the first
SHAPES = {
    "smollm2-135m": (49_152, 576, 9, 3, 1536, 0),
    "mistral-7b": (8_000, 1024, 16, 4, 3584, 0),
    "llama-2-7b": (8_000, 1024, 8, 8, 2752, 0),
    "mixtral-8x7b": (4_000, 512, 8, 2, 1792, 8),
    "qwen2-0.5b": (38_000, 224, 7, 1, 1216, 0),
}


def write_hollow(path: Path, shape: tuple[int, ...]) -> GGUFFile:
    """Write a model of two layers whose weights are a hole in the file: nothing reads them."""
    vocabulary, width, heads, kv_heads, inner, experts = shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(32_768)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"t{i}" for i in range(vocabulary)])
    writer.add_token_merges(["a b"])
    total = 0
    for name, lengths in hollow_tensors(shape):
        kind = np.dtype(np.float32 if len(lengths) == 1 else np.float16)
        size = int(np.prod(lengths)) * kind.itemsize
        writer.add_tensor_info(name, lengths, kind, size)
        total += -(-size // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, -(-path.stat().st_size // 32) * 32 + total)
    return read_header(path)


def hollow_tensors(shape: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    vocabulary, width, heads, kv_heads, inner, experts = shape
    kv_width = width // heads * kv_heads
    shapes = [("token_embd", (vocabulary, width)), ("output_norm", (width,))]
    shapes.append(("output", (vocabulary, width)))
    mixture = (experts,) if experts else ()
    suffix = "_exps" if experts else ""
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        shapes += [
            (block + "attn_norm", (width,)),
            (block + "attn_q", (width, width)),
            (block + "attn_k", (kv_width, width)),
            (block + "attn_v", (kv_width, width)),
            (block + "attn_output", (width, width)),
            (block + "ffn_norm", (width,)),
            (block + f"ffn_gate{suffix}", (*mixture, inner, width)),
            (block + f"ffn_down{suffix}", (*mixture, width, inner)),
            (block + f"ffn_up{suffix}", (*mixture, inner, width)),
        ]
        shapes += [(block + "ffn_gate_inp", (experts, width))] if experts else []
    return [(f"{name}.weight", lengths) for name, lengths in shapes]


def reserved(file: GGUFFile, cells: int, tokens: int, outputs: int) -> tuple[float, float]:
    """Return the bytes of the KV cache and of the compute buffer."""
    arguments = [str(file.path), str(cells), str(tokens), str(outputs)]
    report = subprocess.run(
        [sys.executable, str(REPORTER), *arguments], capture_output=True, text=True, check=True
    )
    kv_cache, compute = map(float, report.stdout.split())
    return kv_cache * MIB, compute * MIB


@pytest.mark.parametrize("name", SHAPES)
def test_estimates_are_what_llama_cpp_reserves(tmp_path, name):
    file = write_hollow(tmp_path / "m.gguf", SHAPES[name])
    assert embed_memory(file).weights == sum(t.size for t in file.tensors)

    need = generate_memory(file, 8192)
    kv_cache, compute = reserved(file, 8192, 512, 1)
    assert need.kv_cache == pytest.approx(kv_cache, rel=0.001)
    assert need.compute == pytest.approx(compute, rel=0.01)

    need = embed_memory(file, 2048)
    assert need.outputs == 2048 * SHAPES[name][0] * 4
    kv_cache, compute = reserved(file, 2048, 2048, 2048)
    assert need.kv_cache == pytest.approx(kv_cache, rel=0.001)
    assert need.compute == pytest.approx(compute, rel=0.05)


def test_contexts_are_rounded_up_as_llama_cpp_rounds_them(tmp_path):
    file = write_hollow(tmp_path / "m.gguf", SHAPES["smollm2-135m"])
    kv_cache, _ = reserved(file, 1000, 512, 1)
    assert generate_memory(file, 1000).kv_cache == pytest.approx(kv_cache, rel=0.01)
    need = generate_memory(file, 1000)
    assert need.total == need.weights + need.kv_cache + need.compute + need.outputs
