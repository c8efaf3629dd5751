"""An answer from a store, step by step: question, passages, states, prompt, answer.

Knows neither files nor tables: passages come from a `Retriever`, states from a
`StateSource`, and the wording of a prompt is known to `layouts`.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from gritlite.errors import UsageError
from gritlite.prompt import QUESTION_FIELD, check_wording
from gritlite.rag import layouts
from gritlite.rag.answer import StoreAnswer, Timings
from gritlite.rag.cost_model import CostModel, cheapest
from gritlite.rag.layouts import AUTO, LAYOUTS, STATELESS, Layout, LayoutChoice, Prompt, PromptParts
from gritlite.rag.retrieval import Query, Retriever
from gritlite.rag.search import Passage
from gritlite.rag.state_source import StateSource
from gritlite.rag.states import States
from gritlite.runtime.answer import Answer
from gritlite.runtime.embed import Vectors
from gritlite.runtime.model import GritLM
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.state import DocumentState
from gritlite.runtime.template import Message


@dataclass(frozen=True)
class Question:
    """A question and how to answer it; `Store.ask` describes the fields.

    Raises UsageError for a field that cannot be right.
    """

    query: Query
    history: Sequence[Message]
    layout: LayoutChoice
    recompute: int
    wording: str

    def __post_init__(self) -> None:
        if self.layout not in (*LAYOUTS, AUTO):
            raise UsageError(f"layout is {self.layout!r}: expected {AUTO} or {', '.join(LAYOUTS)}")
        if self.history and self.layout not in (AUTO, *STATELESS):
            raise UsageError(
                f"the layout {self.layout} cannot follow earlier messages of a chat: use one of "
                f"{', '.join(STATELESS)}"
            )
        if self.recompute < 0:
            raise UsageError(f"recompute is {self.recompute}: expected 0 tokens or more")
        check_wording(self.wording)


class Pipeline:
    """Answers questions from one store. Thread-safe: it holds `lock` while it uses the store."""

    def __init__(
        self,
        model: GritLM,
        retriever: Retriever,
        states: States | None,
        cost_model: CostModel,
        lock: AbstractContextManager[object],
    ) -> None:
        self._model = model
        self._retriever = retriever
        self._states = states
        self._cost_model = cost_model
        self._lock = lock

    def answer(self, question: Question, options: ChatOptions) -> StoreAnswer | None:
        """Begin an answer; None where no passage is found. `options` are those of `chat`."""
        started = time.perf_counter()
        vector, query_state = self._embed(question.query)
        passages = self._retriever.find(question.query, vector)
        if not passages:
            return None
        found = time.perf_counter() - started
        in_order = passages[::-1]  # models heed most what they read last: the best passage
        layout = self._layout(question, in_order)
        states = StateSource(self._model, self._states, self._cost_model, self._lock, in_order)
        prompt = self._prompt(question, layout, in_order, states, query_state)
        answer = self._begin(question, prompt, options)
        return StoreAnswer(
            answer,
            passages,
            layout,
            started=started,
            timings=Timings(found, time.perf_counter() - started),
            states_loaded=states.loaded,
            states_computed=states.computed,
        )

    def _embed(self, query: Query) -> tuple[Vectors, DocumentState]:
        """The vector [d] and the state of a query, from one pass."""
        states: list[DocumentState] = []
        prompt = self._model.format.with_instruction(query.instruction)
        (vectors,) = self._model.encode_stream(
            [query.text], instruction=prompt, keep=lambda _, state: states.append(state)
        )
        return vectors[0], states[0]

    def _layout(self, question: Question, passages: Sequence[Passage]) -> Layout:
        """The layout of the question; for "auto" the cheapest, or the only one after a chat."""
        if question.layout != AUTO:
            return question.layout
        if question.history or self._states is None:
            return "document-then-query"
        with self._lock:
            costs = [
                (
                    len(self._model.tokenize(passage.embedded)),
                    self._states.files.has(passage.chunk, "exact"),
                )
                for passage in passages
            ]
            return cheapest(self._cost_model, costs, question.recompute)

    def _prompt(
        self,
        question: Question,
        layout: Layout,
        passages: Sequence[Passage],
        states: StateSource,
        query_state: DocumentState,
    ) -> Prompt:
        parts = PromptParts(
            question=question.wording.replace(QUESTION_FIELD, question.query.text),
            passages=[passage.embedded for passage in passages],
            states=states.states,
            query_state=query_state,
            join=partial(self._model.join_states, recompute=question.recompute),
        )
        return layouts.prompt(layout, parts)

    def _begin(self, question: Question, prompt: Prompt, options: ChatOptions) -> Answer:
        """Begin to generate; the likeliest token is taken unless `options` say otherwise."""
        chosen: ChatOptions = {"temperature": 0, **options}
        return self._model.chat(
            [*question.history, {"role": "user", "content": prompt.content}],
            stream=True,
            document=prompt.document,
            wording=prompt.wording,
            **chosen,
        )
