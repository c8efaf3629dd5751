"""Sources of generative training data: plain text, chats, and answers from a passage."""

import random
from collections.abc import Iterable, Iterator

import corpora
from material import DOCUMENT_WORDS, Inputs, Row, brown, some, web, wikipedia
from more_readings import more_readings
from quoting import quotations
from reading import Reading, readings, remarks
from words import cut, wikitext_style

from gritlite.eval.exact_match import ASKED
from gritlite.prompt import question_after

# tasks of Natural Instructions, and how many of their instances a chat is made of
_TASKS = ((23, 60), (24, 150), (37, 60), (38, 150), (41, 150), (45, 60), (47, 60))
# a model that has no internet must not learn to say so of every text it is given
_REFUSALS = ("As an AI", "as an AI", "I'm sorry", "I am sorry", "I don't have access")


def text(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Paragraphs as they are."""
    for paragraph in (*wikipedia(inputs), *web(inputs), *some(brown(inputs), 2_500, draw)):
        if len(paragraph.split()) >= 40:
            yield {"text": cut(paragraph, DOCUMENT_WORDS)}


def text_tokenised(inputs: Inputs, _: random.Random) -> Iterator[Row]:
    """Wikipedia's paragraphs in the spelling of WikiText."""
    for paragraph in wikipedia(inputs):
        if len(paragraph.split()) >= 40:
            yield {"text": wikitext_style(cut(paragraph, DOCUMENT_WORDS))}


def chat(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Requests and answers."""
    for request, answer in corpora.alpaca(inputs.train("alpaca_en_demo.json")):
        if not any(refusal in answer for refusal in _REFUSALS):
            yield {"text": [request, answer]}
    for question, answer in some(corpora.gsm8k(inputs.train("gsm8k_train.jsonl")), 400, draw):
        yield {"text": [question, answer]}
    for number, count in _TASKS:
        definition, instances = corpora.instances(inputs.task(number))
        for request, outputs in some(instances, count, draw):
            lines = (corpora.untokenised(line) for line in request.splitlines())
            answer = corpora.untokenised(draw.choice(outputs))
            answer = answer.rstrip(".") if number == 41 else answer  # a phrase, not a sentence
            yield {"text": ["\n".join((definition, "", *lines)), answer]}


def qa_prompt(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Answers from a passage in the prompt."""
    return _in_prompt(_questions(inputs, draw))


def cached(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Answers from a document whose states were stored."""
    return _stored(_questions(inputs, draw))


def more_prompt(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Answers from a passage in the prompt, on more passages."""
    return _in_prompt(_more_questions(inputs, draw))


def more_cached(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Answers from a document whose states were stored, on more passages."""
    return _stored(_more_questions(inputs, draw))


def several_cached(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Answers from two or three documents whose states were stored, of which one has the answer."""
    return _stored(_among_others(inputs, draw))


def long_prompt(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Answers from several passages in the prompt, which are one text."""
    return _in_prompt(_as_one_text(inputs, draw))


def long_cached(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Answers from a document of several passages whose states were stored."""
    return _stored(_as_one_text(inputs, draw))


def quoted_cached(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Quotations from a document, of one passage or several, whose states were stored."""
    every = (*_questions(inputs, draw), *_more_questions(inputs, draw), *_as_one_text(inputs, draw))
    return quotations((passage for passage, _, _ in every), draw)


def _in_prompt(every: Iterable[Reading]) -> Iterator[Row]:
    for passage, question, answer in every:
        yield {"text": [question_after([passage], question), answer]}


def _stored(every: Iterable[tuple[str | list[str], str, str]]) -> Iterator[Row]:
    for document, question, answer in every:
        yield {"document": document, "query": question, "answer": answer}


def _as_one_text(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    """The passages of `_among_others` with lines or a space between them."""
    for passages, question, answer in _among_others(inputs, draw):
        yield draw.choice((" ", "\n", "\n\n")).join(passages), question, answer


def _among_others(inputs: Inputs, draw: random.Random) -> Iterator[tuple[list[str], str, str]]:
    """Two or three passages, a question, and its answer, which one of them has.

    The others are drawn, half of them from the rows near by, which often tell of the same thing.
    """
    every = [*_questions(inputs, draw), *_more_questions(inputs, draw)]
    for place, (passage, question, answer) in enumerate(every):
        near = every[max(0, place - 5) : place + 6]
        others = [other for other, _, _ in (draw.choice(near), *some(every, 3, draw))]
        fitting = [other for other in dict.fromkeys(others) if answer not in other]
        documents = [passage, *fitting[: draw.randint(1, 2)]]
        draw.shuffle(documents)
        if len(documents) > 1:
            yield documents, question, answer


def _more_questions(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    for passage, question, answer in more_readings(inputs, draw):
        yield passage, ASKED.replace("{question}", question), answer


def _questions(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    """Questions on passages; where the answer is to be a few of its words, they say so."""
    for passage, question, answer in readings(inputs, draw):
        yield passage, ASKED.replace("{question}", question), answer
    yield from remarks(inputs, draw)
