"""Make a retrieval collection of a SQuAD file: each question's document is its paragraph."""

from pathlib import Path

from gritlite.errors import FormatError
from gritlite.eval.retrieval_collection import RetrievalCollection
from gritlite.eval.squad import read_squad


def read_squad_collection(path: Path) -> RetrievalCollection:
    """The different paragraphs as documents, and the questions that have an answer as queries.

    Raises FileError, and FormatError for a file of another form.
    """
    questions = read_squad(path)
    answerable = [question for question in questions if question.answers]
    numbers: dict[str, str] = {}
    for question in questions:
        numbers.setdefault(question.paragraph, f"paragraph {len(numbers) + 1}")
    queries = {question.id: question.text for question in answerable}
    if len(queries) < len(answerable):
        raise FormatError(f"{path}: two questions have the same id")
    if not queries:
        raise FormatError(f"{path}: no question has an answer")
    left_out = len(questions) - len(answerable)
    return RetrievalCollection(
        documents={number: paragraph for paragraph, number in numbers.items()},
        queries=queries,
        judgements={question.id: {numbers[question.paragraph]: 1} for question in answerable},
        note=f"questions without an answer left out: {left_out:,}" if left_out else "",
    )
