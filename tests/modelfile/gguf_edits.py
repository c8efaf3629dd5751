"""Random edits of a GGUF document: its metadata, vocabulary and tensors.

Most leave a file that parses, so that what is wrong lies deeper: in what keys mean together.
Names are those of llama.cpp's src/llama-arch.cpp and src/llama-vocab.cpp.
"""

import random
from typing import Any

import gguf

from tests.modelfile.gguf_document import ARRAY, STRING, Document, Entry

ARCHITECTURES = [
    "llama",
    "llama4",
    "deci",
    "falcon",
    "grok",
    "gpt2",
    "gptneox",
    "mpt",
    "baichuan",
    "starcoder",
    "refact",
    "bert",
    "modern-bert",
    "nomic-bert",
    "neo-bert",
    "jina-bert-v2",
    "bloom",
    "stablelm",
    "qwen",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen3moe",
    "qwen3next",
    "phi2",
    "phi3",
    "phimoe",
    "plamo",
    "plamo2",
    "codeshell",
    "orion",
    "internlm2",
    "minicpm",
    "minicpm3",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3n",
    "gemma-embedding",
    "starcoder2",
    "mamba",
    "mamba2",
    "jamba",
    "falcon-h1",
    "xverse",
    "command-r",
    "cohere2",
    "dbrx",
    "olmo",
    "olmo2",
    "olmoe",
    "openelm",
    "arctic",
    "deepseek",
    "deepseek2",
    "chatglm",
    "glm4",
    "bitnet",
    "t5",
    "t5encoder",
    "jais",
    "nemotron",
    "nemotron_h",
    "exaone",
    "exaone4",
    "rwkv6",
    "rwkv7",
    "arwkv7",
    "granite",
    "granitemoe",
    "granitehybrid",
    "chameleon",
    "plm",
    "bailingmoe",
    "dots1",
    "arcee",
    "ernie4_5",
    "hunyuan-dense",
    "smollm3",
    "gpt-oss",
    "lfm2",
    "dream",
    "smallthinker",
    "llada",
    "llada-moe",
    "seed_oss",
    "apertus",
    "cogvlm",
    "mistral3",
    "llama-embed",
    "clip",
    "nothing",
]
TOKENIZERS = [
    "llama",
    "gpt2",
    "bert",
    "rwkv",
    "t5",
    "plamo2",
    "none",
    "no_vocab",
    "gemma4",
    "whitespace",
    "hybriddna",
]
PRE_TOKENIZERS = [
    "default",
    "llama-bpe",
    "gpt-2",
    "qwen2",
    "smollm",
    "smaug-bpe",
    "tekken",
    "falcon",
    "mpt",
    "starcoder",
    "deepseek-llm",
    "kimi-k2",
    "chatglm-bpe",
    "gpt-4o",
    "superbpe",
    "bloom",
    "whitespace",
    "gemma4",
    "nothing",
]
KEYS = [
    "vocab_size",
    "context_length",
    "embedding_length",
    "embedding_length_out",
    "block_count",
    "leading_dense_block_count",
    "feed_forward_length",
    "expert_feed_forward_length",
    "use_parallel_residual",
    "tensor_data_layout",
    "expert_count",
    "expert_used_count",
    "expert_shared_count",
    "expert_group_count",
    "expert_group_used_count",
    "expert_weights_scale",
    "expert_weights_norm",
    "expert_gating_func",
    "moe_every_n_layers",
    "nextn_predict_layers",
    "pooling_type",
    "logit_scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "residual_scale",
    "embedding_scale",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.max_alibi_bias",
    "attention.clamp_kqv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.scale",
    "attention.key_length_mla",
    "attention.temperature_length",
    "attention.recurrent_layers",
    "rope.dimension_count",
    "rope.dimension_sections",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "classifier.output_labels",
    "classifier.pooling_type",
]
TOKENIZER_KEYS = [
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "seperator_token_id",
    "padding_token_id",
    "cls_token_id",
    "mask_token_id",
    "fim_pre_token_id",
    "prefix_token_id",
    "add_bos_token",
    "add_eos_token",
    "add_sep_token",
    "add_space_prefix",
    "remove_extra_whitespaces",
    "precompiled_charsmap",
    "suppress_tokens",
    "token_type_count",
]
NUMBERS = (
    *range(10), 13, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 257, 262, 263, 264, 511, 512, 513,
    2**15, 2**16, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -1,
)  # fmt: skip
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-5, 1e-30, 1e30, 1e300, -1e30, float("inf"), float("nan"), 10000.0)
TEXTS = ("", "a", "▁", "<s>", "Ġ", "<0x41>", "\0", "a\0b", "é", "x" * 5000, b"\xff\xfe", " ", "\n")
SCALARS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12)


