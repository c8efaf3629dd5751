"""The states of an answer's passages: loaded from the store, or computed."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from gritlite.rag.cost_model import CostModel
from gritlite.rag.layouts import StateKind
from gritlite.rag.search import Passage
from gritlite.rag.states import States
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.state import DocumentState


class StateSource:
    """Loads the states of passages, and computes and stores those that are missing.

    `loaded` and `computed` count them, and `cost_model` records the time they take. `lock`
    is held while the store is used, not while a state is computed.
    """

    def __init__(
        self,
        model: AnyModel,
        states: States | None,
        cost_model: CostModel,
        lock: AbstractContextManager[object],
        passages: Sequence[Passage],
    ) -> None:
        self.loaded = self.computed = 0
        self._model = model
        self._states = states
        self._cost_model = cost_model
        self._lock = lock
        self._passages = passages

    def states(self, kind: StateKind) -> list[DocumentState]:
        """The states of a kind, in the order of the passages."""
        return [self._state(passage, kind) for passage in self._passages]

    def _state(self, passage: Passage, kind: StateKind) -> DocumentState:
        state = self._load(passage, kind)
        if state is not None:
            self.loaded += 1
            return state
        self.computed += 1
        return self._compute(passage, kind)

    def _load(self, passage: Passage, kind: StateKind) -> DocumentState | None:
        if self._states is None:
            return None
        with self._lock:
            start = time.perf_counter()
            state = self._states.load(passage.chunk, kind, passage.embedded)
            if state is not None:
                self._cost_model.record("load", state.tokens, time.perf_counter() - start)
        return state

    def _compute(self, passage: Passage, kind: StateKind) -> DocumentState:
        compute = self._model.prefix_state if kind == "exact" else self._model.document_state
        start, evaluated_before = time.perf_counter(), self._model.evaluated
        state = compute(passage.embedded)
        seconds = time.perf_counter() - start
        evaluated = self._model.evaluated - evaluated_before
        with self._lock:
            if kind == "exact":
                self._cost_model.record("read", evaluated, seconds)
            if self._states is not None:
                self._states.store(passage.chunk, kind, state)
        return state
