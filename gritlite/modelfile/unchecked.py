"""What a GGUF file holds that the checks of `check` do not know.

llama.cpp reads more architectures, tokenizers and metadata keys than the checks cover,
and some of them end the process when they do not fit the rest of the file. The lists here
name what is covered; a file with anything else is tried in a child process before it is
loaded (see `gritlite.runtime.model_probe`). The module does not know whether it would run.
"""

from gritlite.modelfile.check import CHECKED
from gritlite.modelfile.check_vocabulary import SPECIAL_TOKENS
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import architecture
from gritlite.modelfile.metadata_values import Value

# SentencePiece and byte-level BPE, as llama.cpp calls them
TOKENIZERS = ("llama", "gpt2")
# how byte-level BPE cuts words, for models of the checked architectures
PRE_TOKENIZERS = frozenset(
    {
        "default",
        "llama-bpe",
        "llama-v3",
        "llama3",
        "gpt-2",
        "qwen2",
        "smollm",
        "smaug-bpe",
        "tekken",
        "deepseek-llm",
        "deepseek-coder",
        "deepseek-v3",
        "deepseek-r1-qwen",
        "starcoder",
        "falcon",
        "mpt",
    }
)
ARCHITECTURE_KEYS = frozenset(
    {
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "vocab_size",
        "expert_count",
        "expert_used_count",
        "expert_group_count",
        "expert_group_used_count",
        "nextn_predict_layers",
        "pooling_type",
        "tensor_data_layout",
        "attention.causal",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.layer_norm_rms_epsilon",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.attn_factor",
        "rope.scaling.finetuned",
        "rope.scaling.original_context_length",
        "rope.scaling.yarn_log_multiplier",
        "rope.scaling.yarn_ext_factor",
        "rope.scaling.yarn_attn_factor",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
    }
)
TOKENIZER_KEYS = frozenset(
    {
        "model",
        "pre",
        "tokens",
        "token_type",
        "scores",
        "merges",
        "add_bos_token",
        "add_eos_token",
        "add_space_prefix",
        "remove_extra_whitespaces",
        *(f"{name}_token_id" for name in SPECIAL_TOKENS),
        *(f"fim_{name}_token_id" for name in ("pre", "suf", "mid", "pad", "rep", "sep")),
    }
)


def unchecked_parts(file: GGUFFile) -> tuple[str, ...]:
    """Return what the checks do not cover, such as "architecture 'jamba'"; empty if nothing.

    Raises FormatError if the file names no architecture.
    """
    name = architecture(file)
    if name not in CHECKED:
        parts = [f"architecture {name!r}"]
    else:
        parts = _unknown_keys(file, f"{name}.", ARCHITECTURE_KEYS)
    tokenizer = file.metadata.get("tokenizer.ggml.model")
    pre = file.metadata.get("tokenizer.ggml.pre", "default")
    if tokenizer not in TOKENIZERS:
        parts.append(f"tokenizer {_shown(tokenizer)}")
    elif tokenizer == "gpt2" and not (isinstance(pre, str) and pre in PRE_TOKENIZERS):
        parts.append(f"pre-tokenizer {_shown(pre)}")
    parts += _unknown_keys(file, "tokenizer.ggml.", TOKENIZER_KEYS)
    return tuple(parts)


def _unknown_keys(file: GGUFFile, prefix: str, known: frozenset[str]) -> list[str]:
    return [
        f"metadata key {key!r}"
        for key in file.metadata
        if key.startswith(prefix) and key.removeprefix(prefix) not in known
    ]


def _shown(value: Value | None) -> str:
    return repr(value[:40]) if isinstance(value, str) else "that is no name"
