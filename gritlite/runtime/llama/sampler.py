"""Sampling: chooses the next token from logits with llama.cpp's samplers.

They run in the order of llama.cpp's tools: grammar, penalties, top-k, top-p, min-p,
temperature, then a draw from a seeded distribution. At temperature 0 the most likely token
is chosen.
"""

import ctypes
from collections.abc import Iterable
from functools import partial

import numpy as np

from gritlite.errors import UsageError
from gritlite.runtime.engine import Logits
from gritlite.runtime.llama.library import C, clear_messages, last_message
from gritlite.runtime.llama.weights import Weights
from gritlite.runtime.options import SamplingOptions

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
PENALTY_WINDOW = 64  # tokens that the repeat penalty considers, llama.cpp's default


class LlamaSampler:
    """A chain of samplers that remembers the tokens it has seen. Close or drop it after use."""

    def __init__(self, weights: Weights, options: SamplingOptions, seen: Iterable[int]) -> None:
        self._grammar = None if options.grammar is None else _grammar(weights, options.grammar)
        self._chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        samplers = [each for each in (self._chain, self._grammar) if each]
        self._free = weights.memory.free_with(self, partial(_free_all, samplers))
        if options.repeat_penalty != 1.0:
            self._add(_penalties(weights, options.repeat_penalty, seen))
        if options.temperature == 0.0:
            self._add(C.llama_sampler_init_greedy())
            return
        if options.top_k:
            self._add(C.llama_sampler_init_top_k(options.top_k))
        if options.top_p < 1.0:
            self._add(C.llama_sampler_init_top_p(options.top_p, 1))
        if options.min_p > 0.0:
            self._add(C.llama_sampler_init_min_p(options.min_p, 1))
        self._add(C.llama_sampler_init_temp(options.temperature))
        self._add(C.llama_sampler_init_dist(options.seed))

    def _add(self, sampler: ctypes.c_void_p) -> None:
        C.llama_sampler_chain_add(self._chain, sampler)

    def choose(self, logits: Logits) -> int:
        """Return a token chosen by logits, float32 [n_vocab], and remember it.

        Works like llama_sampler_sample, except when a grammar allows no token: llama.cpp
        would end the process, this raises UsageError.
        """
        candidates = np.zeros(len(logits), _CANDIDATE)
        candidates["id"], candidates["logit"] = np.arange(len(logits)), logits
        pointer = candidates.ctypes.data_as(C.llama_token_data_p)
        array = C.llama_token_data_array(pointer, len(logits), -1, False)
        if self._grammar is not None:
            C.llama_sampler_apply(self._grammar, ctypes.byref(array))
            if not np.isfinite(candidates["logit"]).any():
                raise UsageError("the grammar reached a dead end: it allows no further token")
        C.llama_sampler_apply(self._chain, ctypes.byref(array))
        token = int(array.data[array.selected].id)
        for sampler in filter(None, (self._grammar, self._chain)):
            C.llama_sampler_accept(sampler, token)
        return token

    def close(self) -> None:
        """Free the chain."""
        self._chain = self._grammar = None
        self._free()


def _free_all(samplers: Iterable[ctypes.c_void_p]) -> None:
    for sampler in samplers:
        C.llama_sampler_free(sampler)


def _penalties(weights: Weights, penalty: float, seen: Iterable[int]) -> ctypes.c_void_p:
    sampler = C.llama_sampler_init_penalties(weights.n_vocab, PENALTY_WINDOW, penalty, 0.0, 0.0)
    for token in list(seen)[-PENALTY_WINDOW:]:
        C.llama_sampler_accept(sampler, token)
    return sampler  # type: ignore[no-any-return]


def _grammar(weights: Weights, grammar: str) -> ctypes.c_void_p:
    clear_messages()
    with weights.vocabulary() as vocab:
        sampler = C.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
    if not sampler:
        raise UsageError(f"the grammar is not valid GBNF with a rule 'root': {last_message()}")
    return sampler  # type: ignore[no-any-return]
