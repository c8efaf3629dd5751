"""Short requests with their intents, as scored pairs: same or not, the nearest others first.

A batch of contrastive rows would have two requests of one intent among its negatives; scores of
pairs, which are ranked, have no such fault.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from instructions import alike
from material import Inputs, Row
from words import FUNCTION_WORDS, squeeze, words

FILES = ("hwu64_intents.tsv", "snips_intents.tsv", "bitext_intents.tsv")
EACH = 250  # requests of an intent, at most
TRIED = 12  # requests of other intents, of which the most similar is taken


def intents(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Two pairs of each request: one of its own intent, and one of another."""
    for name in FILES:
        yield from alike(_pairs(requests(inputs.train(name)), draw), "intent", draw)


def requests(path: Path) -> dict[str, list[str]]:
    """Requests by their intents, without what is spelled like an earlier one."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        text, _, intent = line.rpartition("\t")
        key = "".join(word for word in words(text) if not word.isdigit())
        if key and key not in seen:
            seen.add(key)
            found[intent].append(squeeze(text))
    return found


def _pairs(requests: dict[str, list[str]], draw: random.Random) -> Iterator[Row]:
    kept = {
        intent: draw.sample(texts, min(EACH, len(texts)))
        for intent, texts in requests.items()
        if len(texts) > 1
    }
    others = {
        intent: [text for other, texts in kept.items() if other != intent for text in texts]
        for intent in kept
    }
    for intent, texts in kept.items():
        for place, text in enumerate(texts):
            same = texts[(place + draw.randrange(1, len(texts))) % len(texts)]
            yield {"query": text, "pos": [same], "score": 1.0}
            tried = draw.sample(others[intent], min(TRIED, len(others[intent])))
            told = _telling(text)
            near = max(tried, key=lambda other: len(told & _telling(other)))
            yield {"query": text, "pos": [near], "score": 0.0}


def _telling(text: str) -> set[str]:
    return set(words(text)) - FUNCTION_WORDS
