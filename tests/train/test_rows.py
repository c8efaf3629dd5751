"""Training rows: the official forms, our own, and what is told of bad ones."""

from pathlib import Path

import pytest

from gritlite import FileError, FormatError
from gritlite.train.rows import ChatRow, DocumentRow, PairRow, Text, read_rows


def rows_file(folder: Path, *lines: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_pairs_hold_texts_with_and_without_instructions(tmp_path: Path) -> None:
    path = rows_file(
        tmp_path,
        '{"query": ["Find it", "who?"], "pos": ["me", ["Say it", "I"]], "neg": ["you"]}',
        "",
        '{"query": "a", "pos": ["b"], "score": 1}',
        '{"query": "alone"}',
    )
    assert read_rows(path) == [
        PairRow(Text("who?", "Find it"), (Text("me"), Text("I", "Say it")), (Text("you"),)),
        PairRow(Text("a"), (Text("b"),), score=1.0),
        PairRow(Text("alone")),
    ]


def test_chats_and_plain_texts_share_a_form(tmp_path: Path) -> None:
    path = rows_file(tmp_path, '{"text": ["hi", "hello"]}', '{"text": "once"}')
    assert read_rows(path) == [ChatRow(("hi", "hello")), ChatRow(("once",))]


def test_a_document_with_its_question_and_answer(tmp_path: Path) -> None:
    one = '{"document": "d", "query": "q", "answer": "a"}'
    path = rows_file(tmp_path, one, one.replace('"d"', '["d", "e"]'))
    assert read_rows(path) == [DocumentRow(("d",), "q", "a"), DocumentRow(("d", "e"), "q", "a")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"passage": "x"}', 'no field "query", "text" or "document"'),
        ('{"query": "  "}', '"query" holds'),
        ('{"query": ["a", "b", "c"]}', '"query" holds'),
        ('{"query": "a", "pos": "b"}', '"pos" is not a list'),
        ('{"query": "a", "neg": [1]}', '"neg" holds 1'),
        ('{"query": "a", "pos": ["b"], "score": 2}', "from 0 to 1"),
        ('{"query": "a", "pos": ["b"], "score": true}', "from 0 to 1"),
        ('{"query": "a", "score": 0.5}', "exactly one text"),
        ('{"text": ["a", "b", "c"]}', "3 turns"),
        ('{"text": []}', "neither a text nor a list"),
        ('{"text": ["a", ""]}', "neither a text nor a list"),
        ('{"document": "a", "query": "b"}', "must each be a text"),
        ('{"document": [], "query": "b", "answer": "c"}', "neither a text nor a list"),
        ('{"document": ["a", 5], "query": "b", "answer": "c"}', "neither a text nor a list"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    path = rows_file(tmp_path, '{"query": "fine"}', line)
    with pytest.raises(FormatError, match=r"rows\.jsonl, line 2: ") as raised:
        read_rows(path)
    assert told in str(raised.value)


def test_a_file_holds_one_form_only(tmp_path: Path) -> None:
    path = rows_file(tmp_path, '{"query": "a"}', '{"text": "b"}')
    with pytest.raises(FormatError, match="line 2: a text among rows of the form query/pos"):
        read_rows(path)


def test_an_empty_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no rows"):
        read_rows(rows_file(tmp_path, "", " "))
    with pytest.raises(FileError, match="cannot read"):
        read_rows(tmp_path / "none.jsonl")