def edit(rng: random.Random, document: Document) -> None:
    """Change one thing, in place."""
    edits = (_value, _value, _kind, _remove, _add, _add, _architecture, _tokenizer, _vocabulary)
    edits += (_vocabulary, _kinds, _merges, _tensor, _tensor, _weights)
    rng.choice(edits)(rng, document)


def _some_value(rng: random.Random, kind: int) -> Any:
    if kind == STRING:
        names = (*TEXTS, *PRE_TOKENIZERS, "linear", "yarn", "longrope", "none", "mean", "causal")
        return rng.choice(names)
    if kind in (6, 12):
        return rng.choice(FLOATS)
    return rng.randrange(2) if kind == 7 else rng.choice(NUMBERS)


def _value(rng: random.Random, document: Document) -> None:
    entry = rng.choice(document.entries)
    if entry.type != ARRAY:
        entry.value = _some_value(rng, entry.type)
    elif entry.value:
        values = list(entry.value)
        values[rng.randrange(len(values))] = _some_value(rng, entry.item)
        entry.value = values


def _kind(rng: random.Random, document: Document) -> None:
    entry = rng.choice(document.entries)
    kind = rng.choice((*SCALARS, ARRAY))
    if kind == ARRAY:
        entry.item = rng.choice(SCALARS)
        entry.value = [_some_value(rng, entry.item) for _ in range(rng.choice((0, 1, 2, 3, 263)))]
    elif entry.type == ARRAY or STRING in (kind, entry.type):
        entry.value = _some_value(rng, kind)
    entry.type = kind


def _remove(rng: random.Random, document: Document) -> None:
    document.entries.remove(rng.choice(document.entries))


def _add(rng: random.Random, document: Document) -> None:
    if rng.random() < 0.3:
        key = f"tokenizer.ggml.{rng.choice(TOKENIZER_KEYS)}"
    else:
        key = f"{_name(document)}.{rng.choice(KEYS)}"
    old = document.find(key)
    if old is not None:
        document.entries.remove(old)
    kind = rng.choice((4, 4, 4, 6, 7, STRING, ARRAY))
    if kind == ARRAY:
        item = rng.choice((0, 4, 5, 6, 7))
        values = [_some_value(rng, item) for _ in range(rng.choice((0, 1, 2, 3, 300)))]
        document.entries.append(Entry(key, ARRAY, values, item))
    else:
        document.entries.append(Entry(key, kind, _some_value(rng, kind)))


def _name(document: Document) -> str:
    entry = document.find("general.architecture")
    return entry.value if entry is not None and isinstance(entry.value, str) else "llama"


def _architecture(rng: random.Random, document: Document) -> None:
    """Give the model another architecture, whose keys it then has."""
    old, new = _name(document), rng.choice(ARCHITECTURES)
    for entry in document.entries:
        if entry.key.startswith(f"{old}."):
            entry.key = new + entry.key.removeprefix(old)
        elif entry.key == "general.architecture":
            entry.value = new


def _tokenizer(rng: random.Random, document: Document) -> None:
    for key, names in (("model", TOKENIZERS), ("pre", PRE_TOKENIZERS)):
        if rng.random() < 0.6:
            full = f"tokenizer.ggml.{key}"
            old = document.find(full)
            if old is not None:
                document.entries.remove(old)
            document.entries.append(Entry(full, STRING, rng.choice(names)))


