"""Check that the vocabulary of a GGUF file is complete and consistent.

Each rule prevents an assertion of llama.cpp's src/llama-vocab.cpp, which would end the
process, or text that becomes control tokens. Tokenizers other than SentencePiece's and
byte-level BPE get only the checks that hold for every vocabulary.
"""

import re

import numpy as np

from gritlite.modelfile.failure import fail_tokenizer
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import TOKENS_KEY

NO_TOKEN = 0xFFFFFFFF
CONTROL_TOKEN, BYTE_TOKEN = 3, 6  # enum llama_token_type
SPECIAL_TOKENS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")
REQUIRED_SPECIAL = ("bos", "eos")


def check_vocabulary(file: GGUFFile) -> None:
    """Raise TokenizerError if the vocabulary cannot be used."""
    tokens = file.metadata.get(TOKENS_KEY)
    tokenizer = file.metadata.get("tokenizer.ggml.model")
    if not isinstance(tokens, list) or not tokens or not isinstance(tokenizer, str):
        fail_tokenizer(file, "it has no vocabulary")
    _check_token_arrays(file, len(tokens))
    _check_special_tokens(file, len(tokens))
    _check_distinct(file, tokens)
    if tokenizer in ("llama", "gpt2"):
        _check_plain(file, tokens)
    if tokenizer == "llama":
        _check_bytes(file, tokens)
    if tokenizer == "gpt2" and not isinstance(file.metadata.get("tokenizer.ggml.merges"), list):
        fail_tokenizer(file, "its byte-level BPE vocabulary has no merges")
    for tensor in file.tensors:
        if tensor.name == "token_embd.weight" and tensor.shape[0] != len(tokens):
            fail_tokenizer(
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
            fail_tokenizer(file, f"{key} is of type {kind}, not {kinds[0]}")
        if len(value) != count:
            fail_tokenizer(file, f"{key} has {len(value):,} items for {count:,} tokens")


def _check_special_tokens(file: GGUFFile, count: int) -> None:
    for name in SPECIAL_TOKENS:
        key = f"tokenizer.ggml.{name}_token_id"
        value = file.metadata.get(key)
        if value is None:
            continue
        if not isinstance(value, int):
            fail_tokenizer(file, f"{key} is of type {file.entries[key].type}, not u32")
        if value == NO_TOKEN and name not in REQUIRED_SPECIAL:
            continue
        if not 0 <= value < count:
            fail_tokenizer(file, f"{key} is {value!r}, outside its {count:,} tokens")


def _check_distinct(file: GGUFFile, tokens: list[str]) -> None:
    """Check that no two tokens are equal; llama.cpp asserts it.

    It cuts a token's text at a zero byte, and gives empty tokens a name.
    """
    seen: dict[str, int] = {}
    for number, token in enumerate(tokens):
        text = token.partition("\0")[0] or f"[EMPTY_{number}]"
        other = seen.setdefault(text, number)
        if other != number:
            fail_tokenizer(file, f"its tokens {other:,} and {number:,} are both {text!r}")


def _check_plain(file: GGUFFile, tokens: list[str]) -> None:
    """Check that text can be written without control tokens, at least byte by byte."""
    kinds = file.metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, np.ndarray):
        return
    for number in np.flatnonzero(kinds == CONTROL_TOKEN):
        if len(tokens[number]) == 1 or re.fullmatch("<0x[0-9A-F]{2}>", tokens[number]):
            fail_tokenizer(
                file, f"its token {number:,} for {tokens[number]!r} is marked as a control token"
            )


def _check_bytes(file: GGUFFile, tokens: list[str]) -> None:
    """Check that a SentencePiece vocabulary has every byte: llama.cpp dies on one that lacks it."""
    known = set(tokens)
    for byte in range(256):
        raw = bytes([byte]).decode("utf-8", "surrogateescape") if byte else ""
        if f"<0x{byte:02X}>" not in known and (not raw or raw not in known):
            fail_tokenizer(file, f"its vocabulary has no token for the byte <0x{byte:02X}>")
    kinds = file.metadata.get("tokenizer.ggml.token_type")
    if isinstance(kinds, np.ndarray):
        for number in np.flatnonzero(kinds == BYTE_TOKEN):
            if len(tokens[number].encode("utf-8", "surrogateescape")) < 3:
                fail_tokenizer(file, f"its byte token {number:,} is {tokens[number]!r}, not <0x..>")
