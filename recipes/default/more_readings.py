"""More questions on passages: of P3's prompts, of QAMR's sentences, and of COVID-QA's articles.

Each answer stands in its passage word for word. The passage is the part of a longer text that
holds the answer, at no fixed place in it.
"""

import random
from collections import defaultdict
from collections.abc import Iterator

import corpora
import prompted
from held_out import is_held_out
from material import DOCUMENT_WORDS, Inputs, some
from reading import ANSWER_WORDS, Reading
from words import cut, sentences, squeeze

OF_A_SENTENCE = 8  # questions of QAMR on one sentence, at most
OF_AN_ARTICLE = 8  # of COVID-QA on one article, at most


def more_readings(
    inputs: Inputs, draw: random.Random, *, held_out: bool = False
) -> Iterator[Reading]:
    """Those to train on, or those held out.

    Passages are within `DOCUMENT_WORDS` words, and answers are of few words.
    """
    every = (
        *prompted.readings(inputs, held_out=held_out),
        *_of_sentences(inputs, draw, held_out),
        *_of_articles(inputs, draw, held_out),
    )
    for passage, question, answer in every:
        part = around(passage, answer, DOCUMENT_WORDS, draw)
        if part and 0 < len(answer.split()) <= ANSWER_WORDS:
            yield part, question, answer


def around(passage: str, answer: str, limit: int, draw: random.Random) -> str:
    """Whole sentences of `passage` within `limit` words that hold `answer`; empty if none do."""
    parts = sentences(passage)
    holding = [place for place, part in enumerate(parts) if answer in part]
    if not holding:
        return ""
    starts = range(max(0, holding[0] - 6), holding[0] + 1)
    fitting = [
        piece for start in starts if answer in (piece := cut(" ".join(parts[start:]), limit))
    ]
    return draw.choice(fitting) if fitting else ""


def qamr_sentences(inputs: Inputs, *, held_out: bool = False) -> dict[str, list[tuple[str, str]]]:
    """Sentences of QAMR with their questions and answers; an answer stands in its sentence.

    They are those to train on, or those held out.
    """
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in corpora.json_lines(inputs.train("qamr.jsonl")):
        sentence, question, answer = (
            corpora.untokenised(_spelled(row[name])) for name in ("sentence", "question", "answer")
        )
        fits = answer in sentence and len(question.split()) >= 4
        if fits and is_held_out(sentence) == held_out:
            found[sentence].append((question, answer))
    return found


def _spelled(text: str) -> str:
    """Brackets and quotes that a treebank spells as names, as they are written."""
    for name, sign in (("-LRB-", "("), ("-RRB-", ")"), ("``", '"'), ("''", '"')):
        text = text.replace(name, sign)
    return text


def _of_sentences(inputs: Inputs, draw: random.Random, held_out: bool) -> Iterator[Reading]:
    """A sentence among some that stand near it in the corpus, which may be of one article."""
    every = list(qamr_sentences(inputs, held_out=held_out).items())
    for place, (sentence, asked) in enumerate(every):
        near = [other for other, _ in every[max(0, place - 4) : place + 5] if other != sentence]
        for question, answer in some(asked, OF_A_SENTENCE, draw):
            together = [sentence, *some(near, draw.randint(1, 4), draw)]
            draw.shuffle(together)
            if sum(answer in text for text in together) == 1:
                yield " ".join(together), question, answer


def _of_articles(inputs: Inputs, draw: random.Random, held_out: bool) -> Iterator[Reading]:
    for row in corpora.json_lines(inputs.train("covidqa.jsonl")):
        if is_held_out(row["context"].partition("\n")[0]) != held_out:
            continue
        for asked in some(row["qas"], OF_AN_ARTICLE, draw):
            begin = row["context"].rfind("\n", 0, asked["start"]) + 1
            end = row["context"].find("\n", asked["start"])
            paragraph = squeeze(row["context"][begin : end if end > 0 else None])
            yield paragraph, squeeze(asked["question"]), squeeze(asked["answer"]).rstrip(".,;")
