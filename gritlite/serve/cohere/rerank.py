"""`/v1/rerank` (Jina's and Cohere's) and `/v2/rerank` (Cohere's): documents by how well they match.

A document's score is the cosine of its vector and the query's: the model is no cross-encoder.
"""

from typing import Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from gritlite.runtime.embed import Vectors
from gritlite.serve.cohere.meta import FAILURES, Meta, meta
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import invalid
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.lists import Items
from gritlite.serve.openai.chat_answer import new_id
from gritlite.serve.openai.embeddings import MOST_TEXTS, EmbeddingUsage
from gritlite.serve.service.service import Service

router = APIRouter(tags=["Jina and Cohere"])


class Document(BaseModel):
    """A document with its text; other fields are ignored."""

    text: str


class RerankRequest(BaseModel):
    """Documents to sort. Fields that are not listed are ignored."""

    model: str | None = Field(None, description="A name of /v1/models.")
    query: str = Field(description="What is looked for.")
    documents: Items[str | Document] = Field(
        description="Up to 2,048; of one that is longer than a pass, the end is cut off."
    )
    top_n: int | None = Field(None, ge=1, description="Only so many best documents.")
    return_documents: bool | None = Field(None, description="Whether to return their texts.")
    instruction: str | None = Field(
        None, description="What the query is embedded for, in plain words."
    )


class Ranked(BaseModel):
    """A document's place."""

    index: int = Field(description="The document's number in the request, from 0.")
    relevance_score: float = Field(description="The cosine of the vectors, from -1 to 1.")
    document: Document | None = Field(None, description="With return_documents.")


class Ranking(BaseModel):
    """The documents, the best first."""

    id: str
    object: Literal["list"] = "list"
    model: str
    results: list[Ranked]
    usage: EmbeddingUsage
    meta: Meta


@router.post("/v1/rerank", response_model=Ranking)
async def rerank(body: RerankRequest, service: ReadyService) -> Response:
    """Sort documents by how well they match a query."""
    return await _rerank(body, service, "1")


@router.post("/v2/rerank", response_model=Ranking, responses=FAILURES)
async def rerank_v2(body: RerankRequest, service: ReadyService) -> Response:
    """Sort documents by how well they match a query."""
    return await _rerank(body, service, "2")


async def _rerank(body: RerankRequest, service: Service, version: str) -> Response:
    service.names.find(body.model)  # raises ApiError for an unknown one
    texts = _texts(body)
    words = body.instruction
    if words is None:
        words = service.settings.query_instruction
    query = await service.embed([body.query], words)
    documents = await service.embed(texts, too_long="truncate")
    scores = _cosines(query.vectors[0], documents.vectors)
    order = sorted(range(len(texts)), key=lambda number: (-scores[number], number))
    results: list[dict[str, Any]] = [
        {"index": number, "relevance_score": scores[number]} for number in order[: body.top_n]
    ]
    if body.return_documents:
        for result in results:
            result["document"] = {"text": texts[result["index"]]}
    tokens = query.tokens + documents.tokens
    return JsonResponse(
        {
            "id": new_id("rerank"),
            "object": "list",
            "model": body.model or service.names.name,
            "results": results,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "meta": meta(version, search_units=1),
        }
    )


def _texts(body: RerankRequest) -> list[str]:
    if not body.documents:
        raise invalid("documents is empty: expected at least one", "documents")
    if len(body.documents) > MOST_TEXTS:
        problem = f"documents has {len(body.documents):,}: expected at most {MOST_TEXTS:,}"
        raise invalid(problem, "documents")
    return [each if isinstance(each, str) else each.text for each in body.documents]


def _cosines(query: np.ndarray, documents: Vectors) -> list[float]:
    """The products of unit vectors, without what rounding adds beyond 1."""
    products = documents.astype(np.float64) @ query.astype(np.float64)
    found: list[float] = products.clip(-1, 1).tolist()
    return found
