"""`/v1/ask`: an answer to a question from the passages of a store, whole and streamed."""

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gritlite.rag.layouts import AUTO
from gritlite.runtime.model import GritLM
from gritlite.runtime.options import ChatOptions
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.openai.chat import failed
from gritlite.serve.openai.chat_answer import Finish, Usage, finish_of, usage_of
from gritlite.serve.service.service import Service
from gritlite.serve.stores.citations import Citation, cite
from gritlite.serve.stores.search import MOST_PASSAGES, WHERE, check_where, store_name
from gritlite.serve.stream import DONE, SSE, StreamedResponse, event

if TYPE_CHECKING:
    from gritlite.rag.answer import StoreAnswer
    from gritlite.rag.store import Store

router = APIRouter(prefix="/v1", tags=["stores"])
_STREAM = {
    "description": "The answer. With `stream` first an event with `citations`, then events with "
    "`text`, and the answer as the last.",
    "content": {SSE: {}},
}


class AskRequest(BaseModel):
    """A question to a store."""

    # this interface is gritlite's own: no client sends a field that it does not mean
    model_config = ConfigDict(extra="forbid")

    question: str = Field(description="The question.")
    store: str | None = Field(
        None, description="The store's name; not needed where there is only one."
    )
    stream: bool | None = Field(None, description="Whether to send the answer as it is made.")
    k: int | None = Field(None, ge=1, le=MOST_PASSAGES, description="Most passages; 3 by default.")
    min_score: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Passages with lower scores are not answered from. By default what was "
        "measured for the default model, otherwise 0.",
    )
    where: dict[str, Any] | None = Field(None, description=WHERE)
    max_tokens: int | None = Field(None, ge=1, description="Most tokens; 512 by default.")


class StoreCompletion(BaseModel):
    """An answer from passages. Without citations it says that the documents do not tell."""

    object: Literal["ask.answer"] = "ask.answer"
    store: str = Field(description="The store's name.")
    answer: str
    citations: list[Citation] = Field(description="The passages that the model read.")
    best_score: float | None = Field(description="Of the best passage found, cited or not.")
    finish_reason: Finish = Field(description="length: at the limit, or the context was full.")
    usage: Usage


@router.post("/ask", response_model=StoreCompletion, responses={200: _STREAM})
async def ask(body: AskRequest, service: ReadyService) -> Response:
    """Answer a question from the passages of a store."""
    name = store_name(body.store, service)
    check_where(body.where)
    store = service.store(name)
    begin = partial(_begin, store=store, body=body)
    if body.stream:
        return StreamedResponse(
            _events(service, begin, store, name),
            failure=partial(failed, service),
            pause=service.settings.keep_alive,
        )
    async with service.answer(begin) as running:
        async for _ in running:
            pass
        answer = cast("StoreAnswer", running.answer)
        return JsonResponse(_completion(answer, await _cited(service, store, answer), name))


def _begin(model: GritLM, *, store: "Store", body: AskRequest) -> "StoreAnswer":
    model.check_generates()
    options: ChatOptions = {} if body.max_tokens is None else {"max_tokens": body.max_tokens}
    return store.ask(
        body.question,
        body.k or 3,
        layout=AUTO,
        min_score=body.min_score,
        where=body.where,
        stream=True,
        **options,
    )


async def _events(
    service: Service, begin: Callable[[GritLM], "StoreAnswer"], store: "Store", name: str
) -> AsyncGenerator[str, None]:
    async with service.answer(begin) as running:
        answer = cast("StoreAnswer", running.answer)
        citations = await _cited(service, store, answer)
        shown = [each.model_dump() for each in citations]
        yield event({"object": "ask.citations", "citations": shown})
        async for piece in running:
            yield event({"object": "ask.text", "text": piece})
        yield event(_completion(answer, citations, name))
        yield DONE


async def _cited(service: Service, store: "Store", answer: "StoreAnswer") -> list[Citation]:
    return await service.in_thread(lambda _: cite(store, answer.passages))


def _completion(answer: "StoreAnswer", citations: list[Citation], name: str) -> dict[str, Any]:
    return StoreCompletion(
        store=name,
        answer=answer.text,
        citations=citations,
        best_score=answer.best_score,
        finish_reason=finish_of(answer.finish_reason),
        usage=usage_of(answer),
    ).model_dump()
