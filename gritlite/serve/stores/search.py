"""`/v1/search`: the passages of a store that match a query."""

from functools import partial
from typing import Any, Literal, cast

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gritlite.errors import EmptyTextError, InputTooLongError, UsageError
from gritlite.rag.where import read_where
from gritlite.runtime.embed import Vectors
from gritlite.runtime.model import GritLM
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import invalid
from gritlite.serve.openai.chat_options import CONTEXT_EXCEEDED
from gritlite.serve.service.service import Service
from gritlite.serve.stores.citations import Citation, cite

router = APIRouter(prefix="/v1", tags=["stores"])
MOST_PASSAGES = 100
WHERE = (
    'Only documents whose metadata fulfils this: {"author": "Smith"}, {"year": {"$gte": 1990}}; '
    "also $eq, $ne, $gt, $lt, $lte, $in, $nin, $and, $or."
)


class SearchRequest(BaseModel):
    """What to look for."""

    # this interface is gritlite's own: no client sends a field that it does not mean
    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="What to look for, in any words.")
    store: str | None = Field(
        None, description="The store's name; not needed where there is only one."
    )
    k: int | None = Field(None, ge=1, le=MOST_PASSAGES, description="Most passages; 5 by default.")
    min_score: float | None = Field(
        None, allow_inf_nan=False, description="Leaves out passages with lower scores; 0: none."
    )
    where: dict[str, Any] | None = Field(None, description=WHERE)


class SearchAnswer(BaseModel):
    """What was found."""

    object: Literal["list"] = "list"
    store: str = Field(description="The store's name.")
    data: list[Citation] = Field(description="The passages, the best first.")


@router.post("/search")
async def search(body: SearchRequest, service: ReadyService) -> SearchAnswer:
    """The passages of a store that match a query, by its meaning and its words."""
    name = store_name(body.store, service)
    check_where(body.where)
    vector = await _vector(body.query, service)
    found = await service.in_thread(
        partial(_search, service=service, name=name, body=body, vector=vector)
    )
    return SearchAnswer(store=name, data=found)


def store_name(asked: str | None, service: Service) -> str:
    """The name of the store that a request means. Raises ApiError."""
    names = service.store_names
    if asked is None and len(names) > 1:
        raise invalid(f"store is missing: expected one of {', '.join(names)}", "store")
    name = asked if asked is not None or not names else names[0]
    service.store(name or "")  # raises ApiError for an unknown one
    return name or ""


def check_where(where: dict[str, Any] | None) -> None:
    """Raise ApiError where it is no condition on metadata."""
    try:
        read_where(where)
    except UsageError as error:
        raise invalid(str(error), "where") from error


async def _vector(query: str, service: Service) -> Vectors:
    """The query's vector [d], from a pass that it may share with others' texts."""
    try:
        (vector,) = (await service.embed([query])).vectors
    except InputTooLongError as error:
        raise invalid(f"the query: {error.problem}", "query", CONTEXT_EXCEEDED) from error
    except EmptyTextError as error:
        raise invalid("the query is empty", "query", "empty_text") from error
    return cast(Vectors, vector)


def _search(
    _: GritLM, *, service: Service, name: str, body: SearchRequest, vector: Vectors
) -> list[Citation]:
    store = service.store(name)
    passages = store.search(
        body.query,
        body.k or 5,
        min_score=body.min_score or 0.0,
        where=body.where,
        vector=vector,
    )
    return cite(store, passages)
