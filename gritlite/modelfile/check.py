"""Check that the parts of a GGUF model are consistent, so that llama.cpp does not abort on it.

llama.cpp checks a lot with GGML_ASSERT, which ends the process. Each rule here
prevents such an assertion, or replaces a less clear message. The expected tensors
are those of llama.cpp's src/models/llama.cpp and qwen2.cpp; other architectures
get only the checks that hold for every transformer. The module does not read
tensor data: the weights may still be garbage.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gritlite.errors import FormatError
from gritlite.modelfile.check_numbers import check_numbers
from gritlite.modelfile.check_vocabulary import check_vocabulary
from gritlite.modelfile.failure import MADE_WRONG, fail_architecture
from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.modelfile.hyperparameters import Hyperparameters, read_hyperparameters
from gritlite.modelfile.types import GGMLType

# architectures whose tensor names and shapes are checked
CHECKED = frozenset({"llama", "llama-embed", "qwen2"})

TENSOR_ALIGNMENT = 32  # ggml's; mapped weights must start at multiples of it

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
    check_numbers(file, model, experts_grouped=model.architecture not in CHECKED)
    check_vocabulary(file)
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
            raise FormatError(f"{file.path}: tensor {tensor.name!r} is empty: {MADE_WRONG}")


def _check_attention(file: GGUFFile, model: Hyperparameters) -> None:
    for name, numbers in (
        ("head_count", model.heads),
        ("head_count_kv", model.kv_heads),
        ("feed_forward_length", model.feed_forward),
    ):
        if len(set(numbers)) > 1 or numbers[0] == 0:
            fail_architecture(file, f"{name} is {numbers}: all layers need the same number above 0")
    heads, kv_heads = model.heads[0], model.kv_heads[0]
    if heads % kv_heads:
        fail_architecture(file, f"{heads} attention heads cannot share {kv_heads} key-value heads")
    if not model.key_width == model.value_width == model.rope_width:
        fail_architecture(
            file,
            f"head sizes {model.key_width} (key), {model.value_width} (value) and "
            f"{model.rope_width} (rotary) must be equal",
        )
    if model.key_width == 0 or model.key_width % 2:
        fail_architecture(file, f"head size {model.key_width}: must be even and above 0")
    if model.architecture == "qwen2" and heads * model.key_width != model.width:
        fail_architecture(
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
                fail_architecture(file, f"tensor {expected.name!r} is missing")
        elif _without_ones(tensor.shape) != _without_ones(expected.shape):
            fail_architecture(
                file,
                f"tensor {tensor.name!r} has shape {tensor.shape} where {expected.shape} is needed",
            )
    for tensor in file.tensors:
        _check_type(file, tensor)


def _check_type(file: GGUFFile, tensor: TensorInfo) -> None:
    vector = len(_without_ones(tensor.shape)) <= 1 and not tensor.name.startswith("token_embd")
    if vector and tensor.type != GGMLType.F32:
        fail_architecture(
            file, f"tensor {tensor.name!r} is {tensor.type.name} where llama.cpp needs F32"
        )
    if tensor.type in NOT_FOR_MATRICES:
        fail_architecture(
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
