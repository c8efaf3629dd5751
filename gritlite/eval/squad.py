"""Read questions about paragraphs from files in SQuAD's JSON format.

Format: rajpurkar.github.io/SQuAD-explorer (versions 1.1 and 2.0), which XQuAD and
others share. The module does not know what the questions are used for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.errors import FormatError
from gritlite.system.textfiles import parse_json, read_text

BETWEEN = "\n\n"  # several passages in one text


@dataclass(frozen=True)
class Question:
    """A question, what it is about, and the answers accepted: none if it has no answer.

    Most questions are about one passage. Those about several are answered from all of them.
    """

    id: str
    text: str
    passages: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def paragraph(self) -> str:
        """The passages in one text."""
        return BETWEEN.join(self.passages)


def read_squad(path: Path) -> list[Question]:
    """The questions of a file, in its order.

    Raises FileError, and FormatError for a file of another form.
    """
    parsed = parse_json(read_text(path), str(path))
    try:
        questions = list(_questions(parsed))
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"{path}: not in SQuAD's form: expected data[].paragraphs[] with a context, and qas[] "
            f"with id, question and answers[].text ({type(error).__name__}: {error})"
        ) from error
    if not questions:
        raise FormatError(f"{path}: holds no question")
    return questions


def _questions(parsed: Any) -> Iterator[Question]:
    for article in parsed["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield Question(
                    id=_string(question["id"]),
                    text=_string(question["question"]),
                    passages=(_string(paragraph["context"]),),
                    # the same answer from several annotators is one
                    answers=tuple(
                        dict.fromkeys(_string(answer["text"]) for answer in question["answers"])
                    ),
                )


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a string")
    return value
