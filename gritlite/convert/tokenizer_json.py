"""Read the `tokenizer.json` of Hugging Face tokenizers, for two kinds of BPE.

Byte-level BPE, as in GPT-2, is converted directly. SentencePiece-like BPE with byte
fallback has a list of merges, but llama.cpp needs a score per token: the scores are
derived from the merges, after checking that they are equivalent.

Format: github.com/huggingface/tokenizers. The module does not know added tokens or
special-token roles (`special_tokens`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gritlite.convert.json_files import flag_in, list_in, shown
from gritlite.convert.pretokenizers import name_of
from gritlite.convert.vocabulary import BaseVocabulary, Token, TokenType
from gritlite.errors import FormatError, TokenizerError

SPACE = "\u2581"
SPACE_REPLACED = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
MAX_TOKEN = 2048  # characters; the longest known are runs of a few hundred spaces
BYTE_TOKENS = frozenset(f"<0x{byte:02X}>" for byte in range(256))


Merge = tuple[str, str]


def parse_tokenizer_json(path: Path, content: Mapping[str, Any]) -> BaseVocabulary:
    """Parse the model in a tokenizer.json's `content`, without added tokens.

    `path` is for error messages. Raises FormatError if it is malformed, and
    TokenizerError if it tokenizes in a way that llama.cpp does not support.
    """
    model = _bpe(path, content)
    is_byte_fallback = has_byte_fallback(path, content)
    vocabulary = read_vocabulary(path, content)
    merges = _read_merges(path, model)
    if is_byte_fallback:
        return _byte_fallback(path, content, vocabulary, merges)
    return _byte_level(path, content, vocabulary, merges)


def has_byte_fallback(path: Path, content: Mapping[str, Any]) -> bool:
    """Return whether it is SentencePiece-like; raises like `parse_tokenizer_json`."""
    model = _bpe(path, content)
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise TokenizerError(f"{path}: BPE with {option} is not supported")
    is_byte_fallback = flag_in(path, model, "byte_fallback")
    if is_byte_fallback and flag_in(path, model, "ignore_merges"):
        raise TokenizerError(f"{path}: byte fallback with ignore_merges is not supported")
    return is_byte_fallback


def _bpe(path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    model = content.get("model")
    if not isinstance(model, dict):
        raise FormatError(f"{path} describes no model: it is not the file of a tokenizer")
    if model.get("type", "BPE") != "BPE":
        raise TokenizerError(
            f"{path}: a tokenizer of type {shown(model['type'])} is not supported, only BPE"
            f"{_unigram_problem(model)}"
        )
    return model


def _unigram_problem(model: Mapping[str, Any]) -> str:
    """Say why llama.cpp's own Unigram tokenizer ("t5") does not do, for such a model."""
    if model["type"] != "Unigram":
        return ""
    if model.get("byte_fallback"):
        return ": llama.cpp has no byte tokens for it"
    # "..." and "." give "...." in two orders of the same score
    return ": llama.cpp chooses another of several splits with the same score"


