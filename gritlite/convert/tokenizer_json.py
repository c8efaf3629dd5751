"""Reading the `tokenizer.json` of Hugging Face tokenizers: both kinds of BPE.

Byte-level BPE (GPT-2's way) carries over as it is. SentencePiece-like BPE with
byte fallback has a list of merges where llama.cpp has a score per token: the
scores are made from the merges, after proof that they say the same.
Format: github.com/huggingface/tokenizers. The module does not know added tokens
and special tokens' roles (`special_tokens`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gritlite.convert.pretokenizers import name_of
from gritlite.convert.vocabulary import BaseVocabulary, Token, TokenType
from gritlite.errors import FormatError, TokenizerError

SPACE = "\u2581"
SPACE_REPLACED = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
BYTE_TOKENS = frozenset(f"<0x{byte:02X}>" for byte in range(256))


Merge = tuple[str, str]


def parse_tokenizer_json(path: Path, content: Mapping[str, Any]) -> BaseVocabulary:
    """The model in a tokenizer.json's `content`; added tokens are left out.

    Raises FormatError if it is malformed, and TokenizerError if it works in a way
    that llama.cpp does not follow. `path` is for the messages.
    """
    model = _bpe(path, content)
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise TokenizerError(f"{path}: BPE with {option} is not known")
    vocabulary = read_vocabulary(path, content)
    merges = _read_merges(path, model)
    if model.get("byte_fallback"):
        return _byte_fallback(path, content, vocabulary, merges)
    return _byte_level(path, content, vocabulary, merges)


def _bpe(path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    model = content.get("model")
    if not isinstance(model, dict):
        raise FormatError(f"{path} describes no model: download it again")
    if model.get("type", "BPE") != "BPE":
        raise TokenizerError(
            f"{path}: tokenizers of type {model['type']!r} are not known; known is BPE"
        )
    return model


def read_vocabulary(path: Path, content: Mapping[str, Any]) -> dict[str, int]:
    """The ids of the base vocabulary by text; errors as `parse_tokenizer_json`."""
    vocabulary = _bpe(path, content).get("vocab")
    if not isinstance(vocabulary, dict) or not all(
        type(number) is int and 0 <= number < 2**24 for number in vocabulary.values()
    ):
        raise FormatError(f"{path}: the vocabulary is not an object of token numbers")
    if len(set(vocabulary.values())) != len(vocabulary):
        raise FormatError(f"{path}: two tokens of the vocabulary have the same number")
    return vocabulary


def _read_merges(path: Path, model: Mapping[str, Any]) -> list[Merge]:
    """Merges as pairs, from either form: "a b", or ["a", "b"] since tokenizers 0.20."""
    merges = []
    for merge in model.get("merges") or []:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_text, pair)):
            raise FormatError(f"{path}: {merge!r} is not a merge of two tokens")
        merges.append((pair[0], pair[1]))
    return merges


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


# Byte-level BPE


def _byte_level(
    path: Path, content: Mapping[str, Any], vocabulary: Mapping[str, int], merges: Sequence[Merge]
) -> BaseVocabulary:
    if any(" " in part for merge in merges for part in merge):
        raise TokenizerError(f"{path}: merges with spaces are not those of byte-level BPE")
    ignore_merges = bool(content["model"].get("ignore_merges"))
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
    raise TokenizerError(f"{path}: this normalisation of text is not known; known is NFC")


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
    if content["model"].get("ignore_merges"):
        raise TokenizerError(f"{path}: byte fallback with ignore_merges is not known")
    return BaseVocabulary(
        model="llama",
        pre="default",
        tokens=_by_number(vocabulary, _scores(path, vocabulary, merges)),
        merges=(),
        add_space_prefix=has_space_prefix(path, content),
        normalizer=None,
    )


def has_space_prefix(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json with byte fallback puts a space before a text.

    Metaspace does so only if there is none yet, llama.cpp always: for the same ids
    of a text that begins with a space, give llama.cpp the text without it.

    Raises TokenizerError for what llama.cpp would cut up otherwise.
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
        f"{path}: this way of writing spaces (normalizer, pre_tokenizer) is not known; "
        "known are those of Llama and Mistral"
    )


def _scores(
    path: Path, vocabulary: Mapping[str, int], merges: Sequence[Merge]
) -> Mapping[str, float]:
    """Each merged token's score: minus the place of its first merge.

    llama.cpp joins two neighbours whenever their text is a token, best score
    first. That equals the list of merges if every pair that spells a token is
    in it, and the pairs that spell one token stand together.
    """
    ranks: dict[str, list[int]] = defaultdict(list)
    for rank, (left, right) in enumerate(merges):
        ranks[left + right].append(rank)
    for token, places in ranks.items():
        if token not in vocabulary:
            raise FormatError(f"{path}: a merge makes {token!r}, which is not a token")
        if places[-1] - places[0] != len(places) - 1:
            raise _inexpressible(path, token)
    reachable = ranks.keys() | {text for text in vocabulary if len(text) == 1}
    listed = set(merges)
    for token in vocabulary:
        for cut in range(1, len(token)):
            pair = token[:cut], token[cut:]
            if reachable.issuperset(pair) and pair not in listed:
                raise _inexpressible(path, token)
    return {token: -float(places[0] + 1) for token, places in ranks.items()}


def _inexpressible(path: Path, token: str) -> TokenizerError:
    return TokenizerError(
        f"{path}: the merges that make {token!r} cannot be put into an order of tokens, "
        "as llama.cpp needs; add the tokenizer.model it was made from"
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
