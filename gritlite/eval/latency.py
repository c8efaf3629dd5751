"""The paper's two samples: how soon each layout answers about a long document, or a long query.

As in its appendix, one text has many tokens and the other few. Greedy answers end after
`ANSWER_TOKENS` tokens at most. State files are dropped from the page cache before each
question where the system can do that, so they come from the disk.
"""

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gritlite.errors import UsageError
from gritlite.eval.layouts import Variant, answer_from_store, indexed, seconds_waited
from gritlite.runtime.model import GritLM
from gritlite.system.progress import ProgressCallback

ANSWER_TOKENS = 16
ROUNDS = 3
HEADING_ROOM = 32  # tokens of a chunk beside its text
ROOM = 256  # tokens of the context beside the long text: prompt, short text and answer
_SHORT = "Where does the ferry stop?"


@dataclass(frozen=True)
class Latency:
    """Medians of seconds from the found document to the first piece, and to the answer's end."""

    ttft: float
    total: float


@dataclass(frozen=True)
class Sample:
    """A document and a query."""

    document: str
    query: str


def samples(model: GritLM, words: Sequence[str], tokens: int) -> dict[str, Sample]:
    """A long document and a long query, by these names: `tokens` tokens of the words.

    Raises UsageError for more than a chunk can hold, or the context beside the rest.
    """
    most = min(model.max_length // 2 - HEADING_ROOM, model.context_length - ROOM)
    if tokens > most:
        raise UsageError(f"a long text of {tokens:,} tokens: this model can be timed with {most:,}")
    long = of_length(model, words, tokens)
    return {"document": Sample(long, _SHORT), "query": Sample(_SHORT, long)}


def of_length(model: GritLM, words: Sequence[str], tokens: int) -> str:
    """Repeat the words up to `tokens` tokens; the result is at most one word shorter."""
    repeated = [*words] * (1 + tokens // max(len(words), 1))
    count = bisect_right(
        range(1, len(repeated) + 1), tokens, key=lambda n: len(model.tokenize(_text(repeated, n)))
    )
    return _text(repeated, count)


def _text(words: Sequence[str], count: int) -> str:
    return " ".join(words[:count])


def measure(
    model: GritLM, sample: Sample, chosen: Sequence[Variant], progress: ProgressCallback
) -> dict[Variant, Latency]:
    """Ask the sample's query with every variant in turn, `ROUNDS` times."""
    seconds: dict[Variant, list[tuple[float, float]]] = {variant: [] for variant in chosen}
    with indexed(model, [sample.document], chosen, lambda *_: None) as stores:
        for number in range(ROUNDS):
            for place, variant in enumerate(chosen):
                progress(number * len(chosen) + place, ROUNDS * len(chosen))
                store = stores[variant.state_type]
                forget_files(store.path.parent)
                answer = answer_from_store(
                    store, sample.query, 1, variant, max_tokens=ANSWER_TOKENS
                )
                seconds[variant].append(seconds_waited(answer.timings))
        progress(ROUNDS * len(chosen), ROUNDS * len(chosen))
    return {
        variant: Latency(*(median(each) for each in zip(*times, strict=True)))
        for variant, times in seconds.items()
    }


def forget_files(folder: Path) -> None:
    """Drop a folder's states from the page cache, if the system supports that."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*.kv"):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # only what is on the disk can be dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
