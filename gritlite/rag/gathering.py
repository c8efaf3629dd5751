"""Where the states of an answer's passages come from: the store, or a pass."""

from contextlib import AbstractContextManager

from gritlite.rag.layouts import Kind
from gritlite.rag.searching import Passage
from gritlite.rag.states import States
from gritlite.runtime.document import DocumentState
from gritlite.runtime.model import GritLM


class Gathering:
    """The states of passages, loaded where they are stored and computed where not.

    `turn` is held while the store is used; `loaded` and `computed` count.
    """

    def __init__(
        self,
        model: GritLM,
        states: States | None,
        turn: AbstractContextManager[object],
        passages: list[Passage],
    ) -> None:
        self.loaded = self.computed = 0
        self._model = model
        self._states = states
        self._turn = turn
        self._passages = passages

    def states(self, kind: Kind) -> list[DocumentState]:
        """Those of a kind, in the passages' order."""
        return [self._state(passage, kind) for passage in self._passages]

    def _state(self, passage: Passage, kind: Kind) -> DocumentState:
        if self._states is not None:
            with self._turn:
                stored = self._states.load(passage.chunk, kind, passage.embedded)
            if stored is not None:
                self.loaded += 1
                return stored
        self.computed += 1
        compute = self._model.opening_state if kind == "exact" else self._model.document_state
        state = compute(passage.embedded)
        if self._states is not None:
            with self._turn:
                self._states.keep(passage.chunk, kind, state)
        return state
