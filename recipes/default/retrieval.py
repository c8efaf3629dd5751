"""Questions and titles with the passages they lead to, half of them with the task told in words."""

import random
from collections.abc import Iterator

import prompted
from embedding import qa_passages, sts, titles, window
from instructions import alike, asked
from material import PASSAGE_WORDS, Inputs, Row, pair, some
from more_readings import qamr_sentences

OF_A_SENTENCE = 4  # questions of QAMR
LONG_WORDS = 230  # of a third of the passages: long texts are to be found as well


def questions(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Questions and the passages that answer them."""
    yield from asked(_questions(inputs, draw), "passage", draw)


def _questions(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    yield from qa_passages(inputs, draw)
    for passage, question, _ in prompted.readings(inputs):
        limit = draw.choice([PASSAGE_WORDS, PASSAGE_WORDS, LONG_WORDS])
        if not question.endswith("what?"):  # a relation of wiki_hop needs several passages
            yield pair(question, window(question, passage, limit))
    for sentence, about in qamr_sentences(inputs).items():
        for question, _ in some(about, OF_A_SENTENCE, draw):
            yield pair(question, sentence)


def described(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Names and titles, and the longer texts that they head."""
    yield from asked(titles(inputs, draw), "description", draw)


def similar(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Scored sentence pairs."""
    yield from alike(sts(inputs, draw), "meaning", draw)
