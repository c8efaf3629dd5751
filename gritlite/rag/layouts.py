"""The layouts of a prompt: what the model reads, and what it continues from without reading.

The paper's six by their names (arXiv 2402.09906, section 4.3 and appendix; the wordings
are those of rag/eval.py in the official repository), and one more:

    query-then-document   everything is read, the question first
    document-then-query   everything is read, the passages first
    query                 from the state of the question's embedding pass; reads the passages
    doc                   from the states of the passages' embedding passes; reads the question
    query-doc             from both, the question's state first
    doc-query             from both, the passages' states first
    exact                 from causal states of the passages, as the start of the user's message;
                          reads the question

For one passage, `exact` answers as `document-then-query` does. When states are joined, no
passage has seen another, except for the tokens that are recomputed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from gritlite.prompt import (
    BEHIND_TEXT,
    CACHED_QUESTION,
    DOCUMENTS_BEHIND,
    QUESTION_BEHIND,
    QUESTION_FIELD,
    question_after,
)

if TYPE_CHECKING:  # the command line's help imports this module, and must not wait for numpy
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
LayoutChoice = Layout | Literal["auto"]  # auto: the cheapest of those that answer equally well
StateKind = Literal["doc", "exact"]  # from an embedding pass, or causal as a message's start
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
STATELESS: tuple[Layout, ...] = ("query-then-document", "document-then-query")
AUTO: Literal["auto"] = "auto"


def state_kind(layout: Layout) -> StateKind | None:
    """The kind of passage states that a layout uses, None if it uses none."""
    if layout == "exact":
        return "exact"
    return "doc" if layout in ("doc", "query-doc", "doc-query") else None


@dataclass(frozen=True)
class Prompt:
    """The arguments of `GritLM.chat`: the user's message, the state before it, its wording."""

    content: str
    document: "State | None"
    wording: str


@dataclass(frozen=True)
class PromptParts:
    """What a prompt is made of.

    `passages` are texts as they were embedded. `states` returns the passages' states of a
    kind, `query_state` is the question's, and `join` joins states into one.
    """

    question: str
    passages: Sequence[str]
    states: "Callable[[StateKind], list[DocumentState]]"
    query_state: "DocumentState"
    join: "Callable[[Sequence[DocumentState]], State]"


def prompt(layout: Layout, parts: PromptParts) -> Prompt:
    """The prompt of a layout. Asks only for the states that the layout uses."""
    question, texts = parts.question, BEHIND_TEXT.join(parts.passages)
    if layout == "document-then-query":
        return Prompt(question_after(parts.passages, question), None, QUESTION_FIELD)
    if layout == "query-then-document":
        content = BEHIND_TEXT.join((question, texts, DOCUMENTS_BEHIND))
        return Prompt(content, None, QUESTION_FIELD)
    if layout == "query":
        content = BEHIND_TEXT.join((texts, DOCUMENTS_BEHIND))
        return Prompt(content, parts.query_state, QUESTION_FIELD)
    if layout == "query-doc":
        states = [parts.query_state, *parts.states("doc")]
        return Prompt(DOCUMENTS_BEHIND, parts.join(states), QUESTION_FIELD)
    if layout == "doc-query":
        states = [*parts.states("doc"), parts.query_state]
        return Prompt(QUESTION_BEHIND, parts.join(states), QUESTION_FIELD)
    kind: StateKind = "exact" if layout == "exact" else "doc"
    return Prompt(question, parts.join(parts.states(kind)), CACHED_QUESTION)
