"""The sources of the default model's recipe, by the name of their file."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import embedding
import generating
import intents
import papers
import retrieval
from material import Inputs, Row


@dataclass(frozen=True)
class Source:
    """A file of the recipe: its rows, and how many are kept at most."""

    name: str
    rows: Callable[[Inputs, random.Random], Iterator[Row]]
    limit: int


SOURCES = (
    Source("sts", embedding.sts, 6_000),
    Source("paraphrase", embedding.paraphrase, 12_000),
    Source("qa_passages", embedding.qa_passages, 20_000),
    Source("titles", embedding.titles, 24_000),
    Source("sentences", embedding.alone, 60_000),
    Source("text", generating.text, 5_000),
    Source("text_tokenised", generating.text_tokenised, 3_000),
    Source("chat", generating.chat, 3_000),
    Source("qa_prompt", generating.qa_prompt, 5_000),
    Source("cached", generating.cached, 5_000),
    Source("similar", retrieval.similar, 6_000),
    Source("intents", intents.intents, 40_000),
    Source("questions", retrieval.questions, 10_000),
    Source("described", retrieval.described, 6_000),
    Source("papers", papers.papers, 4_000),
    Source("health", papers.health, 2_000),
    Source("commands", papers.commands, 4_000),
    Source("more_prompt", generating.more_prompt, 12_000),
    Source("more_cached", generating.more_cached, 12_000),
    Source("several_cached", generating.several_cached, 16_000),
    Source("brief", embedding.brief, 40_000),
    Source("long_prompt", generating.long_prompt, 16_000),
    Source("long_cached", generating.long_cached, 16_000),
    Source("quoted_cached", generating.quoted_cached, 12_000),
)
