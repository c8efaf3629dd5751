"""Map the `pre_tokenizer` of a tokenizer.json to llama.cpp's name for it.

llama.cpp has each pre-tokenizer built in under a name (llama-vocab.cpp,
llm_tokenizer_bpe). The table has only those that the tests prove equal, token for
token; others are refused.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gritlite.errors import TokenizerError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = _CONTRACTIONS + r"\p{N}{1,3}" + _REST
QWEN2 = _CONTRACTIONS + r"\p{N}" + _REST


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "use_regex": use_regex}


def _split(regex: str) -> list[dict[str, Any]]:
    pattern = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"}
    return [{**pattern, "invert": False}, _byte_level(use_regex=False)]


def _key(steps: list[dict[str, Any]], ignore_merges: bool) -> str:
    return json.dumps([steps, ignore_merges], sort_keys=True)


# in llama.cpp the name also decides whether whole words skip merging (ignore_merges)
NAMES: Mapping[str, str] = MappingProxyType(
    {
        _key([_byte_level(use_regex=True)], False): "gpt-2",
        _key(
            [{"type": "Digits", "individual_digits": True}, _byte_level(use_regex=True)], False
        ): "smollm",
        _key(_split(LLAMA3), True): "llama-bpe",
        _key(_split(LLAMA3), False): "smaug-bpe",
        _key(_split(QWEN2), False): "qwen2",
    }
)


def name_of(pre_tokenizer: Any, ignore_merges: bool) -> str:
    """Return llama.cpp's name for the `pre_tokenizer` of a tokenizer.json.

    Raises TokenizerError if it is not supported.
    """
    key = _key([_plain(step) for step in _steps(pre_tokenizer)], ignore_merges)
    if key not in NAMES:
        raise TokenizerError(
            "tokenizer.json: this pre_tokenizer is not supported, only those that llama.cpp "
            f"calls {', '.join(NAMES.values())}"
        )
    return NAMES[key]


def _steps(pre_tokenizer: Any) -> list[Any]:
    if not isinstance(pre_tokenizer, dict):
        return [pre_tokenizer]
    if pre_tokenizer.get("type") != "Sequence":
        return [pre_tokenizer]
    steps = pre_tokenizer.get("pretokenizers")
    return steps if isinstance(steps, list) else [steps]


def _plain(step: Any) -> Any:
    """Drop `trim_offsets`, which changes character positions but no tokens."""
    if not isinstance(step, dict):
        return step
    plain = {key: value for key, value in step.items() if key != "trim_offsets"}
    if plain.get("type") == "ByteLevel":
        plain.setdefault("use_regex", True)  # absent in files from old versions
    return plain
