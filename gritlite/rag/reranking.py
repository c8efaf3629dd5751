"""Re-ranking passages by how likely the model finds the query after each.

The score of a passage is the mean log-probability of the query's tokens when the model is
asked to write a question about the passage: UPR (Sachan et al., EMNLP 2022, arXiv
2204.07496), with its prompt.
"""

from collections.abc import Sequence
from dataclasses import replace

from gritlite.rag.search import Passage
from gritlite.runtime.any_model import AnyModel, open_scorer

_PROMPT = "Passage: {passage}. Please write a question based on this passage."


def reranked(model: AnyModel, query: str, passages: Sequence[Passage]) -> list[Passage]:
    """The passages with their new scores, best first. The model reads every passage whole.

    Raises InputTooLongError for a passage that does not fit the context with the query.
    """
    scored = []
    with open_scorer(model) as scorer:
        for passage in passages:
            content = _PROMPT.replace("{passage}", passage.embedded)
            likelihoods = scorer.score_answer([{"role": "user", "content": content}], query)
            scored.append(replace(passage, score=float(likelihoods.mean())))
    return sorted(scored, key=lambda passage: -passage.score)
