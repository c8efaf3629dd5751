"""The paper's table: how well and how fast each layout of `ask` answers questions.

The passages of a question file are indexed into stores, one for each number format, and every
question is asked in every layout, turn about, of the passages that the store finds for
it. Nothing but the questions' accepted answers is known of which passage is right.

    exact match, F1  as `exact_match` has them
    match            whether an accepted answer's words stand in the answer (the paper's)
    TTFT             seconds from the found passages to the first piece of the answer, states
                     read from files that were just used; those of a question are at hand, for
                     they are of the pass that embeds it for the search
    total            the same to the answer's end
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from gritlite.eval.exact_match import ASKED, MAX_TOKENS, exact_match, f1, match
from gritlite.eval.squad import Question
from gritlite.eval.task import Progress, spread
from gritlite.rag.answer import StoreAnswer, Timings
from gritlite.rag.blob import Number
from gritlite.rag.layouts import Layout, kind_of
from gritlite.rag.store import Store
from gritlite.runtime.model import GritLM


@dataclass(frozen=True)
class Variant:
    """A way to answer: a layout, and how its passages' states are kept and joined.

    `numbers` is None for a layout that uses none.
    """

    layout: Layout
    numbers: Number | None = None
    recompute: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one variant came to. Seconds are medians; `bytes` are of all states it can load."""

    variant: Variant
    questions: int
    exact_match: float
    match: float
    f1: float
    ttft: float
    total: float
    bytes: int
    states_a_second: float | None


def variants(
    layouts: Sequence[Layout], numbers: Sequence[Number], recompute: Sequence[int]
) -> Iterator[Variant]:
    """Every way that differs from the others."""
    for layout in layouts:
        if kind_of(layout) is None:
            yield Variant(layout)
        else:
            yield from (Variant(layout, each, tokens) for each in numbers for tokens in recompute)


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


def measure(
    model: GritLM,
    questions: Sequence[Question],
    chosen: Sequence[Variant],
    *,
    passages: int,
    limit: int | None,
    progress: Progress,
) -> list[Outcome]:
    """Ask `limit` of the questions, spread evenly, in every variant, of `passages` passages each.

    Raises InputTooLongError for passages that a pass or the context cannot hold.
    """
    asked = spread(questions, limit)
    random.Random(0).shuffle(asked)  # so that no passage is still in the cells
    tallies = {variant: _Tally() for variant in chosen}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        write_passages([question.paragraph for question in questions], Path(folder, "passages"))
        stores = {
            numbers: stack.enter_context(indexed(Path(folder), model, numbers))
            for numbers in dict.fromkeys(variant.numbers for variant in chosen)
        }
        for number, question in enumerate(asked):
            progress(number, len(asked))
            for variant, tally in tallies.items():
                store = stores[variant.numbers]
                answer = from_stored(partial(ask, store, question.text, variant, passages))
                tally.add(answer, question.answers)
        progress(len(asked), len(asked))
        return [
            _outcome(variant, tally, stores[variant.numbers]) for variant, tally in tallies.items()
        ]


def write_passages(passages: Sequence[str], folder: Path) -> None:
    """Each of the different passages as a text file."""
    folder.mkdir()
    for number, passage in enumerate(dict.fromkeys(passages), 1):
        (folder / f"passage {number}.txt").write_text(passage, "utf-8")


def indexed(folder: Path, model: GritLM, numbers: Number | None) -> Store:
    """A store of the folder's passages, a chunk each if a chunk can be so long."""
    longest = model.max_length // 2
    path = folder / f"{numbers}.grit"
    store = Store.open(path, model, states=numbers or "none", chunk_tokens=longest)
    store.add(folder / "passages")
    return store


def ask(store: Store, question: str, variant: Variant, passages: int) -> StoreAnswer:
    """Begin an answer, in the wording of `exact_match`."""
    return store.ask(
        ASKED.replace("{question}", question),
        passages,
        layout=variant.layout,
        recompute=variant.recompute,
        mode="vectors",
        max_tokens=MAX_TOKENS,
        stream=True,
    )


def from_stored(begin: Callable[[], StoreAnswer]) -> StoreAnswer:
    """An answer read to its end, begun anew if states had to be computed for it first."""
    answer = begin()
    if answer.states_computed:
        answer.close()
        answer = begin()
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
    kind = kind_of(variant.layout)
    return Outcome(
        variant,
        count,
        exact,
        matched,
        overlap,
        ttft,
        total,
        bytes=0 if kind is None else store.state_usage(kind).bytes,
        states_a_second=tally.loaded / tally.loading if tally.loaded else None,
    )
