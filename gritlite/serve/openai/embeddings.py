"""`/v1/embeddings`."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from gritlite.errors import UsageError
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.embed import Vectors
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import invalid
from gritlite.serve.json_response import to_json
from gritlite.serve.lists import Items
from gritlite.serve.openai.texts import only_texts
from gritlite.serve.query_kinds import instruction_for
from gritlite.serve.service.embeddings import Embedded

router = APIRouter(prefix="/v1", tags=["OpenAI"])
MOST_TEXTS = 2048  # as OpenAI's
DIMENSIONS = "Numbers of a vector, one of the `dimensions` in /info; null for all."
_TEXTS_ONLY = "send texts. LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False"


class EmbeddingRequest(BaseModel):
    """Texts to embed. Fields that are not listed are ignored."""

    input: str | Items[str] | Items[int] | Items[Items[int]] = Field(
        description="A text, or up to 2,048. Token ids are refused: they would be of another "
        "model's vocabulary."
    )
    model: str | None = Field(None, description="A name of /v1/models; NAME:query for queries.")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="float (also null) for numbers, base64 for little-endian float32."
    )
    dimensions: int | None = Field(None, description=DIMENSIONS)
    instruction: str | None = Field(
        None, description="What the texts are embedded for, in plain words; empty for documents."
    )
    prompt_name: str | None = Field(None, description="query or document. One of the three.")
    input_type: str | None = Field(
        None, description="search_query, search_document, classification or clustering."
    )


class Embedding(BaseModel):
    """The vector of one text, of unit length."""

    object: Literal["embedding"] = "embedding"
    index: int = Field(description="The text's number, from 0.")
    embedding: list[float] | str = Field(description="Numbers, or base64 of float32.")


class EmbeddingUsage(BaseModel):
    """How many tokens were embedded, prompts included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


@router.post("/embeddings", response_model=EmbeddingList)
async def embeddings(body: EmbeddingRequest, service: ReadyService) -> Response:
    """Embed texts: the same numbers as `GritLM.encode`."""
    target = service.names.find(body.model)
    texts = checked_texts(body.input)
    check_dimensions(body.dimensions, service.model)
    words = instruction_for(
        target,
        service.settings,
        instruction=body.instruction,
        prompt_name=body.prompt_name,
        input_type=body.input_type,
    )
    embedded = (await service.embed(texts, words)).cut(body.dimensions)
    name = body.model or service.names.name
    shown = as_base64 if body.encoding_format == "base64" else as_numbers
    content = await asyncio.to_thread(_rendered, embedded, name, shown)
    return Response(content, media_type="application/json")


def _rendered(embedded: Embedded, model: str, shown: Callable[[Vectors], list[Any]]) -> bytes:
    """The answer, as `EmbeddingList` describes it.

    Thousands of vectors take seconds, in which other threads must go on: they can between two
    vectors.
    """
    data = ",".join(
        to_json({"object": "embedding", "index": number, "embedding": shown(vector[None])[0]})
        for number, vector in enumerate(embedded.vectors)
    )
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    rest = to_json({"object": "list", "model": model, "usage": usage})
    return f'{{"data":[{data}],{rest[1:]}'.encode()


def checked_texts(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    """The texts of a request. Raises ApiError for token ids, and for none or too many texts."""
    count = 1 if isinstance(given, str) else len(given)
    if not count:
        raise invalid("input is empty: expected at least one text", "input")
    if count > MOST_TEXTS:
        raise invalid(f"input has {count:,} texts: expected at most {MOST_TEXTS:,}", "input")
    return only_texts(given, "input", _TEXTS_ONLY)


def as_numbers(vectors: Vectors) -> list[list[float]]:
    """Vectors as numbers."""
    return [vector.tolist() for vector in vectors]


def as_base64(vectors: Vectors) -> list[str]:
    """Vectors as base64 of their little-endian float32."""
    return [base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") for vector in vectors]


def check_dimensions(asked: int | None, model: AnyModel, name: str = "dimensions") -> None:
    """Raise ApiError, naming the parameter, for a size that the model was not trained for."""
    try:
        model.format.check_dimensions(asked, model.dimension)
    except UsageError as error:
        raise invalid(str(error), name) from error
