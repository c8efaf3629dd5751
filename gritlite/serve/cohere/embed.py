"""`/v2/embed`, Cohere's embeddings, whose `input_type` says what texts are for."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from gritlite.serve.cohere.meta import FAILURES, Meta, meta
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import invalid
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.lists import Items
from gritlite.serve.openai.chat_answer import new_id
from gritlite.serve.openai.embeddings import (
    DIMENSIONS,
    as_base64,
    as_numbers,
    check_dimensions,
    checked_texts,
)
from gritlite.serve.query_kinds import instruction_for

router = APIRouter(prefix="/v2", tags=["Jina and Cohere"], responses=FAILURES)


class EmbedRequest(BaseModel):
    """Texts to embed. Fields that are not listed are ignored."""

    model: str | None = Field(None, description="A name of /v1/models.")
    texts: Items[str] = Field(description="Up to 2,048.")
    input_type: str | None = Field(
        None, description="search_query, search_document, classification or clustering."
    )
    embedding_types: Items[Literal["float", "base64"]] | None = Field(
        None, description="float (also null) for numbers, base64 for little-endian float32."
    )
    truncate: Literal["NONE", "END"] | None = Field(
        None, description="NONE: a text that is too long is an error; else its end is cut off."
    )
    output_dimension: int | None = Field(None, description=DIMENSIONS)


class EmbeddingsByType(BaseModel):
    """The vectors, of unit length, in the forms that were asked for."""

    numbers: list[list[float]] | None = Field(None, alias="float")
    base64: list[str] | None = None


class Embedded(BaseModel):
    """The vectors, in the order of the texts."""

    id: str
    response_type: Literal["embeddings_by_type"] = "embeddings_by_type"
    texts: list[str]
    embeddings: EmbeddingsByType
    meta: Meta


@router.post("/embed", response_model=Embedded)
async def embed(body: EmbedRequest, service: ReadyService) -> Response:
    """Embed texts: the same numbers as `GritLM.encode`."""
    target = service.names.find(body.model)
    if not body.texts:
        raise invalid("texts is empty: expected at least one", "texts")
    check_dimensions(body.output_dimension, service.model, "output_dimension")
    embedded = await service.embed(
        checked_texts(body.texts),
        instruction_for(target, service.settings, input_type=body.input_type),
        too_long="error" if body.truncate == "NONE" else "truncate",
    )
    vectors = embedded.cut(body.output_dimension).vectors
    shown: dict[str, Any] = {}
    for kind in body.embedding_types or ["float"]:
        shown[kind] = (as_base64 if kind == "base64" else as_numbers)(vectors)
    return JsonResponse(
        {
            "id": new_id("embed"),
            "response_type": "embeddings_by_type",
            "texts": body.texts,
            "embeddings": shown,
            "meta": meta("2", input_tokens=embedded.tokens),
        }
    )
