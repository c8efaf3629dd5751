"""Where the states of an answer's passages come from: the store, or a pass."""

import time
from contextlib import AbstractContextManager

from gritlite.rag.cost_model import CostModel
from gritlite.rag.layouts import StateKind
from gritlite.rag.search import Passage
from gritlite.rag.states import States
from gritlite.runtime.model import GritLM
from gritlite.runtime.state import DocumentState


class StateSource:
    """The states of passages, loaded where they are stored and computed where not.

    `turn` is held while the store is used; `loaded` and `computed` count. What they take
    goes into `costs`.
    """

    def __init__(
        self,
        model: GritLM,
        states: States | None,
        costs: CostModel,
        turn: AbstractContextManager[object],
        passages: list[Passage],
    ) -> None:
        self.loaded = self.computed = 0
        self._model = model
        self._states = states
        self._costs = costs
        self._turn = turn
        self._passages = passages

    def states(self, kind: StateKind) -> list[DocumentState]:
        """Those of a kind, in the passages' order."""
        return [self._state(passage, kind) for passage in self._passages]

    def _state(self, passage: Passage, kind: StateKind) -> DocumentState:
        if self._states is not None:
            with self._turn:
                begun = time.perf_counter()
                stored = self._states.load(passage.chunk, kind, passage.embedded)
                if stored is not None:
                    self._costs.note("load", stored.tokens, time.perf_counter() - begun)
            if stored is not None:
                self.loaded += 1
                return stored
        self.computed += 1
        compute = self._model.prefix_state if kind == "exact" else self._model.document_state
        begun, before = time.perf_counter(), self._model.evaluated
        state = compute(passage.embedded)
        spent, read = time.perf_counter() - begun, self._model.evaluated - before
        with self._turn:
            if kind == "exact":
                self._costs.note("read", read, spent)
            if self._states is not None:
                self._states.keep(passage.chunk, kind, state)
        return state
