"""Check that the parts of a GGUF model are consistent, so that llama.cpp does not abort on it.

llama.cpp checks a lot with GGML_ASSERT, which ends the process. Each rule here
prevents such an assertion, or replaces a less clear message. The expected tensors
are those of llama.cpp's src/models/llama.cpp and qwen2.cpp; other architectures
get only the checks that hold for every transformer. The module does not read
tensor data: the weights may still be garbage.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from gritlite.errors import ArchitectureError, FormatError, TokenizerError
from gritlite.modelfile.byte_reader import ADVICE
from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.modelfile.hyperparameters import TOKENS_KEY, Hyperparameters, read_hyperparameters
from gritlite.modelfile.types import GGMLType

# architectures whose tensor names and shapes are checked
CHECKED = frozenset({"llama", "llama-embed", "qwen2"})

TENSOR_ALIGNMENT = 32  # ggml's; mapped weights must start at multiples of it
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
POOLINGS = range(5)  # enum llama_pooling_type
NO_TOKEN = 0xFFFFFFFF
BYTE_TOKEN = 6  # enum llama_token_type
SPECIAL_TOKENS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")
REQUIRED_SPECIAL = ("bos", "eos")

# intermediate formats of matrix products, and types that no weight has
NOT_FOR_MATRICES = frozenset(
    {
        GGMLType.Q8_1,
        GGMLType.Q8_K,
        GGMLType.I8,
        GGMLType.I16,
        GGMLType.I32,
        GGMLType.I64,
        GGMLType.F64,
    }
)


def check_model(file: GGUFFile) -> None:
    """Check that the model's hyperparameters, vocabulary and tensors agree.

    Raises ArchitectureError if a dimension or tensor is missing or contradicts
    another, TokenizerError if the vocabulary cannot be used, and FormatError for a
    value of the wrong type or a part of a split model.
    """
    model = read_hyperparameters(file)
    _check_file(file)
    _check_numbers(file, model)
    _check_vocabulary(file)
    if model.architecture in CHECKED:
        _check_attention(file, model)
        _check_tensors(file, model)


def _check_file(file: GGUFFile) -> None:
    parts = file.metadata.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        raise FormatError(
            f"{file.path} is one of {parts} parts of a model: join them with "
            "llama.cpp's  llama-gguf-split --merge"
        )
    if file.alignment % TENSOR_ALIGNMENT:
        raise FormatError(
            f"{file.path}: tensors are aligned to {file.alignment} bytes, "
            f"llama.cpp needs {TENSOR_ALIGNMENT}: convert the model again"
        )
    for tensor in file.tensors:
        if tensor.elements == 0:
            raise FormatError(f"{file.path}: tensor {tensor.name!r} is empty: {ADVICE}")


def _check_numbers(file: GGUFFile, model: Hyperparameters) -> None:
    prefix = model.architecture + "."
    for key, value in file.metadata.items():
        if key.startswith(prefix) and isinstance(value, float) and not math.isfinite(value):
            _fail_architecture(file, f"{key} is {value}")
    epsilon = file.metadata.get(prefix + "attention.layer_norm_rms_epsilon", 0.0)
    if isinstance(epsilon, float) and epsilon < 0:
        _fail_architecture(file, f"{prefix}attention.layer_norm_rms_epsilon is {epsilon}, below 0")
    base = file.metadata.get(prefix + "rope.freq_base", 1.0)
    if isinstance(base, float) and base <= 0:
        _fail_architecture(file, f"{prefix}rope.freq_base is {base}, not above 0")
    scaling = file.metadata.get(prefix + "rope.scaling.type", "linear")
    if scaling not in ROPE_SCALINGS:
        _fail_architecture(
            file, f"{prefix}rope.scaling.type is {scaling!r}, not one of {ROPE_SCALINGS}"
        )
    pooling = file.metadata.get(prefix + "pooling_type", 0)
    if pooling not in POOLINGS:
        _fail_architecture(
            file, f"{prefix}pooling_type is {pooling!r}, which llama.cpp does not know"
        )
    _check_experts(file, model)


def _check_experts(file: GGUFFile, model: Hyperparameters) -> None:
    if bool(model.experts) != bool(model.experts_used):
        _fail_architecture(file, f"{model.experts} experts, of which {model.experts_used} are used")
    for name in ("expert_group_count", "expert_group_used_count", "nextn_predict_layers"):
        value = file.metadata.get(f"{model.architecture}.{name}", 0)
        if model.architecture in CHECKED and value != 0:
            _fail_architecture(
                file, f"{model.architecture}.{name} is {value!r}, but must be 0 or absent"
            )


def _check_attention(file: GGUFFile, model: Hyperparameters) -> None:
    for name, numbers in (
        ("head_count", model.heads),
        ("head_count_kv", model.kv_heads),
        ("feed_forward_length", model.feed_forward),
    ):
        if len(set(numbers)) > 1 or numbers[0] == 0:
            _fail_architecture(
                file, f"{name} is {numbers}: all layers need the same number above 0"
            )
    heads, kv_heads = model.heads[0], model.kv_heads[0]
    if heads % kv_heads:
        _fail_architecture(file, f"{heads} attention heads cannot share {kv_heads} key-value heads")
    if not model.key_width == model.value_width == model.rope_width:
        _fail_architecture(
            file,
            f"head sizes {model.key_width} (key), {model.value_width} (value) and "
            f"{model.rope_width} (rotary) must be equal",
        )
    if model.key_width == 0 or model.key_width % 2:
        _fail_architecture(file, f"head size {model.key_width}: must be even and above 0")
    if model.architecture == "qwen2" and heads * model.key_width != model.width:
        _fail_architecture(
            file, f"{heads} heads of size {model.key_width} for a width of {model.width}"
        )


@dataclass(frozen=True)
class _ExpectedTensor:
    name: str
    shape: tuple[int, ...]
    required: bool = True


def _check_tensors(file: GGUFFile, model: Hyperparameters) -> None:
    tensors = {tensor.name: tensor for tensor in file.tensors}
    for expected in _expected_tensors(model, tensors):
        tensor = tensors.get(expected.name)
        if tensor is None:
            if expected.required:
                _fail_architecture(file, f"tensor {expected.name!r} is missing")
        elif _without_ones(tensor.shape) != _without_ones(expected.shape):
            _fail_architecture(
                file,
                f"tensor {tensor.name!r} has shape {tensor.shape} where {expected.shape} is needed",
            )
    for tensor in file.tensors:
        _check_type(file, tensor)


def _check_type(file: GGUFFile, tensor: TensorInfo) -> None:
    vector = len(_without_ones(tensor.shape)) <= 1 and not tensor.name.startswith("token_embd")
    if vector and tensor.type != GGMLType.F32:
        _fail_architecture(
            file, f"tensor {tensor.name!r} is {tensor.type.name} where llama.cpp needs F32"
        )
    if tensor.type in NOT_FOR_MATRICES:
        _fail_architecture(
            file, f"tensor {tensor.name!r} is {tensor.type.name}, which is not a weight type"
        )


def _expected_tensors(
    model: Hyperparameters, tensors: Mapping[str, TensorInfo]
) -> Iterator[_ExpectedTensor]:
    """Yield the tensors llama.cpp creates for the architecture, with shapes (rows, row length)."""
    width, vocabulary = model.width, model.vocabulary
    yield _ExpectedTensor("token_embd.weight", (vocabulary, width))
    yield _ExpectedTensor("output_norm.weight", (width,))
    yield _ExpectedTensor("output.weight", (vocabulary, width), required=False)
    yield _ExpectedTensor("output.bias", (vocabulary,), required=False)
    yield _ExpectedTensor("rope_freqs.weight", (model.rope_width // 2,), required=False)
    for layer in range(model.layers):
        yield from _expected_attention(model, tensors, f"blk.{layer}")
        yield from _expected_feed_forward(model, f"blk.{layer}")


def _expected_attention(
    model: Hyperparameters, tensors: Mapping[str, TensorInfo], block: str
) -> Iterator[_ExpectedTensor]:
    width = model.width
    query = model.heads[0] * model.key_width
    key = model.kv_heads[0] * model.key_width
    fused = f"{block}.attn_qkv.weight" in tensors
    yield _ExpectedTensor(f"{block}.attn_norm.weight", (width,))
    yield _ExpectedTensor(f"{block}.attn_qkv.weight", (query + 2 * key, width), required=fused)
    yield _ExpectedTensor(f"{block}.attn_qkv.bias", (query + 2 * key,), required=False)
    for name, rows in (("attn_q", query), ("attn_k", key), ("attn_v", key)):
        yield _ExpectedTensor(f"{block}.{name}.weight", (rows, width), required=not fused)
        yield _ExpectedTensor(f"{block}.{name}.bias", (rows,), required=False)
    yield _ExpectedTensor(f"{block}.attn_output.weight", (width, query))
    yield _ExpectedTensor(f"{block}.attn_output.bias", (width,), required=False)


def _expected_feed_forward(model: Hyperparameters, block: str) -> Iterator[_ExpectedTensor]:
    width, inner, experts = model.width, model.feed_forward[0], model.experts
    yield _ExpectedTensor(f"{block}.ffn_norm.weight", (width,))
    if experts:
        yield _ExpectedTensor(f"{block}.ffn_gate_inp.weight", (experts, width))
        yield _ExpectedTensor(f"{block}.ffn_gate_exps.weight", (experts, inner, width))
        yield _ExpectedTensor(f"{block}.ffn_down_exps.weight", (experts, width, inner))
        yield _ExpectedTensor(f"{block}.ffn_up_exps.weight", (experts, inner, width))
        return
    for name, shape in (
        ("ffn_gate", (inner, width)),
        ("ffn_down", (width, inner)),
        ("ffn_up", (inner, width)),
    ):
        yield _ExpectedTensor(f"{block}.{name}.weight", shape)
        yield _ExpectedTensor(f"{block}.{name}.bias", shape[:1], required=False)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop leading ones, which ggml does not distinguish from absent dimensions."""
    first = next((i for i, length in enumerate(shape) if length != 1), len(shape))
    return shape[first:]


