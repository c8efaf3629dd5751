"""Chunks ranked by the words of a query: BM25 as Lucene computes it, as a share of its maximum.

A word's weight is ln(1 + (N - n + 0.5) / (n + 0.5)), where n of N chunks hold it. That of SQLite's
own bm25() is ln((N - n + 0.5) / (n + 0.5)), and a millionth where this is not positive: in a store
of a few chunks it would tell "inn" and "the" apart no more. A score is divided by the sum of the
weights of all words of the query, those that no chunk holds included, and by BM25's limit of k1 + 1
for each. So it lies between 0 and 1, and says how much of the query a chunk covers, whatever the
store: about 0.45 where a chunk of average length holds each word once.

BM25 costs about 4 microseconds for each chunk that it ranks, and common words say little about
a chunk: of a long query only the rarest words are ranked, as many as occur in `MAX_RANKED` chunks
together. Those that occur in more than `MAX_COUNTED` chunks count as if half of all had them.
Nothing is known of word order or of stems.
"""

import math

from gritlite.rag.database import Database
from gritlite.rag.folding import query_terms

MAX_RANKED = 5_000  # chunks
MAX_COUNTED = 10_000

_SATURATION = 2.2  # k1 + 1 in FTS5's bm25()
_FTS5_MIN_WEIGHT = 1e-6


def word_scores(database: Database, query: str) -> dict[int, float]:
    """The scores of the chunks that hold any of the query's rarer words, by their ids."""
    total = database.number("select count(*) from words_docsize")
    counts = {term: _count(database, term, MAX_COUNTED) for term in query_terms(query)}
    ranked = _rarest(counts)
    for term in ranked:
        if counts[term] == MAX_COUNTED:
            counts[term] = _count(database, term, -1)
    if max(counts.values(), default=0) > total:
        raise database.damaged("its full-text index counts more chunks than it has")
    weights = {term: _weight(total, count) for term, count in counts.items()}
    whole = sum(weights.values())
    scores: dict[int, float] = {}
    for term in ranked:
        scale = weights[term] / (_fts5_weight(total, counts[term]) * _SATURATION * whole)
        for chunk, rank in database.rows(
            "select rowid, rank from words where words match ?", (term,)
        ):
            scores[chunk] = scores.get(chunk, 0.0) - rank * scale
    return scores


def _count(database: Database, term: str, limit: int) -> int:
    """How many chunks hold a term, `limit` at most; -1 is no limit."""
    return database.number(
        "select count(*) from (select 1 from words where words match ? limit ?)", (term, limit)
    )


def _rarest(counts: dict[str, int]) -> list[str]:
    """The rarest of the terms that occur: as many as `MAX_RANKED` allows, at least one."""
    kept: list[str] = []
    ranked = 0
    for term, count in sorted(counts.items(), key=lambda item: item[1]):
        if not count:
            continue
        if kept and ranked + count > MAX_RANKED:
            break
        kept.append(term)
        ranked += count
    return kept


def _weight(total: int, count: int) -> float:
    return math.log1p(_odds(total, max(count, total // 2) if count == MAX_COUNTED else count))


def _odds(total: int, count: int) -> float:
    return (total - count + 0.5) / (count + 0.5)


def _fts5_weight(total: int, count: int) -> float:
    """The weight that FTS5 gives a word (fts5_aux.c, fts5Bm25GetData)."""
    weight = math.log(_odds(total, count))
    return weight if weight > 0 else _FTS5_MIN_WEIGHT
