"""Shared by the sources: paths of the corpora, row formats, and clean paragraphs.

The module filters by language and cleanness; it does not know the evaluation sets.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import corpora
from packages import Unpacked
from words import is_clean, is_english, sentences, squeeze

Row = dict[str, Any]
T = TypeVar("T")

PASSAGE_WORDS = 110  # of a text to embed, at most
DOCUMENT_WORDS = 150  # of a text to read or to continue, at most


@dataclass(frozen=True)
class Inputs:
    """The data folder, and the unpacked packages."""

    data: Path
    packages: Unpacked

    def train(self, name: str) -> Path:
        """A file of the data folder that is for training."""
        return self.data / "train" / name

    def task(self, number: int) -> Path:
        """A task of Natural Instructions."""
        return next(self.train("natural-instructions-v1").glob(f"subtask{number:03}_*.json"))


def pair(query: str, positive: str) -> Row:
    """A row of two texts that belong together."""
    return {"query": squeeze(query), "pos": [positive]}


def some(items: Iterable[T], count: int, draw: random.Random) -> list[T]:
    """At most `count` of the items, drawn."""
    every = list(items)
    return draw.sample(every, min(count, len(every)))


def qasc(inputs: Inputs) -> Iterator[tuple[str, str, str]]:
    """Facts of QASC, a question on each, and its answer."""
    for request, outputs in corpora.instances(inputs.task(41))[1]:
        parts = corpora.labelled(request, "Fact", "Question")
        if parts:
            yield parts[0], parts[1].replace(".?", "?"), outputs[0].strip(" .")


def wikipedia(inputs: Inputs) -> Iterator[str]:
    """Clean paragraphs of Wikipedia, of two sentences or more."""
    for article in corpora.wikipedia(inputs.train("wiki_demo.txt")):
        for paragraph in article:
            if is_english(paragraph) and is_clean(paragraph) and len(sentences(paragraph)) > 1:
                yield paragraph


def web(inputs: Inputs) -> Iterator[str]:
    """Clean English paragraphs of web pages."""
    for row in corpora.json_lines(inputs.train("c4_demo.jsonl")):
        for paragraph in row["text"].split("\n"):
            if len(paragraph.split()) >= 12 and is_english(paragraph) and is_clean(paragraph):
                yield squeeze(paragraph)


def brown(inputs: Inputs) -> Iterator[str]:
    """Clean paragraphs of the Brown corpus, without those with formulas, which it writes `Af`."""
    for paragraph in corpora.brown(inputs.packages.brown):
        if is_clean(paragraph) and " Af" not in paragraph:
            yield paragraph