def _check_vocabulary(file: GGUFFile) -> None:
    tokens = file.metadata.get(TOKENS_KEY)
    tokenizer = file.metadata.get("tokenizer.ggml.model")
    if not isinstance(tokens, list) or not tokens or not isinstance(tokenizer, str):
        _fail_tokenizer(file, "it has no vocabulary")
    _check_token_arrays(file, len(tokens))
    _check_special_tokens(file, len(tokens))
    _check_distinct(file, tokens)
    if tokenizer == "llama":
        _check_bytes(file, tokens)
    if tokenizer == "gpt2" and not isinstance(file.metadata.get("tokenizer.ggml.merges"), list):
        _fail_tokenizer(file, "its byte-level BPE vocabulary has no merges")
    for tensor in file.tensors:
        if tensor.name == "token_embd.weight" and tensor.shape[0] != len(tokens):
            _fail_tokenizer(
                file, f"it has {len(tokens):,} tokens and {tensor.shape[0]:,} embedding rows"
            )


def _check_token_arrays(file: GGUFFile, count: int) -> None:
    for name, kinds in (("scores", ("arr[f32]", "arr[i32]")), ("token_type", ("arr[i32]",))):
        key = f"tokenizer.ggml.{name}"
        value = file.metadata.get(key)
        if value is None:
            continue
        kind = file.entries[key].type
        if not isinstance(value, np.ndarray) or kind not in kinds:
            _fail_tokenizer(file, f"{key} is of type {kind}, not {kinds[0]}")
        if len(value) != count:
            _fail_tokenizer(file, f"{key} has {len(value):,} items for {count:,} tokens")


