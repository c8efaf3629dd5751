"""`/v1/models`: the model, by each of its names."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gritlite.serve.dependencies import ReadyService
from gritlite.serve.service.service import Service

router = APIRouter(prefix="/v1", tags=["OpenAI"])


class Model(BaseModel):
    """A name that the model can be called by."""

    id: str = Field(description="NAME, NAME:query for texts that are queries, or NAME+STORE.")
    object: Literal["model"] = "model"
    created: int = Field(description="When the model's file was written, in seconds since 1970.")
    owned_by: Literal["gritlite"] = "gritlite"


class ModelList(BaseModel):
    """All names."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models")
async def models(service: ReadyService) -> ModelList:
    """The names that the model can be called by."""
    return ModelList(data=[_model(service, name) for name in service.names.all()])


@router.get("/models/{name:path}")
async def model(name: str, service: ReadyService) -> Model:
    """One of the names; 404 for any other."""
    service.names.find(name)
    return _model(service, name)


def _model(service: Service, name: str) -> Model:
    return Model(id=name, created=int(service.model.path.stat().st_mtime))
