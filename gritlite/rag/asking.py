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
from gritlite.prompt import BEHIND_TEXT, QUESTION_FIELD, check_wording
from gritlite.rag import layouts
from gritlite.rag.answer import NoAnswer, StoreAnswer, Timings
from gritlite.rag.cost_model import CostModel, cheapest
from gritlite.rag.layouts import AUTO, LAYOUTS, STATELESS, Layout, LayoutChoice, Prompt, PromptParts
from gritlite.rag.retrieval import Query, Retriever, of_the_query
from gritlite.rag.search import Passage
from gritlite.rag.state_source import StateSource
from gritlite.rag.states import States
from gritlite.runtime.any_model import AnyAnswer, AnyModel
from gritlite.runtime.embed import Vectors
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.state import DocumentState
from gritlite.runtime.template import Message

# of an answer, unless the caller says otherwise
ANSWER_DEFAULTS: ChatOptions = {"temperature": 0, "max_tokens": 512, "stop_loops": True}


@dataclass(frozen=True)
class Question:
    """A question and how to answer it; `Store.ask` describes the fields.

    Raises UsageError for a field that cannot be right.
    """

    query: Query
    history: Sequence[Message]
    layout: LayoutChoice
    recompute: int | None
    wording: str

    def __post_init__(self) -> None:
        if self.layout not in (*LAYOUTS, AUTO):
            raise UsageError(f"layout is {self.layout!r}: expected {AUTO} or {', '.join(LAYOUTS)}")
        if self.history and self.layout not in (AUTO, *STATELESS):
            raise UsageError(
                f"the layout {self.layout} cannot follow earlier messages of a chat: use one of "
                f"{', '.join(STATELESS)}"
            )
        if self.recompute is not None and self.recompute < 0:
            raise UsageError(f"recompute is {self.recompute}: expected 0 tokens or more")
        check_wording(self.wording)


class Pipeline:
    """Answers questions from one store. Thread-safe: it holds `lock` while it uses the store."""

    def __init__(
        self,
        model: AnyModel,
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
        found = self._retriever.find(question.query, vector)
        searched = time.perf_counter() - started
        if found.best_score is None and question.query.finds_all:
            return None  # the store has no documents
        in_order = found.passages[::-1]  # models heed most what they read last: the best passage
        layout = self._layout(question, in_order)
        cached, read = _split(question, layout, in_order)
        states = StateSource(self._model, self._states, self._cost_model, self._lock, cached)
        answer: AnyAnswer | NoAnswer = NoAnswer()
        if in_order:
            prompt = self._prompt(question, layout, cached, read, states, query_state)
            answer = self._begin(question, prompt, options)
        return StoreAnswer(
            answer,
            found.passages,
            layout,
            best_score=found.best_score,
            started=started,
            timings=Timings(searched, time.perf_counter() - started),
            states_loaded=states.loaded,
            states_computed=states.computed,
        )

    def _embed(self, query: Query) -> tuple[Vectors, DocumentState]:
        """The vector [d] and the state of a query, from one pass."""
        states: list[DocumentState] = []
        prompt = self._model.format.with_instruction(query.instruction)
        stream = self._model.encode_stream(
            [query.text], instruction=prompt, keep=lambda _, state: states.append(state)
        )
        (vectors,) = of_the_query(lambda: [*stream])
        return vectors[0], states[0]

    def _layout(self, question: Question, passages: Sequence[Passage]) -> Layout:
        """The layout of the question; for "auto" the cheapest, or the only one after a chat."""
        if question.layout != AUTO:
            return question.layout
        if question.history or self._states is None or not passages:
            return "document-then-query"
        if question.recompute is None:
            passages = passages[:1]  # the others are read either way
        with self._lock:
            costs = [
                (
                    len(self._model.tokenize(passage.embedded)),
                    self._states.files.has(passage.chunk, "exact"),
                )
                for passage in passages
            ]
            return cheapest(self._cost_model, costs, question.recompute or 0)

    def _prompt(
        self,
        question: Question,
        layout: Layout,
        cached: Sequence[Passage],
        read: Sequence[Passage],
        states: StateSource,
        query_state: DocumentState,
    ) -> Prompt:
        asked = question.wording.replace(QUESTION_FIELD, question.query.text)
        parts = PromptParts(
            question=BEHIND_TEXT.join([*(passage.embedded for passage in read), asked]),
            passages=[passage.embedded for passage in cached],
            states=states.states,
            query_state=query_state,
            join=partial(self._model.join_states, recompute=question.recompute or 0),
        )
        return layouts.prompt(layout, parts)

    def _begin(self, question: Question, prompt: Prompt, options: ChatOptions) -> AnyAnswer:
        """Begin to generate, with the options' defaults that suit questions."""
        chosen: ChatOptions = {**ANSWER_DEFAULTS, **options}
        return self._model.chat(
            [*question.history, {"role": "user", "content": prompt.content}],
            stream=True,
            document=prompt.document,
            wording=prompt.wording,
            **chosen,
        )


def _split(
    question: Question, layout: Layout, passages: Sequence[Passage]
) -> tuple[Sequence[Passage], Sequence[Passage]]:
    """The passages that the layout treats as documents, and those that are read with the question.

    Joined states answer worse than passages that are read one after another, so for "auto"
    only the first passage comes from its state, unless the caller wants states joined.
    """
    if question.layout == AUTO and layout == "exact" and question.recompute is None:
        return passages[:1], passages[1:]
    return passages, ()
