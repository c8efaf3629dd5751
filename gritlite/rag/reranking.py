"""Re-ranking: passages in the order in which the model finds the query likely after each.

The score of a passage is the mean log-probability of the query's tokens as the answer to
being asked for a question about it: UPR (Sachan et al., EMNLP 2022, arXiv 2204.07496),
with its prompt.
"""

from collections.abc import Sequence
from dataclasses import replace

from gritlite.rag.search import Passage
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer

_ASKED = "Passage: {passage}. Please write a question based on this passage."


def reranked(model: GritLM, query: str, passages: Sequence[Passage]) -> list[Passage]:
    """The passages with their new scores, best first. Every passage is read whole.

    Raises InputTooLongError for a passage and a query that the context cannot hold.
    """
    scored = []
    with Scorer(model) as scorer:
        for passage in passages:
            content = _ASKED.replace("{passage}", passage.embedded)
            likelihoods = scorer.score_answer([{"role": "user", "content": content}], query)
            scored.append(replace(passage, score=float(likelihoods.mean())))
    return sorted(scored, key=lambda passage: -passage.score)
