"""The layouts of an answer: what the model reads, and what it goes on from without reading.

The paper's six by their names (arXiv 2402.09906, section 4.3 and appendix; the
wordings are those of rag/eval.py in the official repository), and one more:

    query-then-document   all is read, the question first
    document-then-query   all is read, the passages first
    query                 from the state of the question's embedding pass, the passages are read
    doc                   from the states of the passages' embedding passes, the question is read
    query-doc             from both, the question's first
    doc-query             from both, the passages' first
    exact                 from the causal states of the passages as they open the user's message

`exact` answers as `document-then-query` does for one passage. Of several joined
passages none has seen another in any layout that uses their states, but for the tokens
that are read anew when they are joined.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gritlite.prompt import (
    BEHIND_TEXT,
    CACHED_QUESTION,
    DOCUMENTS_BEHIND,
    QUESTION_BEHIND,
    QUESTION_FIELD,
    cached_question,
)
from gritlite.runtime.state import DocumentState, State

Layout = Literal[
    "query-then-document",
    "document-then-query",
    "query",
    "doc",
    "query-doc",
    "doc-query",
    "exact",
]
LayoutChoice = Layout | Literal["auto"]  # one of them, or the cheapest that answers as well
StateKind = Literal["doc", "exact"]  # of a passage's state: of its embedding pass, or as an opening
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
READ: tuple[Layout, ...] = ("query-then-document", "document-then-query")  # without states
AUTO: Literal["auto"] = "auto"


def state_kind(layout: Layout) -> StateKind | None:
    """The kind of passages' states that a layout uses, None if it uses none."""
    if layout == "exact":
        return "exact"
    return "doc" if layout in ("doc", "query-doc", "doc-query") else None


@dataclass(frozen=True)
class Prompt:
    """What is given to `GritLM.chat`."""

    content: str
    document: State | None
    wording: str


@dataclass(frozen=True)
class Sources:
    """Where the parts of a prompt come from.

    `passages` are their texts as they were embedded; `states` gives those of a kind
    for all passages, `query_state` that of the question, `join` joins states.
    """

    question: str
    passages: Sequence[str]
    states: Callable[[StateKind], list[DocumentState]]
    query_state: DocumentState
    join: Callable[[Sequence[DocumentState]], State]


def prompt(layout: Layout, sources: Sources) -> Prompt:
    """The prompt of a layout; only the states that it needs are asked for."""
    question, texts = sources.question, BEHIND_TEXT.join(sources.passages)
    if layout == "document-then-query":
        return Prompt(f"{texts}{BEHIND_TEXT}{cached_question(question)}", None, QUESTION_FIELD)
    if layout == "query-then-document":
        content = BEHIND_TEXT.join((question, texts, DOCUMENTS_BEHIND))
        return Prompt(content, None, QUESTION_FIELD)
    if layout == "query":
        content = BEHIND_TEXT.join((texts, DOCUMENTS_BEHIND))
        return Prompt(content, sources.query_state, QUESTION_FIELD)
    if layout == "query-doc":
        states = [sources.query_state, *sources.states("doc")]
        return Prompt(DOCUMENTS_BEHIND, sources.join(states), QUESTION_FIELD)
    if layout == "doc-query":
        states = [*sources.states("doc"), sources.query_state]
        return Prompt(QUESTION_BEHIND, sources.join(states), QUESTION_FIELD)
    kind: StateKind = "exact" if layout == "exact" else "doc"
    return Prompt(question, sources.join(sources.states(kind)), CACHED_QUESTION)
