r"""Training rows, read from JSON Lines in the official repository's forms and two of our own.

    {"query": T, "pos": [T, ...], "neg": [T, ...]}   a pair; T is a text or [instruction, text]
    {"query": T, "pos": [T], "score": 0.0 to 1.0}    a pair with a judged similarity
    {"query": T}                                     a text alone, to distil from
    {"text": [user, assistant, user, ...]}           a chat
    {"text": "..."}                                  plain text
    {"document": "...", "query": "...", "answer": "..."}   an answer from a stored document
    {"document": ["...", ...], ...}                  the same, from several

Source of the first and the two `text` forms: training/data.py of
github.com/ContextualAI/gritlm. The module knows nothing of tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from gritlite.errors import FormatError
from gritlite.system.textfiles import parse_json, read_lines


@dataclass(frozen=True)
class Text:
    """A text to embed, and its instruction in plain words, if any."""

    text: str
    instruction: str = ""


@dataclass(frozen=True)
class PairRow:
    """A query with the texts it should be near to (`positives`) and far from (`negatives`)."""

    query: Text
    positives: tuple[Text, ...] = ()
    negatives: tuple[Text, ...] = ()
    score: float | None = None

    @property
    def texts(self) -> tuple[Text, ...]:
        """All of them: the query, then the positives, then the negatives."""
        return (self.query, *self.positives, *self.negatives)

    @property
    def taught(self) -> tuple[str, ...]:
        """What teachers read of each: the text without its instruction."""
        return tuple(text.text for text in self.texts)


@dataclass(frozen=True)
class ChatRow:
    """Turns of a user and an assistant, the user's first. One turn alone is plain text."""

    turns: tuple[str, ...]


@dataclass(frozen=True)
class DocumentRow:
    """A question about documents, and its answer."""

    documents: tuple[str, ...]
    question: str
    answer: str


Row = PairRow | ChatRow | DocumentRow


def read_rows(path: Path) -> list[Row]:
    """Read all rows of a file, which must have one form.

    Raises FileError if it cannot be read, and FormatError that names the line of
    a row that is not JSON, of no known form, or of another form than the first.
    """
    rows: list[Row] = []
    for place, line in read_lines(path):
        fields = parse_json(line, place)
        try:
            row = _row(fields)
        except FormatError as error:
            raise FormatError(f"{place}: {error}") from error
        if rows and type(row) is not type(rows[0]):
            raise FormatError(
                f"{place}: a {_name(row)} among rows of the form {_name(rows[0])}: "
                "put each form into a file of its own"
            )
        rows.append(row)
    if not rows:
        raise FormatError(f"{path} holds no rows")
    return rows


def _name(row: Row) -> str:
    return {PairRow: "query/pos", ChatRow: "text", DocumentRow: "document"}[type(row)]


def _row(fields: object) -> Row:
    if not isinstance(fields, dict):
        raise FormatError("not a JSON object")
    for key, read in _FORMS.items():
        if key in fields:
            return read(fields)
    raise FormatError('no field "query", "text" or "document"')


def _pair(fields: Mapping[str, Any]) -> PairRow:
    score = fields.get("score")
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if score is not None and not (is_number and 0 <= score <= 1):
        raise FormatError(f'"score" is {score!r}: expected a number from 0 to 1')
    pair = PairRow(
        _text(fields["query"], "query"),
        _texts(fields, "pos"),
        _texts(fields, "neg"),
        None if score is None else float(score),
    )
    if score is not None and len(pair.positives) != 1:
        raise FormatError('a row with a "score" needs exactly one text under "pos"')
    return pair


def _texts(fields: Mapping[str, Any], key: str) -> tuple[Text, ...]:
    values = fields.get(key, [])
    if not isinstance(values, list):
        raise FormatError(f'"{key}" is not a list')
    return tuple(_text(value, key) for value in values)


def _text(value: object, key: str) -> Text:
    if isinstance(value, str) and value.strip():
        return Text(value)
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):
        instruction, text = value
        if text.strip():
            return Text(text, instruction)
    raise FormatError(f'"{key}" holds {value!r}: expected a text or [instruction, text]')


def _chat(fields: Mapping[str, Any]) -> ChatRow:
    turns = fields["text"]
    if isinstance(turns, str):
        turns = [turns]
    elif isinstance(turns, list) and len(turns) % 2:
        raise FormatError(f'"text" has {len(turns)} turns: the last must be the assistant\'s')
    if not isinstance(turns, list) or not turns or not all(_is_text(turn) for turn in turns):
        raise FormatError('"text" is neither a text nor a list of texts with something in them')
    return ChatRow(tuple(turns))


def _document(fields: Mapping[str, Any]) -> DocumentRow:
    document = fields["document"]
    documents = document if isinstance(document, list) else [document]
    question, answer = fields.get("query"), fields.get("answer")
    if not documents or not all(map(_is_text, documents)):
        raise FormatError('"document" is neither a text nor a list of texts')
    if not (_is_text(question) and _is_text(answer)):
        raise FormatError('"query" and "answer" must each be a text')
    return DocumentRow(tuple(documents), question, answer)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


# looked up in this order: a document row has a query too
_FORMS: Mapping[str, Callable[[Mapping[str, Any]], Row]] = {
    "document": _document,
    "text": _chat,
    "query": _pair,
}
