"""Read retrieval collections in BEIR's format: corpus.jsonl, queries.jsonl, qrels/test.tsv.

Format: github.com/beir-cellar/beir, "Load your custom dataset". A document's text is
its title, a space and its text.
"""

from pathlib import Path

from gritlite.errors import FormatError
from gritlite.eval.retrieval_collection import RetrievalCollection
from gritlite.system.textfiles import parse_json, read_lines

CORPUS = "corpus.jsonl"
QUERIES = "queries.jsonl"
JUDGEMENTS = "qrels/test.tsv"


def read_beir(folder: Path) -> RetrievalCollection:
    """Read all documents, and the queries that have judgements in the test split.

    Raises FileError, and FormatError with the file and line that is wrong.
    """
    judgements = _read_judgements(folder / JUDGEMENTS)
    queries = _read_texts(folder / QUERIES)
    unknown = judgements.keys() - queries.keys()
    if unknown:
        raise FormatError(
            f"{folder / JUDGEMENTS}: judges the query {min(unknown)!r}, which {QUERIES} lacks"
        )
    return RetrievalCollection(
        documents=_read_texts(folder / CORPUS),
        queries={query: queries[query] for query in judgements},
        judgements=judgements,
    )


def _read_texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for place, line in read_lines(path):
        entry = parse_json(line, place)
        if not isinstance(entry, dict):
            raise FormatError(f"{place}: not a JSON object")
        identity, title, text = (entry.get(key, "") for key in ("_id", "title", "text"))
        if not (isinstance(identity, str) and identity):
            raise FormatError(f"{place}: no _id, or not a string")
        if not (isinstance(title, str) and isinstance(text, str)):
            raise FormatError(f"{place}: the title or the text is not a string")
        if identity in texts:
            raise FormatError(f"{place}: the _id {identity!r} appears twice")
        texts[identity] = f"{title} {text}".strip()
    return texts


def _read_judgements(path: Path) -> dict[str, dict[str, int]]:
    judgements: dict[str, dict[str, int]] = {}
    lines = read_lines(path)
    next(lines, None)  # the names of the columns
    for place, line in lines:
        try:
            query, document, grade = line.split("\t")
            judgements.setdefault(query, {})[document] = int(grade)
        except ValueError as error:
            raise FormatError(
                f"{place}: expected query-id, corpus-id and a whole number, tab-separated"
            ) from error
    if not judgements:
        raise FormatError(f"{path}: has no judgements")
    return judgements
