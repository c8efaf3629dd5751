"""A test collection for retrieval: documents, queries, and judgements of which fit which."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RetrievalCollection:
    """Texts by their ids, and `judgements[query][document]`: the grade, relevant above 0.

    Every query has judgements. A judged document that `documents` lacks can
    never be found. `note` says what of the files was left out.
    """

    documents: dict[str, str]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]
    note: str = ""
