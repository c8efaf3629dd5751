"""Inconsistent models are refused, with the cause named, before llama.cpp sees them."""

import dataclasses
import math

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from gritlite.errors import ArchitectureError, FormatError, TokenizerError
from gritlite.modelfile.check import NOT_FOR_MATRICES, check_model
from gritlite.modelfile.header import GGUFFile, MetadataEntry, read_header
from gritlite.modelfile.types import GGMLType
from tests.modelfile.load_gguf import outcomes
from tests.sample_gguf import BPE, SPM, write_model


def with_key(file: GGUFFile, key: str, value: object, kind: str | None = None) -> GGUFFile:
    """Return the file with another value for a key, and another type if `kind` is given."""
    old = file.entries.get(key, MetadataEntry("u32", 0, 0))
    entry = dataclasses.replace(old, type=kind or old.type)
    return dataclasses.replace(
        file, metadata={**file.metadata, key: value}, entries={**file.entries, key: entry}
    )


def without_key(file: GGUFFile, key: str) -> GGUFFile:
    return dataclasses.replace(
        file, metadata={name: value for name, value in file.metadata.items() if name != key}
    )


def with_tensor(file: GGUFFile, name: str, **changes: object) -> GGUFFile:
    tensors = (dataclasses.replace(t, **changes) if t.name == name else t for t in file.tensors)
    return dataclasses.replace(file, tensors=tuple(tensors))


def without_tensor(file: GGUFFile, name: str) -> GGUFFile:
    return dataclasses.replace(file, tensors=tuple(t for t in file.tensors if t.name != name))


@pytest.fixture(scope="module")
def spm(tmp_path_factory) -> GGUFFile:
    return read_header(write_model(tmp_path_factory.mktemp("spm") / "m.gguf", SPM))


@pytest.fixture(scope="module")
def bpe(tmp_path_factory) -> GGUFFile:
    return read_header(write_model(tmp_path_factory.mktemp("bpe") / "m.gguf", BPE))


SOUND = {
    "llama": {"tokenizer": SPM},
    "llama-with-bias": {"tokenizer": BPE, "bias": True},
    "qwen2": {"tokenizer": BPE, "arch": "qwen2", "bias": True},
    "mixtral": {"tokenizer": SPM, "experts": 4},
}


def test_sound_models_pass_and_run(tmp_path):
    paths = [write_model(tmp_path / name, **options) for name, options in SOUND.items()]
    for path in paths:
        check_model(read_header(path))
    assert outcomes(paths) == ["decoded: 0"] * len(SOUND)


def test_a_type_passes_if_llama_cpp_can_compute_with_it(tmp_path):
    passed = []
    for kind in GGMLQuantizationType:
        if kind == GGMLQuantizationType.Q8_1:
            continue  # gguf 0.19 reckons it with 40 bytes a block, ggml with 36
        path = write_model(tmp_path / kind.name, width=256, kind=kind)
        if kind.value in NOT_FOR_MATRICES:
            with pytest.raises(
                ArchitectureError, match=f"is {kind.name}, which is not a weight type"
            ):
                check_model(read_header(path))
        else:
            check_model(read_header(path))
            passed.append(path)
    assert outcomes(passed) == ["decoded: 0"] * len(passed)


@pytest.mark.parametrize("kind", ["I32", "F64"])
def test_llama_cpp_dies_on_a_type_that_is_refused(tmp_path, kind):
    path = write_model(tmp_path / kind, width=256, kind=GGMLQuantizationType[kind])
    with pytest.raises(AssertionError, match=r"llama\.cpp died"):
        outcomes([path])


def test_architectures_known_only_to_llama_cpp_pass_on_their_dimensions(tmp_path):
    file = read_header(write_model(tmp_path / "m.gguf", BPE, arch="gemma3"))
    check_model(without_tensor(file, "blk.0.ffn_norm.weight"))
    with pytest.raises(ArchitectureError, match="block_count is missing"):
        check_model(without_key(file, "gemma3.block_count"))


