"""Word search in languages with and without spaces: gritlite's full-text index and FTS5's own.

    python benchmarks/word_search.py

The queries of benchmarks/languages.jsonl are searched among its passages of all languages. For
each language and tokenizer, the share of the queries whose own passage is ranked first by BM25.
FTS5's own tokenizers take a query's words as Python's regular expressions find them.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from gritlite.rag import schema
from gritlite.rag.folding import folded, query_terms

SET = Path(__file__).with_name("languages.jsonl")
Terms = Callable[[str], list[str]]


def main() -> None:
    """Print the table."""
    rows = [json.loads(line) for line in SET.read_text("utf-8").splitlines()]
    passages = [row["passage"] for row in rows]
    languages = list(dict.fromkeys(row["language"] for row in rows))
    print("tokenizer           ", *(f"{language:>9}" for language in languages))
    for name, (index, terms) in INDEXES.items():
        connection = index(passages)
        shares = []
        for language in languages:
            first = [
                _first(connection, terms(query)) == number
                for number, row in enumerate(rows)
                if row["language"] == language
                for query in row["queries"]
            ]
            shares.append(f"{sum(first)}/{len(first)}")
        print(f"{name:<20}", *(f"{share:>9}" for share in shares))


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