def read_vocabulary(path: Path, content: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of the base vocabulary by text. Raises like `parse_tokenizer_json`."""
    vocabulary = _bpe(path, content).get("vocab")
    if not isinstance(vocabulary, dict) or not all(
        type(number) is int and 0 <= number < 2**24 for number in vocabulary.values()
    ):
        raise FormatError(f"{path}: the vocabulary is not an object of token ids")
    longest = max(vocabulary, key=len, default="")
    if len(longest) > MAX_TOKEN:
        raise FormatError(
            f"{path}: the token {shown(longest)} has {len(longest):,} characters, more than "
            f"{MAX_TOKEN:,}"
        )
    if len(set(vocabulary.values())) != len(vocabulary):
        raise FormatError(f"{path}: two tokens of the vocabulary have the same id")
    return vocabulary


def _read_merges(path: Path, model: Mapping[str, Any]) -> list[Merge]:
    """Read merges in either format: "a b", or ["a", "b"] since tokenizers 0.20."""
    merges = []
    for merge in list_in(path, model, "merges"):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_text, pair)):
            raise FormatError(f"{path}: {shown(merge)} is not a merge of two tokens")
        merges.append((pair[0], pair[1]))
    return merges


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


# Byte-level BPE


def _byte_level(
    path: Path, content: Mapping[str, Any], vocabulary: Mapping[str, int], merges: Sequence[Merge]
) -> BaseVocabulary:
    if any(" " in part for merge in merges for part in merge):
        raise TokenizerError(f"{path}: byte-level BPE cannot have merges with spaces")
    if not merges:
        raise TokenizerError(f"{path}: byte-level BPE needs merges, and there are none")
    ignore_merges = flag_in(path, content["model"], "ignore_merges")
    return BaseVocabulary(
        model="gpt2",
        pre=name_of(content.get("pre_tokenizer"), ignore_merges),
        tokens=_by_number(vocabulary, {}),
        merges=tuple(" ".join(merge) for merge in merges),
        add_space_prefix=False,
        normalizer=_unicode_form(path, content.get("normalizer")),
    )


def _unicode_form(path: Path, normalizer: Any) -> str | None:
    steps = _normalizer_steps(normalizer)
    if not steps:
        return None
    if steps == [{"type": "NFC"}]:
        return "NFC"
    raise TokenizerError(f"{path}: this normalizer is not supported, only NFC")


def _normalizer_steps(normalizer: Any) -> list[Any]:
    if normalizer is None:
        return []
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        steps = normalizer.get("normalizers")
        return steps if isinstance(steps, list) else [steps]
    return [normalizer]


# SentencePiece-like BPE with byte fallback


def _byte_fallback(
    path: Path, content: Mapping[str, Any], vocabulary: Mapping[str, int], merges: Sequence[Merge]
) -> BaseVocabulary:
    missing = BYTE_TOKENS - vocabulary.keys()
    if missing:
        raise TokenizerError(f"{path}: byte fallback without the token {min(missing)}")
    return BaseVocabulary(
        model="llama",
        pre="default",
        tokens=_by_number(vocabulary, _scores(path, vocabulary, merges)),
        merges=(),
        add_space_prefix=has_space_prefix(path, content),
        normalizer=None,
    )


def has_space_prefix(path: Path, content: Mapping[str, Any]) -> bool:
    """Return whether a tokenizer.json with byte fallback prefixes a text with a space.

    Metaspace adds one only if the text does not start with a space, llama.cpp always:
    for the same ids, give llama.cpp the text without that space.

    Raises TokenizerError for a normalizer or pre-tokenizer that llama.cpp lacks.
    """
    steps = _normalizer_steps(content.get("normalizer"))
    pre = content.get("pre_tokenizer")
    if pre is None and steps == [{"type": "Prepend", "prepend": SPACE}, SPACE_REPLACED]:
        return True
    if pre is None and steps == [SPACE_REPLACED]:
        return False
    if (
        not steps
        and isinstance(pre, dict)
        and pre.get("type") == "Metaspace"
        and pre.get("replacement") == SPACE
        and pre.get("split") is False
        and pre.get("prepend_scheme") in ("first", "always", "never")
    ):
        return bool(pre["prepend_scheme"] != "never")
    raise TokenizerError(
        f"{path}: this combination of normalizer and pre_tokenizer is not supported, "
        "only those of Llama and Mistral"
    )


def _scores(
    path: Path, vocabulary: Mapping[str, int], merges: Sequence[Merge]
) -> Mapping[str, float]:
    """Return each merged token's score: minus the rank of its first merge.

    llama.cpp joins two neighbours whenever their text is a token, best score first.
    That is equivalent to the list of merges if every pair that spells a token is in it
    and the pairs that spell the same token have consecutive ranks.
    """
    ranks: dict[str, list[int]] = defaultdict(list)
    for rank, (left, right) in enumerate(merges):
        ranks[left + right].append(rank)
    for token, own in ranks.items():
        if token not in vocabulary:
            raise FormatError(f"{path}: a merge makes {shown(token)}, which is not a token")
        if own[-1] - own[0] != len(own) - 1:
            raise _inexpressible(path, token)
    reachable = ranks.keys() | {text for text in vocabulary if len(text) == 1}
    listed = set(merges)
    for token in vocabulary:
        for cut in range(1, len(token)):
            pair = token[:cut], token[cut:]
            if reachable.issuperset(pair) and pair not in listed:
                raise _inexpressible(path, token)
    return {token: -float(own[0] + 1) for token, own in ranks.items()}


def _inexpressible(path: Path, token: str) -> TokenizerError:
    return TokenizerError(
        f"{path}: the merges that make {shown(token)} cannot be expressed as token scores, "
        "which llama.cpp needs: add the tokenizer.model it was made from"
    )


def _by_number(
    vocabulary: Mapping[str, int], scores: Mapping[str, float]
) -> tuple[Token | None, ...]:
    tokens: list[Token | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
    for text, number in vocabulary.items():
        tokens[number] = _token(text, scores)
    return tuple(tokens)


def _token(text: str, scores: Mapping[str, float]) -> Token:
    if scores and text in BYTE_TOKENS:
        return Token(text, TokenType.BYTE)
    return Token(text, TokenType.NORMAL, scores.get(text, 0.0))
