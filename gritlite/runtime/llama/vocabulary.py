"""The vocabulary of a loaded GGUF file: text to token ids and back.

The tokenizer functions of llama.cpp are thread-safe. Nothing here evaluates tokens.
"""

import ctypes
import unicodedata
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import InputError, TokenizerError
from gritlite.prompt import NORMALIZER_KEY, check_normalizer
from gritlite.runtime.engine import Tokens
from gritlite.runtime.llama.library import C
from gritlite.runtime.llama.weights import Weights


class LlamaVocabulary:
    """The vocabulary of `weights`, as an engine's `Vocabulary`. Thread-safe.

    `end_tokens` end an answer beside those that llama.cpp knows to.

    Raises FormatError for a file with an unknown Unicode form.
    """

    def __init__(self, weights: Weights, end_tokens: Iterable[int] = ()) -> None:
        self._weights = weights
        self._end_tokens = frozenset(end_tokens)
        with weights.vocabulary() as vocab:
            self.size: int = C.llama_vocab_n_tokens(vocab)
            self.bos: int = C.llama_vocab_bos(vocab)
            self.eos: int = C.llama_vocab_eos(vocab)
            self.adds_bos: bool = C.llama_vocab_get_add_bos(vocab) and self.bos >= 0
            self.adds_eos: bool = C.llama_vocab_get_add_eos(vocab) and self.eos >= 0
        self._normalizer = check_normalizer(weights.metadata(NORMALIZER_KEY))

    def normalize(self, text: str) -> str:
        """Return the text in the vocabulary's Unicode form, which `tokenize` uses."""
        return text if self._normalizer is None else unicodedata.normalize(self._normalizer, text)

    def tokenize(self, text: str, *, parse_control: bool) -> Tokens:
        """Return the token ids of `text`, int32 [n], without BOS.

        With `parse_control`, text such as `<s>` becomes a control token. Raises InputError
        for half of a surrogate pair.
        """
        data = _utf8(self.normalize(text))
        size = len(data) + 2
        while True:
            buffer = np.empty(size, np.int32)
            pointer = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
            with self._weights.vocabulary() as vocab:
                count = C.llama_tokenize(
                    vocab, data, len(data), pointer, size, False, parse_control
                )
            if count >= 0:
                return buffer[:count].copy()
            if -count <= size:
                raise TokenizerError(f"llama.cpp cannot tokenize a text of {len(data)} bytes")
            size = -count  # more tokens than bytes: a prefix space that falls back to bytes

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes of a token; empty for a control token unless `special`."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            with self._weights.vocabulary() as vocab:
                count: int = C.llama_token_to_piece(vocab, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def is_end(self, token: int) -> bool:
        """Return whether a token ends an answer (EOS, end of turn, ...)."""
        with self._weights.vocabulary() as vocab:
            return token in self._end_tokens or bool(C.llama_vocab_is_eog(vocab, token))

    @cached_property
    def control(self) -> NDArray[np.bool_]:
        """Which tokens are control tokens, bool [n_vocab]."""
        ids = range(self.size)
        with self._weights.vocabulary() as vocab:
            return np.fromiter((C.llama_vocab_is_control(vocab, i) for i in ids), np.bool_)

    def token_text(self, token: int) -> str:
        """Return the text of a token, control tokens included; empty for id -1."""
        return self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{text[error.start]!a} in it is half of a surrogate pair, which is not a "
            "character: remove it"
        ) from error
