"""`/api/embed`, and `/api/embeddings`, which it follows."""

import time

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from gritlite.serve.dependencies import ReadyService
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.lists import Items
from gritlite.serve.ollama.failures import FAILURES
from gritlite.serve.ollama.names import target_of
from gritlite.serve.openai.embeddings import DIMENSIONS, as_numbers, check_dimensions, checked_texts
from gritlite.serve.query_kinds import instruction_for

router = APIRouter(prefix="/api", tags=["Ollama"], responses=FAILURES)


class EmbedRequest(BaseModel):
    """Texts to embed. Fields that are not listed are ignored."""

    model: str | None = Field(None, description="A name of /api/tags; NAME:query for queries.")
    input: str | Items[str] | Items[int] | Items[Items[int]] | None = Field(
        None, description="A text, or up to 2,048; none: no vectors. Token ids are refused."
    )
    truncate: bool | None = Field(
        None, description="false: a text that is too long is an error; else its end is cut off."
    )
    dimensions: int | None = Field(None, description=DIMENSIONS)


class EmbedAnswer(BaseModel):
    """The vectors, of unit length, in the order of the texts."""

    model: str
    embeddings: list[list[float]]
    total_duration: int | None = Field(None, description="In nanoseconds.")
    load_duration: int | None = Field(None, description="0: the model is loaded.")
    prompt_eval_count: int | None = Field(None, description="Tokens embedded, with prompts.")


class OldEmbedRequest(BaseModel):
    """A text to embed. Fields that are not listed are ignored."""

    model: str | None = Field(None, description="A name of /api/tags; NAME:query for a query.")
    prompt: str | None = Field(None, description="The text; none: no vector.")


class OldEmbedAnswer(BaseModel):
    """The vector, of unit length."""

    embedding: list[float]


@router.post("/embed", response_model=EmbedAnswer)
async def embed(body: EmbedRequest, service: ReadyService) -> Response:
    """Embed texts: the same numbers as `GritLM.encode`."""
    arrived = time.monotonic_ns()
    target = target_of(service.names, body.model)
    check_dimensions(body.dimensions, service.model)
    name = body.model or service.names.name
    if not body.input:
        return JsonResponse({"model": name, "embeddings": []})
    embedded = await service.embed(
        checked_texts(body.input),
        instruction_for(target, service.settings),
        too_long="error" if body.truncate is False else "truncate",
    )
    return JsonResponse(
        {
            "model": name,
            "embeddings": as_numbers(embedded.cut(body.dimensions).vectors),
            "total_duration": time.monotonic_ns() - arrived,
            "load_duration": 0,
            "prompt_eval_count": embedded.tokens,
        }
    )


@router.post("/embeddings", response_model=OldEmbedAnswer)
async def embeddings(body: OldEmbedRequest, service: ReadyService) -> Response:
    """Embed one text; one that is too long is an error."""
    target = target_of(service.names, body.model)
    if not body.prompt:
        return JsonResponse({"embedding": []})
    words = instruction_for(target, service.settings)
    (vector,) = as_numbers((await service.embed([body.prompt], words)).vectors)
    return JsonResponse({"embedding": vector})