KEYS = {
    "no layers": ("block_count", 0, None, "block_count is 0"),
    "a layer too many": ("block_count", 3, None, "'blk.2.attn_norm.weight' is missing"),
    "endless layers": ("block_count", 2**32 - 1, None, "outside 1 to 512"),
    "endless width": ("embedding_length", 2**32 - 1, None, "outside 1 to"),
    "endless context": ("context_length", 2**32 - 1, None, "outside 1 to"),
    "no context": ("context_length", 0, None, "outside 1 to"),
    "no heads": ("attention.head_count", 0, None, "head_count is"),
    "no kv heads": ("attention.head_count_kv", 0, None, "head_count_kv is"),
    "unequal heads": ("attention.head_count_kv", 3, None, "4 attention heads cannot share 3"),
    "heads of two kinds": (
        "attention.head_count", np.array([4, 2], np.uint32), "arr[u32]", "same number above 0"
    ),
    "odd heads": ("attention.head_count", 32, None, "must be equal"),
    "another rotation": ("rope.dimension_count", 4, None, "must be equal"),
    "another key width": ("attention.key_length", 16, None, "must be equal"),
    "another value width": ("attention.value_length", 16, None, "must be equal"),
    "another inner width": ("feed_forward_length", 63, None, "'blk.0.ffn_gate.weight' has shape"),
    "a mixture without experts": ("expert_count", 8, None, "8 experts, of which 0 are used"),
    "too many experts used": ("expert_used_count", 2, None, "outside 0 to 0"),
    "experts grouped": ("expert_group_count", 2, None, "must be 0 or absent"),
    "more predicted layers": ("nextn_predict_layers", 9, None, "must be 0 or absent"),
    "an unknown rope scaling": ("rope.scaling.type", "spiral", "str", "'spiral'"),
    "an unknown pooling": ("pooling_type", 77, None, "pooling_type is 77"),
    "a negative epsilon": ("attention.layer_norm_rms_epsilon", -1.0, "f32", "is -1, outside"),
    "epsilon not a number": ("attention.layer_norm_rms_epsilon", math.nan, "f32", "is nan"),
    "an infinite base": ("rope.freq_base", math.inf, "f32", "is inf"),
    "an endless base": ("rope.freq_base", 1e300, "f64", r"is 1e\+300, outside 0.001"),
    "a base as a whole number": ("rope.freq_base", 10000, "u32", "is of type u32, not f32"),
    "several bases": ("rope.freq_base", np.ones(2, np.float32), "arr[f32]", "not f32"),
    "numbers of which one is none": (
        "rope.factors", np.array([1, np.inf], np.float32), "arr[f32]", "an array, not finite"
    ),
    "several poolings": ("pooling_type", np.ones(2, np.uint32), "arr[u32]", "pooling_type is"),
    "several rope scalings": ("rope.scaling.type", ["yarn", "none"], "arr[str]", "not one of"),
    "experts grouped twice": (
        "expert_group_count", np.zeros(2, np.uint32), "arr[u32]", "must be 0 or absent"
    ),
    "a context of 64 bits": ("context_length", 2**63, "u32", "outside 1 to"),
    "no base": ("rope.freq_base", 0.0, "f32", "is 0, outside 0.001"),
}  # fmt: skip


@pytest.mark.parametrize("what", KEYS)
def test_dimensions_that_cannot_be(spm, what):
    key, value, kind, message = KEYS[what]
    with pytest.raises(ArchitectureError, match=message) as caught:
        check_model(with_key(spm, f"llama.{key}", value, kind))
    assert str(spm.path) in str(caught.value)
    assert "download" not in str(caught.value)  # the same file would come


@pytest.mark.parametrize(
    ("key", "value", "kind", "message"),
    [
        ("llama.block_count", 2, "i32", "of type i32, not u32"),
        ("llama.block_count", 2.0, "f32", "of type f32, not u32"),
        ("llama.attention.head_count", np.array([4], np.uint32), "arr[u32]", "array of 2"),
        ("general.architecture", "a b\x1b", None, "not a name"),
        ("general.architecture", 3, "u32", "not a name"),
        ("split.count", 3, "u16", "one of 3 parts"),
    ],
)
def test_values_of_the_wrong_form(spm, key, value, kind, message):
    with pytest.raises(FormatError, match=message):
        check_model(with_key(spm, key, value, kind))


def test_tensors_that_cannot_be_mapped(spm):
    with pytest.raises(FormatError, match="aligned to 8 bytes"):
        check_model(dataclasses.replace(spm, alignment=8))
    with pytest.raises(FormatError, match=r"'output_norm\.weight' is empty"):
        check_model(with_tensor(spm, "output_norm.weight", shape=(0,)))


def test_every_required_tensor_is_missed(spm):
    for tensor in spm.tensors:
        with pytest.raises(ArchitectureError, match=f"{tensor.name!r} is missing"):
            check_model(without_tensor(spm, tensor.name))


