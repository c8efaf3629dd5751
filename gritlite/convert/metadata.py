"""Write a model's GGUF metadata keys as llama.cpp's convert_hf_to_gguf.py does.

Source: conversion/base.py, llama.py and qwen.py of the llama.cpp in
llama-cpp-python 0.3.36, and gguf-py/gguf/vocab.py. The module does not know
tensors or files.
"""

import math
import re
from pathlib import Path

from gguf import GGML_QUANT_VERSION, GGUFType, GGUFValueType, GGUFWriter, RopeScalingType

from gritlite.convert.config import ModelConfig
from gritlite.convert.embedding_claims import EmbeddingClaims
from gritlite.convert.rope import Rope
from gritlite.convert.vocabulary import Vocabulary
from gritlite.prompt import (
    END_TOKENS_KEY,
    GENERATES_KEY,
    NORMALIZER_KEY,
    SLIDING_WINDOW_KEY,
    TRAINED_KEY,
)
from gritlite.quant.types import Target

# llama.cpp tokenizes in another way for models with these names (llama-vocab.cpp)
SWITCHES = re.compile(r"(?<=phi)-?(?=3)|(?<=modern)-(?=bert)", re.IGNORECASE)


def add_general(writer: GGUFWriter, folder: Path, config: ModelConfig, target: Target) -> None:
    """Add the keys about the file: its name and file type."""
    writer.add_type(GGUFType.MODEL)
    writer.add_name(SWITCHES.sub(" ", _name(folder, config)))
    writer.add_file_type(target.file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _name(folder: Path, config: ModelConfig) -> str:
    repository = config.raw.get("_name_or_path")
    if isinstance(repository, str) and repository.count("/") == 1:
        return repository.split("/")[1]
    return folder_name(folder)


def folder_name(folder: Path) -> str:
    """Return a folder's name as a GGUF file holds it: bytes that are no text become "?"."""
    return folder.resolve().name.encode("utf-8", "replace").decode()


def add_model(writer: GGUFWriter, config: ModelConfig) -> None:
    """Add the architecture's dimensions and constants.

    `attention.causal` is left out, because the file serves both modes. A sliding window
    gets a `grit.*` key, because llama.cpp computes none for these models.
    """
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_epsilon)
    _add_rope(writer, config.rope)
    if config.experts:
        writer.add_expert_count(config.experts)
        writer.add_expert_used_count(config.experts_used)
    if config.has_explicit_head_dim:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if config.architecture == "llama":
        writer.add_vocab_size(config.vocabulary)
        writer.add_rope_dimension_count(config.head_dim)
    if config.sliding_window is not None:
        writer.add_uint32(SLIDING_WINDOW_KEY, config.sliding_window)


def _add_rope(writer: GGUFWriter, rope: Rope) -> None:
    writer.add_rope_freq_base(rope.theta)
    if rope.kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope.factor)
    if rope.kind == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope.factor)
        writer.add_rope_scaling_orig_ctx_len(rope.original_context)
        if rope.attention_factor is not None:
            # llama.cpp multiplies this by the factor it computes, where transformers replaces it;
            # the key that its converter writes (yarn_attn_factor) has no effect in 0.3.36
            computed = 1 + 0.1 * math.log(rope.factor)
            writer.add_rope_scaling_attn_factors(rope.attention_factor / computed)
        if rope.beta_fast is not None:
            writer.add_rope_scaling_yarn_beta_fast(rope.beta_fast)
        if rope.beta_slow is not None:
            writer.add_rope_scaling_yarn_beta_slow(rope.beta_slow)


def add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    """Add the tokenizer."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list([token.text for token in vocabulary.tokens])
    writer.add_token_types([int(token.type) for token in vocabulary.tokens])
    if vocabulary.model == "llama":
        writer.add_token_scores([token.score for token in vocabulary.tokens])
        writer.add_add_space_prefix(vocabulary.add_space_prefix)
    else:
        writer.add_token_merges(vocabulary.merges)
    for role, number in vocabulary.special_ids.items():
        getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    if vocabulary.chat_template is not None:
        writer.add_chat_template(vocabulary.chat_template)
    if vocabulary.end_ids:
        writer.add_key_value(
            END_TOKENS_KEY, list(vocabulary.end_ids), GGUFValueType.ARRAY, GGUFValueType.UINT32
        )
    if vocabulary.normalizer is not None:
        writer.add_string(NORMALIZER_KEY, vocabulary.normalizer)


def add_embed_format(writer: GGUFWriter, claims: EmbeddingClaims, *, generates: bool) -> None:
    """Add the `grit.*` keys, which say how the file embeds texts, and what it cannot do."""
    keys = claims.format.to_metadata()
    if claims.trained:
        keys[TRAINED_KEY] = True
    if not generates:
        keys[GENERATES_KEY] = False
    for key, value in keys.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        else:
            # not add_string: it leaves an empty text out
            writer.add_key_value(key, value, GGUFValueType.STRING)
