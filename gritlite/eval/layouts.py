"""The paper's table: how well and how fast each layout of `ask` answers questions.

The passages of a question file are indexed into stores, one for each number format and a
chunk each, headed by the name of the file that they are written to ("passage 7"). Every question is
asked in every layout, turn about, of the passages that the store finds for it.

    exact match, F1  as `exact_match` has them
    match            whether an accepted answer's words stand in the answer (the paper's)
    TTFT             seconds from the found passages to the first piece of the answer, states
                     read from files that were just used; a question's is at hand, for it is
                     of the pass that embeds it for the search
    total            the same to the answer's end
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from gritlite.errors import FormatError
from gritlite.eval.exact_match import ASKED, MAX_TOKENS, exact_match, f1, match
from gritlite.eval.squad import Question
from gritlite.eval.task import ProgressCallback
from gritlite.rag.answer import StoreAnswer, Timings
from gritlite.rag.layouts import Layout, state_kind
from gritlite.rag.state_quantization import StateType
from gritlite.rag.store import Store
from gritlite.runtime.model import GritLM

Stores = Mapping[StateType | None, Store]  # by the type of their states


@dataclass(frozen=True)
class Variant:
    """A way to answer: a layout, and how its passages' states are kept and joined.

    `state_type` is None for a layout that uses no states.
    """

    layout: Layout
    state_type: StateType | None = None
    recompute: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one variant came to. Seconds are medians; `state_bytes` is the mean of a passage."""

    variant: Variant
    questions: int
    exact_match: float
    match: float
    f1: float
    ttft: float
    total: float
    state_bytes: float
    states_a_second: float | None


def variants(
    layouts: Sequence[Layout],
    state_types: Sequence[StateType],
    recompute: Sequence[int],
    passages: int,
) -> Iterator[Variant]:
    """Every way to answer from so many passages that differs from the others."""
    for layout in layouts:
        if state_kind(layout) is None:
            yield Variant(layout)
            continue
        joins = passages > 1 or layout in ("query-doc", "doc-query")
        for each in state_types:
            yield from (Variant(layout, each, tokens) for tokens in (recompute if joins else (0,)))


class _Tally:
    """What the answers of one variant add up to."""

    def __init__(self) -> None:
        self.matches: list[tuple[float, float, float]] = []
        self.seconds: list[tuple[float, float]] = []
        self.loaded = 0
        self.loading = 0.0

    def add(self, answer: StoreAnswer, accepted: Sequence[str]) -> None:
        self.matches.append(
            (
                max(exact_match(answer.text, each) for each in accepted),
                max(match(answer.text, each) for each in accepted),
                max(f1(answer.text, each) for each in accepted),
            )
        )
        self.seconds.append(waited(answer.timings))
        self.loaded += answer.states_loaded
        self.loading += answer.timings.prepared - answer.timings.found


@contextmanager
def indexed(
    model: GritLM, passages: Sequence[str], chosen: Sequence[Variant], progress: ProgressCallback
) -> Iterator[Stores]:
    """Stores of the different passages, in a folder that goes afterwards.

    Raises FormatError for a passage that is no text.
    """
    state_types = list(dict.fromkeys(variant.state_type for variant in chosen))
    with TemporaryDirectory() as folder, ExitStack() as stack:
        notes = Path(folder, "passages")
        notes.mkdir()
        for number, passage in enumerate(dict.fromkeys(passages), 1):
            try:
                (notes / f"passage {number}.txt").write_text(passage, "utf-8")
            except UnicodeEncodeError as error:  # half of a pair that JSON can spell
                raise FormatError(f"passage {number} is no text: {error}") from error
        stores = {}
        for count, each in enumerate(state_types):

            def advance(done: int, of: int, before: int = count) -> None:
                progress(before * of + done, len(state_types) * of)

            store = Store.open(
                Path(folder, f"{each}.grit"),
                model,
                states=each or "none",
                chunk_tokens=model.max_length // 2,
            )
            stores[each] = stack.enter_context(store)
            failed = store.scan(notes).changes.failed
            if failed:
                raise FormatError(failed[0])
            store.embed(progress=advance)
        yield stores


def measure(
    stores: Stores,
    questions: Sequence[Question],
    chosen: Sequence[Variant],
    *,
    passages: int,
    progress: ProgressCallback,
) -> list[Outcome]:
    """Ask every question in every variant, of `passages` passages each.

    Raises InputTooLongError for passages that the context cannot hold.
    """
    tallies = {variant: _Tally() for variant in chosen}
    for number, question in enumerate(questions):
        progress(number, len(questions))
        for variant, tally in tallies.items():
            store = stores[variant.state_type]
            answer = from_stored(
                store,
                question.text,
                passages,
                layout=variant.layout,
                recompute=variant.recompute,
                wording=ASKED,
                max_tokens=MAX_TOKENS,
            )
            tally.add(answer, question.answers)
    progress(len(questions), len(questions))
    return [
        _outcome(variant, tally, stores[variant.state_type]) for variant, tally in tallies.items()
    ]


def from_stored(store: Store, question: str, passages: int, **options: Any) -> StoreAnswer:
    """An answer for which nothing was read before but its states, which are stored."""
    answer = store.ask(question, passages, stream=True, **options)
    if answer.states_computed:
        answer.close()
        answer = store.ask(question, passages, stream=True, **options)
    store.model.clear_cache()
    answer.read()
    return answer


def waited(timings: Timings) -> tuple[float, float]:
    """Seconds from the found passages to the first piece of an ended answer, and to its end."""
    assert timings.ended is not None
    first = timings.ended if timings.first_token is None else timings.first_token
    return first - timings.found, timings.ended - timings.found


def _outcome(variant: Variant, tally: _Tally, store: Store) -> Outcome:
    count = len(tally.matches)
    exact, matched, overlap = (sum(each) / count for each in zip(*tally.matches, strict=True))
    ttft, total = (median(each) for each in zip(*tally.seconds, strict=True))
    kind = state_kind(variant.layout)
    usage = store.state_usage(kind)
    return Outcome(
        variant,
        count,
        exact,
        matched,
        overlap,
        ttft,
        total,
        state_bytes=0.0 if kind is None else usage.bytes / max(usage.states, 1),
        states_a_second=tally.loaded / tally.loading if tally.loaded else None,
    )