def _vocabulary(rng: random.Random, document: Document) -> None:
    entry = document.find("tokenizer.ggml.tokens")
    if entry is None or entry.type != ARRAY or not entry.value:
        return
    tokens: list[Any] = list(entry.value)
    at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    match rng.randrange(6):
        case 0:
            tokens[at] = rng.choice(TEXTS)
        case 1:
            tokens[at] = tokens[other]
        case 2:
            del tokens[at : at + rng.choice((1, 10, 300))]
        case 3:
            tokens.insert(at, rng.choice(TEXTS))
        case 4:
            rng.shuffle(tokens)
        case _:
            tokens[at] = "".join(rng.choices("abĠ▁<>|0x\u4e00\U0001f642", k=rng.randrange(8)))
    entry.value = tokens


def _kinds(rng: random.Random, document: Document) -> None:
    name = rng.choice(("token_type", "scores"))
    entry = document.find(f"tokenizer.ggml.{name}")
    if entry is None or entry.type != ARRAY:
        return
    count = len(entry.value)
    values = rng.choice((1, 2, 3, 4, 5, 6, 0, 7, -1)) if name == "token_type" else None
    if values is not None and rng.random() < 0.5:
        entry.value = [values] * count
    elif values is not None:
        entry.value = [rng.randrange(7) for _ in range(count)]
    else:
        entry.value = [rng.choice(FLOATS) for _ in range(count)]


def _merges(rng: random.Random, document: Document) -> None:
    entry = document.find("tokenizer.ggml.merges")
    if entry is None:
        document.entries.append(Entry("tokenizer.ggml.merges", ARRAY, [], STRING))
        return
    words = (*TEXTS, "a b", " ", "  ", "a", "h e", "he ll", "x" * 3000 + " y", "Ġ Ġ")
    entry.type, entry.item = ARRAY, STRING
    entry.value = [rng.choice(words) for _ in range(rng.choice((0, 1, 5, 300)))]


def _tensor(rng: random.Random, document: Document) -> None:
    if not document.tensors:
        return
    tensor, other = rng.choice(document.tensors), rng.choice(document.tensors)
    match rng.randrange(9):
        case 0:
            document.tensors.remove(tensor)
        case 1:
            tensor.name = rng.choice((other.name, b"", b"x" * 64, b"blk.0.attn_q.bias", b"\xff"))
        case 2:
            tensor.lengths = rng.choice((tensor.lengths[::-1], [*tensor.lengths, 1], []))
        case 3 if tensor.lengths:
            tensor.lengths[rng.randrange(len(tensor.lengths))] = rng.choice(NUMBERS)
        case 4:
            tensor.type = rng.choice((*range(42), 2**31))
        case 5:
            _retype(rng, tensor)
        case 6:
            tensor.offset = rng.choice((0, 1, 32, 2**40, 2**63))
        case 7:
            tensor.data = tensor.data[: rng.randrange(len(tensor.data) + 1)]
        case _:
            tensor.lengths, other.lengths = other.lengths, tensor.lengths
            tensor.data, other.data = other.data, tensor.data


def _retype(rng: random.Random, tensor: Any) -> None:
    """Store random bytes as another type, of the right size."""
    kind, (block, size) = rng.choice(list(gguf.GGML_QUANT_SIZES.items()))
    count = 1
    for length in tensor.lengths:
        count *= length
    if not tensor.lengths or tensor.lengths[0] % block or count > 1 << 20:
        return
    tensor.type, tensor.data = int(kind), rng.randbytes(count // block * size)


def _weights(rng: random.Random, document: Document) -> None:
    """Make weights NaN, infinite, zero or random bytes."""
    if document.tensors:
        tensor = rng.choice(document.tensors)
        words = (
            b"\0\0\xc0\x7f",
            b"\0\0\x80\x7f",
            b"\0\0\0\0",
            rng.randbytes(4),
            b"\xff\xff\x7f\x7f",
        )
        tensor.data = (rng.choice(words) * (len(tensor.data) // 4 + 1))[: len(tensor.data)]