def _check_special_tokens(file: GGUFFile, count: int) -> None:
    for name in SPECIAL_TOKENS:
        key = f"tokenizer.ggml.{name}_token_id"
        value = file.metadata.get(key)
        if value is None or (value == NO_TOKEN and name not in REQUIRED_SPECIAL):
            continue
        if not isinstance(value, int) or not 0 <= value < count:
            _fail_tokenizer(file, f"{key} is {value!r}, outside its {count:,} tokens")


def _check_distinct(file: GGUFFile, tokens: list[str]) -> None:
    """Check that no two tokens are equal; llama.cpp asserts it.

    It cuts a token's text at a zero byte, and gives empty tokens a name.
    """
    seen: dict[str, int] = {}
    for number, token in enumerate(tokens):
        text = token.partition("\0")[0] or f"[EMPTY_{number}]"
        other = seen.setdefault(text, number)
        if other != number:
            _fail_tokenizer(file, f"its tokens {other:,} and {number:,} are both {text!r}")


def _check_bytes(file: GGUFFile, tokens: list[str]) -> None:
    """Check that a SentencePiece vocabulary has every byte: llama.cpp dies on one that lacks it."""
    known = set(tokens)
    for byte in range(256):
        raw = bytes([byte]).decode("utf-8", "surrogateescape") if byte else ""
        if f"<0x{byte:02X}>" not in known and (not raw or raw not in known):
            _fail_tokenizer(file, f"its vocabulary has no token for the byte <0x{byte:02X}>")
    kinds = file.metadata.get("tokenizer.ggml.token_type")
    if isinstance(kinds, np.ndarray):
        for number in np.flatnonzero(kinds == BYTE_TOKEN):
            if len(tokens[number].encode("utf-8", "surrogateescape")) < 3:
                _fail_tokenizer(
                    file, f"its byte token {number:,} is {tokens[number]!r}, not <0x..>"
                )


def _fail_architecture(file: GGUFFile, what: str) -> NoReturn:
    raise ArchitectureError(f"{file.path}: {what}: {ADVICE}")


def _fail_tokenizer(file: GGUFFile, what: str) -> NoReturn:
    raise TokenizerError(f"{file.path} cannot turn text into tokens: {what}: {ADVICE}")
