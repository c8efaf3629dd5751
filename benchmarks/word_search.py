"""Word search in languages with and without spaces: gritlite's full-text index and FTS5's own.

    python benchmarks/word_search.py [FILE...]

The queries of benchmarks/languages.jsonl are searched among its passages of all languages, or the
questions of each FILE (SQuAD's JSON, as XQuAD and JSQuAD have it) among its paragraphs. For each
language and tokenizer, the share of the queries whose own passage is ranked first by BM25.
FTS5's own tokenizers take a query's words as Python's regular expressions find them.
"""

import argparse
import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gritlite.eval.questions import read_questions
from gritlite.rag import schema
from gritlite.rag.folding import folded, query_terms

SET = Path(__file__).with_name("languages.jsonl")
Terms = Callable[[str], list[str]]


@dataclass(frozen=True)
class Collection:
    """Passages, and queries with the number of the passage that each should find first."""

    name: str
    passages: list[str]
    queries: list[tuple[str, int]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="*", help="questions about paragraphs")
    files = parser.parse_args().files
    collections = [_read_questions(path) for path in files] or _own_collections()
    print(f"{'':20}", *(f"{each.name:>12}" for each in collections))
    for name, (index, terms) in INDEXES.items():
        shares = []
        for each in collections:
            connection = index(each.passages)
            found = [_first(connection, terms(query)) == own for query, own in each.queries]
            shares.append(f"{sum(found)}/{len(found)}")
            connection.close()
        print(f"{name:20}", *(f"{share:>12}" for share in shares))


def _own_collections() -> list["Collection"]:
    """The queries of each language, among the passages of all."""
    rows = [json.loads(line) for line in SET.read_text("utf-8").splitlines()]
    passages = [row["passage"] for row in rows]
    queries: dict[str, list[tuple[str, int]]] = {}
    for number, row in enumerate(rows):
        queries.setdefault(row["language"], []).extend((query, number) for query in row["queries"])
    return [Collection(language, passages, asked) for language, asked in queries.items()]


def _read_questions(path: Path) -> "Collection":
    questions = read_questions(path)
    passages = list(dict.fromkeys(question.paragraph for question in questions))
    numbers = {passage: number for number, passage in enumerate(passages)}
    queries = [(question.text, numbers[question.paragraph]) for question in questions]
    return Collection(path.stem, passages, queries)


def _first(connection: sqlite3.Connection, terms: list[str]) -> int | None:
    sql = "select rowid from words where words match ? order by rank limit 1"
    row = connection.execute(sql, (" OR ".join(terms),)).fetchone() if terms else None
    return row[0] if row else None


def _own(tokenizer: str) -> Callable[[Iterable[str]], sqlite3.Connection]:
    """Makes an index with one of FTS5's tokenizers."""

    def index(passages: Iterable[str]) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        connection.execute(
            f'create virtual table words using fts5 (text, tokenize = "{tokenizer}")'
        )
        connection.executemany("insert into words (rowid, text) values (?, ?)", enumerate(passages))
        return connection

    return index


def _of_a_store(passages: Iterable[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    schema.create(connection)
    connection.execute(
        "insert into source (id, path, digest, size, mtime_ns, read_ns)"
        " values (1, 'a', x'00', 0, 0, 0)"
    )
    connection.executemany(
        "insert into chunk values (?, 1, '', '', ?, '', 0, null, ?)",
        ((number, passage, folded(passage)) for number, passage in enumerate(passages)),
    )
    connection.execute("update source set complete = 1")
    return connection


def _quoted(query: str) -> list[str]:
    return [f'"{word}"' for word in re.findall(r"\w+", query)]


INDEXES: dict[str, tuple[Callable[[Iterable[str]], sqlite3.Connection], Terms]] = {
    "unicode61": (_own("unicode61"), _quoted),
    "unicode61, accents 2": (_own("unicode61 remove_diacritics 2"), _quoted),
    "trigram": (_own("trigram"), _quoted),
    "gritlite": (_of_a_store, query_terms),
}

if __name__ == "__main__":
    main()
