"""`/health` for those who wait for the model, `/metrics` for Prometheus."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse

from gritlite.serve.dependencies import AnyService
from gritlite.serve.service.service import State
from gritlite.version import __version__

router = APIRouter(tags=["server"])
_PROMETHEUS = "text/plain; version=0.0.4"


class Health(BaseModel):
    """Whether the server can answer."""

    status: State = Field(description="ready once the model is loaded.")
    version: str = Field(description="gritlite's version.")


class NotHealthy(Health):
    """The server cannot answer now."""

    status: Literal["loading", "failed", "stopping"]


@router.get(
    "/health", responses={503: {"model": NotHealthy, "description": "The model is not loaded."}}
)
async def health(service: AnyService, response: Response) -> Health:
    """Whether the model is loaded: 503 until then."""
    if service.state != "ready":
        response.status_code = 503
    return Health(status=service.state, version=__version__)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: AnyService) -> PlainTextResponse:
    """Counters and gauges, as Prometheus reads them."""
    text = service.metrics.text(service.gauges())
    return PlainTextResponse(text, media_type=_PROMETHEUS)
