"""A grammar that the answer's text must follow, and the tokens that make no text.

llama.cpp matches a grammar with characters. It takes the name of a control token for text,
though an answer does not show it, and some byte sequences that are not UTF-8 for characters.
Such tokens are found here when they are chosen.
"""

import codecs
import ctypes
from functools import partial
from typing import Any

from gritlite.errors import UsageError
from gritlite.runtime.llama.library import C, clear_messages, last_message
from gritlite.runtime.llama.vocabulary import LlamaVocabulary
from gritlite.runtime.llama.weights import Weights


class Constraint:
    """A grammar and the text that was accepted so far. Close or drop it after use.

    Raises UsageError for a grammar that llama.cpp rejects.
    """

    def __init__(self, weights: Weights, vocabulary: LlamaVocabulary, grammar: str) -> None:
        clear_messages()
        with weights.vocabulary() as vocab:
            self._sampler = C.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
        if not self._sampler:
            raise UsageError(f"the grammar is not valid GBNF with a rule 'root': {last_message()}")
        self._free = weights.memory.free_with(self, partial(C.llama_sampler_free, self._sampler))
        self._weights = weights
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def apply(self, candidates: Any) -> None:
        """Set the logits of the tokens that the grammar rejects to minus infinity."""
        C.llama_sampler_apply(self._sampler, ctypes.byref(candidates))

    def makes_text(self, token: int) -> bool:
        """Return whether a token adds bytes that continue UTF-8, or ends the answer.

        An end token that llama.cpp does not know is text to the grammar, and would end the
        answer anywhere; llama.cpp's own are allowed where the grammar is complete.
        """
        if self._vocabulary.is_end(token):
            with self._weights.vocabulary() as vocab:
                return bool(C.llama_vocab_is_eog(vocab, token))
        before = self._decoder.getstate()
        piece = self._vocabulary.piece(token)
        try:
            self._decoder.decode(piece)
        except UnicodeDecodeError:
            return False
        finally:
            self._decoder.setstate(before)
        return bool(piece)

    def accept(self, token: int) -> None:
        """Remember a chosen token."""
        C.llama_sampler_accept(self._sampler, token)
        self._decoder.decode(self._vocabulary.piece(token))

    def close(self) -> None:
        """Free the grammar."""
        self._sampler = None
        self._free()
