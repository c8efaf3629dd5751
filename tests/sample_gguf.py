"""Tiny random-weight GGUF models for tests, written by gguf's own writer."""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

LAYERS = 2
WIDTH = 32
HEADS = 4
KV_HEADS = 2
CONTEXT = 128

SPM = "llama"
BPE = "gpt2"


def byte_letters() -> list[str]:
    """The 256 letters that GPT-2's byte-level BPE writes bytes with."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    letters |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def write_model(
    path: Path,
    tokenizer: str = BPE,
    *,
    arch: str = "llama",
    bias: bool = False,
    experts: int = 0,
    width: int = WIDTH,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    trained: bool = False,
) -> Path:
    """A two-layer model with a vocabulary of 262 (SPM) or 263 (BPE) tokens.

    Matrices are of `kind`: random for F32, and zero bytes for any other. `trained` says in the
    metadata that it was trained to embed.
    """
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("tiny")
    if trained:
        writer.add_bool("grit.embed.trained", True)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    tokens = _add_spm(writer) if tokenizer == SPM else _add_bpe(writer)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")
    rng = np.random.default_rng(0)
    for name, shape in tensor_shapes(tokens, width, bias=bias, experts=experts):
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32))
        elif kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, rng.normal(0, 0.1, shape).astype(np.float32))
        else:
            block, size = gguf.GGML_QUANT_SIZES[kind]
            raw = np.zeros((*shape[:-1], shape[-1] // block * size), np.uint8)
            writer.add_tensor(name, raw, raw_shape=raw.shape, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensor_shapes(
    tokens: int, width: int, *, bias: bool, experts: int
) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors, as (rows, row length)."""
    kv_width = width // HEADS * KV_HEADS
    mixture, suffix = ((experts,), "_exps") if experts else ((), "")
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (tokens, width)),
        ("output_norm.weight", (width,)),
    ]
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        rows = {"attn_q": width, "attn_k": kv_width, "attn_v": kv_width}
        shapes += [(f"{block}.{name}.weight", (n, width)) for name, n in rows.items()]
        shapes += [(f"{block}.{name}.bias", (n,)) for name, n in rows.items() if bias]
        shapes += [(f"{block}.ffn_gate_inp.weight", (experts, width))] if experts else []
        shapes += [
            (f"{block}.attn_norm.weight", (width,)),
            (f"{block}.attn_output.weight", (width, width)),
            (f"{block}.ffn_norm.weight", (width,)),
            (f"{block}.ffn_gate{suffix}.weight", (*mixture, 2 * width, width)),
            (f"{block}.ffn_down{suffix}.weight", (*mixture, width, 2 * width)),
            (f"{block}.ffn_up{suffix}.weight", (*mixture, 2 * width, width)),
        ]
    return shapes


def _add_spm(writer: gguf.GGUFWriter) -> int:
    control, unknown = gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN
    tokens = ["<unk>", "<s>", "</s>"]
    kinds = [unknown, control, control]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    kinds += [gguf.TokenType.BYTE] * 256
    tokens += ["▁", "a", "▁a"]
    kinds += [gguf.TokenType.NORMAL] * 3
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-1.0, -2.0, -3.0])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    return len(tokens)


def _add_bpe(writer: gguf.GGUFWriter) -> int:
    tokens = ["<|pad|>", "<s>", "</s>", *byte_letters(), "he", "ll", "hell", "Ġa"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * 260)
    writer.add_token_merges(["h e", "l l", "he ll", "Ġ a"])
    return len(tokens)


def rewrite(
    source: Path,
    output: Path,
    add: Callable[[gguf.GGUFWriter], None],
    without: tuple[str, ...] = (),
) -> Path:
    """A copy by gguf's own reader and writer, less the keys that begin like `without`."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(output, "llama")
    for name, field in reader.fields.items():
        if not name.startswith(("GGUF.", "general.architecture", *without)):
            kind = field.types[0]
            sub_kind = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, sub_kind)
    add(writer)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return output
