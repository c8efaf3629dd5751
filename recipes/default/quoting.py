"""Quotations from a document: the whole of it, or what follows some words.

An answer of a few words teaches little of how a stored document is read; a quotation has something
to learn in each of its tokens.
"""

import random
from collections.abc import Iterable, Iterator

from material import Row

LEAST_WORDS = 60  # of a document
WHOLE_WORDS = 90  # that are quoted of it from its beginning, at most
FOLLOWING_WORDS = 60  # that are quoted after some words, at most
KEY_WORDS = 5

_WHOLE = (
    "Repeat the text word for word.",
    "Read the whole text back to me, exactly as it stands.",
    "Quote the text in full.",
    "Write the text out again without changing a word.",
)
_FOLLOWING = (
    'How does the text go on after "{}"?',
    'What comes after "{}" in the text? Quote it.',
    'Quote the text from "{}" on.',
    "Continue exactly as the text does: {}",
)


def quotations(documents: Iterable[str], draw: random.Random) -> Iterator[Row]:
    """A row of each document that is long enough; every third quotes the whole."""
    every = sorted({text for text in documents if len(text.split()) >= LEAST_WORDS})
    for number, document in enumerate(every):
        question, answer = (_following if number % 3 else _whole)(document.split(), draw)
        yield {"document": document, "query": question, "answer": answer}


def _whole(words: list[str], draw: random.Random) -> tuple[str, str]:
    return draw.choice(_WHOLE), " ".join(words[:WHOLE_WORDS])


def _following(words: list[str], draw: random.Random) -> tuple[str, str]:
    start = draw.randrange(KEY_WORDS, len(words) - LEAST_WORDS // 2)
    key = " ".join(words[start - KEY_WORDS : start])
    return draw.choice(_FOLLOWING).format(key), " ".join(words[start : start + FOLLOWING_WORDS])
