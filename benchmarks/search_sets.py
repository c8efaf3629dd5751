"""Make question sets for `benchmarks/search.py` from public training sets.

    python benchmarks/search_sets.py TRAIN FOLDER --not-in xquad.en.json

TRAIN is a folder with the files that recipes/default/README.md lists. FOLDER gets one file in
JSON Lines (passage, question, answer) for each set, with at most 400 different passages. Passages
that share ten words in a row with the paragraphs of the `--not-in` file are left out.

    adversarial  hard questions about paragraphs of Wikipedia (adversarial_qa, in t0_qa)
    multirc      questions about paragraphs of news and stories (natural instructions)
    medquad      medical questions, with the first 1,000 characters of their answers
    pubmedqa     research questions and the abstracts that answer them
    qamr         questions about single sentences of Wikipedia and Wikinews
    scitldr      titles of papers, as people search for words, and their abstracts
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gritlite.eval.squad import read_squad

PASSAGES = 400
RUN = 10  # words in a row that are too many to share
_QUOTED = re.compile(
    r'I know that the answer to the question "(.*?)" is in "(.*)"\. Can you tell me what it is\?',
    re.DOTALL,
)
_SENTENCE = re.compile(r"Sent \d+: ")

Row = tuple[str, str, str]  # passage, question, answer


def main() -> None:
    """Write every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--not-in", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    evaluated = {
        run for question in read_squad(options.not_in) for run in _runs(question.paragraph)
    }
    options.folder.mkdir(exist_ok=True)
    for name, rows in SETS.items():
        kept = [row for row in rows(options.train) if evaluated.isdisjoint(_runs(row[0]))]
        written = _write(options.folder / f"{name}.jsonl", kept)
        print(f"{name:<12} {written:,} questions")


def adversarial(train: Path) -> Iterator[Row]:
    for row in _lines(train / "t0_qa.jsonl"):
        found = _QUOTED.search(row["prompt"])
        if row["template"].startswith("adversarial_qa") and found:
            yield found[2], found[1], row["completion"].removesuffix("<|endoftext|>")


def multirc(train: Path) -> Iterator[Row]:
    path = train / "natural-instructions-v1" / "subtask048_multirc_question_generation.json"
    for row in json.loads(path.read_text("utf-8"))["Instances"]:
        passage = _SENTENCE.sub(" ", row["input"].removeprefix("Paragraph- ")).strip()
        for question in row["output"]:
            yield passage, question, "?"


def medquad(train: Path) -> Iterator[Row]:
    for row in _lines(train / "medquad.jsonl"):
        yield row["answer"][:1000], row["question"], row["focus"]


def pubmedqa(train: Path) -> Iterator[Row]:
    for row in _lines(train / "pubmedqa.jsonl"):
        yield row["abstract"], row["question"], row["decision"]


def qamr(train: Path) -> Iterator[Row]:
    for row in _lines(train / "qamr.jsonl"):
        yield row["sentence"], row["question"], row["answer"]


def scitldr(train: Path) -> Iterator[Row]:
    for row in _lines(train / "scitldr.jsonl"):
        yield row["abstract"], row["title"], "?"


SETS = {
    "adversarial": adversarial,
    "multirc": multirc,
    "medquad": medquad,
    "pubmedqa": pubmedqa,
    "qamr": qamr,
    "scitldr": scitldr,
}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


def _write(path: Path, rows: list[Row]) -> int:
    """Write the questions of a random `PASSAGES` passages, two of each at most."""
    passages = list(dict.fromkeys(passage for passage, _, _ in rows if passage.strip()))
    random.Random(0).shuffle(passages)
    chosen: dict[str, list[Row]] = {passage: [] for passage in passages[:PASSAGES]}
    for row in dict.fromkeys(rows):
        if row[0] in chosen and len(chosen[row[0]]) < 2:
            chosen[row[0]].append(row)
    written = [row for group in chosen.values() for row in group]
    with path.open("w", encoding="utf-8") as file:
        for passage, question, answer in written:
            line = {"passage": passage, "question": question, "answer": answer}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return len(written)


if __name__ == "__main__":
    main()
