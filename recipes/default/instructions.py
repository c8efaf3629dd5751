"""Tasks told in words: the instructions that stand before a text to embed.

GRIT tells each task in words (arXiv 2402.09906, section 3.1). Each has several wordings, so that
a model learns what they say and not one prefix, and half of the texts carry none, as those of
people who know no instructions. A passage never carries one: stores embed it before anybody asks.
"""

import random
from collections.abc import Iterable, Iterator

from material import Row

SHARE = 0.5  # of the rows whose texts carry an instruction

WORDINGS = {
    "passage": (
        "Given a question, retrieve passages that answer it",
        "Retrieve the passage that answers the question",
        "Given a web search query, retrieve relevant passages that answer the query",
        "Find text that contains the answer",
        "Which passage answers this question?",
    ),
    "health": (
        "Given a question about health, retrieve the answer of a physician",
        "Retrieve medical information that answers the question",
        "Given a medical question, find the passage that answers it",
    ),
    "paper": (
        "Given a title or a summary, retrieve the abstract of the paper",
        "Retrieve scientific abstracts on this topic",
        "Given a scientific question, retrieve the paper that studies it",
        "Find the technical report that this describes",
        "Retrieve documents relevant to the technical query",
    ),
    "description": (
        "Given a name or a title, retrieve its description",
        "Retrieve the paragraph that this heads",
        "Find the text that explains this",
    ),
    "command": (
        "Given a task, retrieve the command that does it",
        "Find the command line for what the user wants to do",
    ),
    "intent": (
        "Represent the request by its intent",
        "Identify what the customer wants",
        "Given an utterance of a user, find utterances with the same intent",
        "Classify the intent of the message",
        "What does the user ask the assistant to do?",
    ),
    "meaning": (
        "Retrieve sentences that mean the same",
        "Given a sentence, find semantically similar ones",
        "Represent the meaning of the sentence",
    ),
}


def asked(rows: Iterable[Row], task: str, draw: random.Random) -> Iterator[Row]:
    """The rows, half of them with the task told before the query."""
    for row in rows:
        if draw.random() < SHARE:
            row = row | {"query": [draw.choice(WORDINGS[task]), row["query"]]}
        yield row


def alike(rows: Iterable[Row], task: str, draw: random.Random) -> Iterator[Row]:
    """The rows, half of them with the task told before the query and what it is compared with."""
    for row in rows:
        if draw.random() < SHARE:
            wording = draw.choice(WORDINGS[task])
            compared = [[wording, text] for text in row["pos"]]
            row = row | {"query": [wording, row["query"]], "pos": compared}
        yield row


def plain(text: str | list[str]) -> str:
    """A row's text without its instruction."""
    return text if isinstance(text, str) else text[1]
