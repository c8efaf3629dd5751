"""Read the Cranfield collection in TREC's format: 1,400 abstracts, 225 queries, judgements.

Files: cran.all.1400.xml, cran.qry.xml and cranqrel.trec.txt. **The judgements
number queries by their position, 1 to 225, not by the number that the query
file gives them**; the module goes by position and looks at no number there.
Lines were broken for a terminal, so white space becomes single spaces.
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from gritlite.errors import FormatError
from gritlite.eval.retrieval_collection import RetrievalCollection
from gritlite.system.textfiles import read_lines, read_text

DOCUMENTS = "cran.all.1400.xml"
QUERIES = "cran.qry.xml"
JUDGEMENTS = "cranqrel.trec.txt"


def read_cranfield(folder: Path) -> RetrievalCollection:
    """The abstracts (their first sentence is the title), and all queries.

    Raises FileError, and FormatError with the file and line that is wrong.
    """
    # the document file has many roots, and the query file one
    documents = _parse(folder / DOCUMENTS, "<docs>", "</docs>").iter("doc")
    queries = _parse(folder / QUERIES).iter("top")
    collection = RetrievalCollection(
        documents={_field(doc, "docno"): _field(doc, "text") for doc in documents},
        queries={str(i): _field(query, "title") for i, query in enumerate(queries, 1)},
        judgements=_read_judgements(folder / JUDGEMENTS),
    )
    if collection.judgements.keys() != collection.queries.keys():
        raise FormatError(
            f"{folder / JUDGEMENTS}: judges {len(collection.judgements)} queries, numbered by "
            f"position, but {QUERIES} holds {len(collection.queries)}"
        )
    return collection


def _parse(path: Path, before: str = "", after: str = "") -> ElementTree.Element:
    try:
        return ElementTree.fromstring(before + read_text(path) + after)
    except ElementTree.ParseError as error:
        raise FormatError(f"{path}, line {error.position[0]}: not XML: {error}") from error


def _field(element: ElementTree.Element, name: str) -> str:
    return " ".join((element.findtext(name) or "").split())


def _read_judgements(path: Path) -> dict[str, dict[str, int]]:
    judgements: dict[str, dict[str, int]] = {}
    for place, line in read_lines(path):
        try:
            query, _, document, grade = line.split()
            judgements.setdefault(query, {})[document] = int(grade)
        except ValueError as error:
            raise FormatError(f"{place}: expected query, 0, document and a whole number") from error
    return judgements
