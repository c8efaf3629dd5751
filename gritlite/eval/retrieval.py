"""Retrieval: the ranking of all documents by cosine, compared with judgements."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gritlite.errors import FileError, FormatError
from gritlite.eval import beir, cranfield
from gritlite.eval.beir import read_beir
from gritlite.eval.cranfield import read_cranfield
from gritlite.eval.encoder import Encoder, Texts, embed
from gritlite.eval.measures import ndcg, recall
from gritlite.eval.retrieval_collection import RetrievalCollection
from gritlite.eval.squad_retrieval import read_squad_collection
from gritlite.eval.task import Score, spread
from gritlite.runtime.embed import Vectors
from gritlite.system.progress import ProgressCallback
from gritlite.system.wording import counted

MEASURES: dict[str, tuple[Callable[[list[int], list[int], int], float], int]] = {
    "nDCG@10": (ndcg, 10),
    "recall@1": (recall, 1),
    "recall@10": (recall, 10),
    "recall@100": (recall, 100),
}
DEPTH = max(k for _, k in MEASURES.values())
_BLOCK = 256  # queries whose cosines with all documents are held at once


class Retrieval:
    """nDCG@10 and recall at 1, 10 and 100, means over the queries.

    Queries are embedded with `instruction`, documents without one, as GritLM's
    own evaluation does. Documents with equal cosines stand in the order of the
    file. `limit` lowers the number of queries; all documents stay. A document
    without text cannot be found, and its judgements stay.

    Raises FileError, and FormatError with the file and line that is wrong.
    """

    def __init__(self, path: Path, *, instruction: str = "", limit: int | None = None) -> None:
        self.name = f"retrieval {path.name}"
        self._path = path
        self._instruction = instruction
        self._collection = _read(path)
        documents = self._collection.documents
        self._documents = [name for name, text in documents.items() if text.strip()]
        self._queries = spread(list(self._collection.queries), limit)
        if not self._documents:
            raise FormatError(f"{path}: no document has a text")

    def run(self, model: Encoder, progress: ProgressCallback) -> list[Score]:
        """Measure the model."""
        collection = self._collection
        embedded = embed(
            model,
            [
                self._texts("document", collection.documents, self._documents),
                self._texts("query", collection.queries, self._queries, self._instruction),
            ],
            progress,
        )
        values: dict[str, list[float]] = {measure: [] for measure in MEASURES}
        found = _search(embedded.vectors[1], embedded.vectors[0], DEPTH)
        for query, rows in zip(self._queries, found, strict=True):
            grades = collection.judgements[query]
            ranked = [grades.get(self._documents[row], 0) for row in rows]
            for measure, (function, k) in MEASURES.items():
                values[measure].append(function(ranked, list(grades.values()), k))
        empty = len(collection.documents) - len(self._documents)
        notes = (
            counted(len(self._documents), "document"),
            f"{empty:,} more without text left out" if empty else "",
            collection.note,
            embedded.note,
        )
        note = ", ".join(filter(None, notes))
        return [
            Score(self.name, measure, float(np.mean(values[measure])), len(self._queries), note)
            for measure in MEASURES
        ]

    def _texts(
        self, kind: str, texts: dict[str, str], names: list[str], instruction: str = ""
    ) -> Texts:
        return Texts(
            [texts[name] for name in names],
            [f"{self._path}, {kind} {name}" for name in names],
            instruction,
        )


def _read(path: Path) -> RetrievalCollection:
    """Read a file or folder of whichever form it has."""
    if not path.exists():
        raise FileError(f"{path} does not exist")
    if path.is_file():
        return read_squad_collection(path)
    if (path / cranfield.QUERIES).exists():
        return read_cranfield(path)
    if (path / beir.QUERIES).exists():
        return read_beir(path)
    raise FormatError(
        f"{path}: not a known collection: expected a SQuAD JSON file, or a folder with "
        f"{beir.QUERIES} (BEIR) or {cranfield.QUERIES} (Cranfield)"
    )


def _search(queries: Vectors, documents: Vectors, depth: int) -> list[list[int]]:
    """The rows of the `depth` nearest documents of each query, nearest first."""
    found: list[list[int]] = []
    for start in range(0, len(queries), _BLOCK):
        cosines = queries[start : start + _BLOCK] @ documents.T
        found += np.argsort(-cosines, axis=1, kind="stable")[:, :depth].tolist()
    return found