def test_every_shape_is_checked(spm):
    for tensor in spm.tensors:
        shape = (*tensor.shape[:-1], tensor.shape[-1] + 1)
        with pytest.raises(ArchitectureError, match=f"{tensor.name!r} has shape"):
            check_model(with_tensor(spm, tensor.name, shape=shape))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("output_norm.weight", GGMLType.F16, "is F16 where llama.cpp needs F32"),
        ("blk.1.attn_q.weight", GGMLType.Q8_K, "is Q8_K, which is not a weight type"),
        ("token_embd.weight", GGMLType.I32, "is I32, which is not a weight type"),
    ],
)
def test_types_llama_cpp_cannot_compute_with(spm, name, kind, message):
    with pytest.raises(ArchitectureError, match=message):
        check_model(with_tensor(spm, name, type=kind))


TOKENIZERS = {
    "no tokens": ("tokens", [], None, "has no vocabulary"),
    "tokens not text": ("tokens", np.zeros(262), "arr[f64]", "has no vocabulary"),
    "no model": ("model", 7, "u32", "has no vocabulary"),
    "few scores": ("scores", np.zeros(261, np.float32), None, "261 items for 262 tokens"),
    "many types": ("token_type", np.zeros(263, np.int32), None, "263 items for 262 tokens"),
    "types of u32": ("token_type", np.zeros(262, np.uint32), "arr[u32]", r"arr\[u32\], not arr"),
    "bos outside": ("bos_token_id", 262, None, "bos_token_id is 262, outside its 262 tokens"),
    "several ends": ("eos_token_id", np.ones(2, np.uint32), "arr[u32]", r"arr\[u32\], not u32"),
    "no eos": ("eos_token_id", 2**32 - 1, None, "outside its 262 tokens"),
}


@pytest.mark.parametrize("what", TOKENIZERS)
def test_vocabularies_that_cannot_be_used(spm, what):
    key, value, kind, message = TOKENIZERS[what]
    with pytest.raises(TokenizerError, match=message):
        check_model(with_key(spm, f"tokenizer.ggml.{key}", value, kind))


def test_an_absent_padding_token_is_no_fault(spm):
    check_model(with_key(spm, "tokenizer.ggml.padding_token_id", 2**32 - 1))


@pytest.mark.parametrize(
    ("number", "text", "message"),
    [
        (261, "a", "tokens 260 and 261 are both 'a'"),
        (261, "a\0b", "tokens 260 and 261 are both 'a'"),
        (3, "x", "no token for the byte <0x00>"),
        (200, "x", "no token for the byte <0xC5>"),
    ],
)
def test_tokens_llama_cpp_would_die_on(spm, number, text, message):
    tokens = list(spm.metadata["tokenizer.ggml.tokens"])
    tokens[number] = text
    with pytest.raises(TokenizerError, match=message):
        check_model(with_key(spm, "tokenizer.ggml.tokens", tokens))


def test_a_byte_token_too_short_to_hold_a_number(spm):
    kinds = spm.metadata["tokenizer.ggml.token_type"].copy()
    kinds[260] = 6
    with pytest.raises(TokenizerError, match="byte token 260 is 'a'"):
        check_model(with_key(spm, "tokenizer.ggml.token_type", kinds))


@pytest.mark.parametrize(("kind", "number"), [(SPM, 100), (BPE, 40)])
def test_a_byte_that_is_a_control_token(spm, bpe, kind, number):
    file = spm if kind == SPM else bpe
    kinds = file.metadata["tokenizer.ggml.token_type"].copy()
    kinds[number] = 3
    with pytest.raises(TokenizerError, match=f"token {number} for .* as a control token"):
        check_model(with_key(file, "tokenizer.ggml.token_type", kinds))


def test_a_byte_level_vocabulary_needs_merges(bpe):
    with pytest.raises(TokenizerError, match="has no merges"):
        check_model(without_key(bpe, "tokenizer.ggml.merges"))


def test_more_embedding_rows_than_tokens(bpe):
    tokens = [*bpe.metadata["tokenizer.ggml.tokens"], "more"]
    file = with_key(without_key(bpe, "tokenizer.ggml.token_type"), "tokenizer.ggml.tokens", tokens)
    with pytest.raises(TokenizerError, match="264 tokens and 263 embedding rows"):
        check_model(file)
