"""`/info`: what the server runs, for people."""

import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gritlite.errors import GritLiteError
from gritlite.modelfile.description import describe
from gritlite.runtime.model import GritLM
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.metrics import resident_memory
from gritlite.version import __version__

if TYPE_CHECKING:
    from gritlite.rag.store import Store

router = APIRouter(tags=["server"])
log = logging.getLogger(__name__)


class StoreFacts(BaseModel):
    """What a store holds."""

    name: str
    documents: int = Field(description="Documents that are searched.")
    passages: int = Field(description="Their passages.")
    pending: int = Field(description="Documents that are not embedded yet.")
    states: int = Field(description="Passages' key-value states that are kept.")
    is_readable: bool = Field(
        description="Whether the store could be read; if not, the log says why."
    )


class Facts(BaseModel):
    """The model, its stores and the memory they take."""

    name: str = Field(description="What clients call the model.")
    version: str = Field(description="gritlite's version.")
    architecture: str
    parameters: int
    file_type: str | None = Field(description="The type of most weights.")
    file_bytes: int
    context_length: int = Field(description="In tokens, of a chat.")
    dimension: int = Field(description="Numbers of a vector.")
    dimensions: list[int] = Field(description="Numbers that a vector may have on request.")
    generates: bool = Field(description="Whether it answers chats.")
    embeds_with: str = Field(description="The engine that embeds.")
    threads: int
    resident_bytes: int | None = Field(description="Memory of the process; null: not known.")
    stores: list[StoreFacts]


@router.get("/info")
async def info(service: ReadyService) -> Facts:
    """What the server runs, and the memory it takes now."""
    stores = {name: service.store(name) for name in service.store_names}
    return await service.in_thread(lambda model: _facts(service.names.name, model, stores))


def _facts(name: str, model: GritLM, stores: "dict[str, Store]") -> Facts:
    file = describe(model.file)
    return Facts(
        name=name,
        version=__version__,
        architecture=file.architecture,
        parameters=file.parameters,
        file_type=file.file_type,
        file_bytes=file.file_bytes,
        context_length=model.context_length,
        dimension=model.dimension,
        dimensions=[*sorted(model.format.sizes), model.dimension],
        generates=file.generates and not file.embeds_only,
        embeds_with=model.embeds_with,
        threads=model.threads,
        resident_bytes=resident_memory(),
        stores=[_store_facts(name, store) for name, store in stores.items()],
    )


def _store_facts(name: str, store: "Store") -> StoreFacts:
    from gritlite.rag.maintenance import info as store_info

    try:
        held = store_info(store.path)
    except GritLiteError as error:  # the model's facts are wanted all the same
        log.error("%s: %s", type(error).__name__, error)
        return StoreFacts(
            name=name, documents=0, passages=0, pending=0, states=0, is_readable=False
        )
    return StoreFacts(
        name=name,
        documents=held.sources,
        passages=held.chunks,
        pending=held.pending,
        states=held.states.states,
        is_readable=True,
    )
