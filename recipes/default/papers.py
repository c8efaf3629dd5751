"""Technical texts: titles, summaries and questions, and the abstracts and answers they lead to.

Abstracts go in whole up to `ABSTRACT_WORDS`, longer than other passages: a search in papers meets
texts of 300 tokens, and the mean over so many is another thing than that over a sentence.
"""

import random
import re
from collections.abc import Iterator

import corpora
from held_out import is_held_out
from instructions import asked
from material import PASSAGE_WORDS, Inputs, Row, pair
from words import cut, is_english

ABSTRACT_WORDS = 220


def papers(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """A title, a summary or a question, and the abstract."""
    trained = (row for row in pairs(inputs, draw) if not is_held_out(row["pos"][0]))
    yield from asked(trained, "paper", draw)


def pairs(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """The same without instructions, and with what is held out."""
    for row in corpora.json_lines(inputs.train("pubmedqa.jsonl")):
        yield pair(row["question"], cut(row["abstract"], ABSTRACT_WORDS))
        yield pair(cut(row["long_answer"], 40), cut(row["abstract"], ABSTRACT_WORDS))
    for row in corpora.json_lines(inputs.train("scitldr.jsonl")):
        abstract = cut(row["abstract"], ABSTRACT_WORDS)
        yield pair(row["title"], abstract)
        yield pair(draw.choice(row["tldr"]), abstract)
    for row in corpora.json_lines(inputs.train("covidqa.jsonl")):
        title, _, rest = row["context"].partition("\n")
        paragraphs = [text for text in rest.split("\n") if is_english(text)]
        long = [text for text in paragraphs if len(text.split()) >= 60]
        for text in long:
            yield pair(title, cut(text.removeprefix("Abstract: "), ABSTRACT_WORDS))


def health(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Questions on health, and the beginning of an answer."""
    yield from asked(_health(inputs, draw), "health", draw)


def _health(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    for row in corpora.json_lines(inputs.train("medquad.jsonl")):
        answer = re.sub(r"^Key Points\s+(- .*?\. )+(?=[A-Z])", "", row["answer"])
        answer = cut(answer, draw.choice([PASSAGE_WORDS // 2, PASSAGE_WORDS, ABSTRACT_WORDS]))
        if len(answer.split()) >= 8 and not answer.startswith("These resources"):
            yield pair(question(row), answer)


def question(row: Row) -> str:
    """The question of a row of MedQuAD, without what stands for either number."""
    return re.sub(r"\(are\) |\(s\)", "", row["question"]).replace(" ?", "?")


def commands(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Tasks and the command lines that do them; descriptions of commands, and their tasks."""
    yield from asked(_commands(inputs), "command", draw)


def _commands(inputs: Inputs) -> Iterator[Row]:
    for row in corpora.json_lines(inputs.train("tldr_pages.jsonl")):
        tasks = [re.sub(r"\[(\w)\]", r"\1", example["task"]) for example in row["examples"]]
        for task, example in zip(tasks, row["examples"], strict=True):
            yield pair(task, example["line"])
        described = f"{row['command']}: {row['description']}"
        if tasks:
            yield pair(described, " ".join(f"{task}." for task in tasks))
