"""The paper's table: how well and how fast each layout of `ask` answers questions.

The passages of a question file are indexed into stores, one for each type of states. Each
passage is one chunk, headed by the name of the file that it is written to ("passage 7").
Every question is asked in every layout, in turn, from the passages that the store finds.

    exact match, F1  as in `exact_match`
    match            whether the words of an accepted answer occur in the answer (the paper's)
    TTFT             seconds from the found passages to the first piece of the answer. States
                     are read from recently used files; the question's is already in memory,
                     from the pass that embeds it for the search
    total            seconds from the found passages to the end of the answer
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from gritlite.errors import FormatError
from gritlite.eval.exact_match import ASKED, MAX_TOKENS, exact_match, f1, match
from gritlite.eval.squad import Question
from gritlite.prompt import QUESTION_FIELD
from gritlite.rag.answer import StoreAnswer, Timings
from gritlite.rag.layouts import Layout, state_kind
from gritlite.rag.state_quantization import StateType
from gritlite.rag.store import Store
from gritlite.runtime.model import GritLM
from gritlite.system.progress import ProgressCallback

Stores = Mapping[StateType | None, Store]  # by the type of their states


@dataclass(frozen=True)
class Variant:
    """A way to answer: a layout, and how the states of its passages are stored and joined.

    `state_type` is None for a layout that uses no states.
    """

    layout: Layout
    state_type: StateType | None = None
    recompute: int = 0


@dataclass(frozen=True)
class Outcome:
    """The results of a variant. Seconds are medians; `state_bytes` is the mean per passage."""

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
    """All distinct ways to answer from so many passages."""
    for layout in layouts:
        if state_kind(layout) is None:
            yield Variant(layout)
            continue
        joins = passages > 1 or layout in ("query-doc", "doc-query")
        for each in state_types:
            yield from (Variant(layout, each, tokens) for tokens in (recompute if joins else (0,)))


class _Tally:
    """Collects the answers of one variant."""

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
        self.seconds.append(seconds_waited(answer.timings))
        self.loaded += answer.states_loaded
        self.loading += answer.timings.prepared - answer.timings.found


@contextmanager
def indexed(
    model: GritLM, passages: Sequence[str], chosen: Sequence[Variant], progress: ProgressCallback
) -> Iterator[Stores]:
    """Stores of the distinct passages, in a temporary folder.

    Raises FormatError for a passage that is not valid text.
    """
    state_types = list(dict.fromkeys(variant.state_type for variant in chosen))
    with TemporaryDirectory() as folder, ExitStack() as stack:
        notes = Path(folder, "passages")
        notes.mkdir()
        for number, passage in enumerate(dict.fromkeys(passages), 1):
            try:
                (notes / f"passage {number}.txt").write_text(passage, "utf-8")
            except UnicodeEncodeError as error:  # JSON can contain half of a surrogate pair
                raise FormatError(f"passage {number} is not valid text: {error}") from error
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
    """Ask every question in every variant, from `passages` passages each.

    Raises InputTooLongError for passages that do not fit the context.
    """
    tallies = {variant: _Tally() for variant in chosen}
    for number, question in enumerate(questions):
        progress(number, len(questions))
        for variant, tally in tallies.items():
            store = stores[variant.state_type]
            answer = answer_from_store(
                store, question.text, passages, variant, wording=ASKED, max_tokens=MAX_TOKENS
            )
            tally.add(answer, question.answers)
    progress(len(questions), len(questions))
    return [
        _outcome(variant, tally, stores[variant.state_type]) for variant, tally in tallies.items()
    ]


def answer_from_store(
    store: Store,
    question: str,
    passages: int,
    variant: Variant,
    *,
    max_tokens: int,
    wording: str = QUESTION_FIELD,
) -> StoreAnswer:
    """An answer whose states are all stored, and for which the model has read nothing else yet."""

    def ask() -> StoreAnswer:
        return store.ask(
            question,
            passages,
            layout=variant.layout,
            recompute=variant.recompute,
            min_score=0.0,  # every question is answered
            wording=wording,
            max_tokens=max_tokens,
            stream=True,
        )

    answer = ask()
    if answer.states_computed:
        answer.close()
        answer = ask()
    store.model.clear_cache()
    answer.read()
    return answer


def seconds_waited(timings: Timings) -> tuple[float, float]:
    """Seconds from the found passages to the first piece of a finished answer, and to its end."""
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
