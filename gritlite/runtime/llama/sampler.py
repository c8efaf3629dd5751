"""Sampling: chooses the next token from logits with llama.cpp's samplers.

They run in the order of llama.cpp's tools: grammar, biases, penalties, top-k, top-p, min-p,
temperature, then a draw from a seeded distribution. At temperature 0 the most likely token
is chosen. The repeat penalty considers the last tokens of prompt and answer, as llama.cpp's does;
the frequency and presence penalties consider the whole answer and no prompt, as OpenAI's do.
"""

import ctypes
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import UsageError
from gritlite.runtime.engine import Logits
from gritlite.runtime.llama.constraint import Constraint
from gritlite.runtime.llama.library import C
from gritlite.runtime.llama.vocabulary import LlamaVocabulary
from gritlite.runtime.llama.weights import Weights
from gritlite.runtime.options import SamplingOptions

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
PENALTY_WINDOW = 64  # tokens that the repeat penalty considers, llama.cpp's default
_NO_PENALTY = 1.0  # of llama.cpp's repeat penalty


class LlamaSampler:
    """A chain of samplers that remembers the tokens it has seen. Close or drop it after use."""

    def __init__(
        self,
        weights: Weights,
        vocabulary: LlamaVocabulary,
        options: SamplingOptions,
        seen: Iterable[int],
    ) -> None:
        grammar = options.grammar
        self._constraint = None if grammar is None else Constraint(weights, vocabulary, grammar)
        self._chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        self._free = weights.memory.free_with(self, partial(C.llama_sampler_free, self._chain))
        if options.logit_bias:
            self._add(_biases(weights.n_vocab, options.logit_bias))
        if options.repeat_penalty != _NO_PENALTY:
            self._add(_repeat_penalty(weights.n_vocab, options.repeat_penalty, seen))
        if options.frequency_penalty or options.presence_penalty:
            self._add(_penalties(weights, options.frequency_penalty, options.presence_penalty))
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
        if self._constraint is None:
            token = self._draw(logits)
        else:
            token = self._draw_text(logits, self._constraint)
            self._constraint.accept(token)
        C.llama_sampler_accept(self._chain, token)
        return token

    def _draw_text(self, logits: Logits, constraint: Constraint) -> int:
        """Return a token that the grammar allows and that makes text."""
        candidates, array = _candidates(logits)
        constraint.apply(array)
        allowed = candidates["logit"].copy()
        while np.isfinite(allowed).any():
            token = self._draw(allowed)
            if constraint.makes_text(token):
                return token
            allowed[token] = -np.inf
        raise UsageError("the grammar reached a dead end: it allows no further token")

    def _draw(self, logits: Logits) -> int:
        _, array = _candidates(logits)
        C.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def close(self) -> None:
        """Free the chain."""
        if self._constraint is not None:
            self._constraint.close()
        self._chain = self._constraint = None
        self._free()


def _candidates(logits: Logits) -> tuple[NDArray[np.void], Any]:
    """Return all tokens with their logits, and the same memory as llama.cpp takes it."""
    candidates = np.zeros(len(logits), _CANDIDATE)
    candidates["id"], candidates["logit"] = np.arange(len(logits)), logits
    pointer = candidates.ctypes.data_as(C.llama_token_data_p)
    return candidates, C.llama_token_data_array(pointer, len(logits), -1, False)


def _biases(n_vocab: int, logit_bias: Mapping[int, float]) -> ctypes.c_void_p:
    for token in logit_bias:
        if not 0 <= token < n_vocab:
            problem = f"logit_bias has the token {token}: this model's ids are 0 to {n_vocab - 1}"
            raise UsageError(problem, "logit_bias")
    biases = [C.llama_logit_bias(token, bias) for token, bias in logit_bias.items()]
    array = (C.llama_logit_bias * len(biases))(*biases)
    return C.llama_sampler_init_logit_bias(n_vocab, len(biases), array)  # type: ignore[no-any-return]


def _penalties(weights: Weights, frequency: float, presence: float) -> ctypes.c_void_p:
    longest = weights.n_ctx_train  # tokens of an answer: beyond it the model knows nothing
    return C.llama_sampler_init_penalties(  # type: ignore[no-any-return]
        weights.n_vocab, longest, _NO_PENALTY, frequency, presence
    )


def _repeat_penalty(n_vocab: int, penalty: float, seen: Iterable[int]) -> ctypes.c_void_p:
    sampler = C.llama_sampler_init_penalties(n_vocab, PENALTY_WINDOW, penalty, 0.0, 0.0)
    for token in list(seen)[-PENALTY_WINDOW:]:
        C.llama_sampler_accept(sampler, token)
    return sampler  # type: ignore[no-any-return]
