"""The ASGI application: routes inside, guards around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from gritlite.errors import GritLiteError
from gritlite.runtime.model import GritLM
from gritlite.serve import page
from gritlite.serve.cohere import embed as cohere_embed
from gritlite.serve.cohere import rerank
from gritlite.serve.dependencies import service_of
from gritlite.serve.errors import ERROR_RESPONSES, error_response
from gritlite.serve.metrics import Counting
from gritlite.serve.middleware.body import Bodies
from gritlite.serve.middleware.departure import Departures
from gritlite.serve.middleware.failures import Failures
from gritlite.serve.middleware.head import Heads
from gritlite.serve.middleware.host import Hosts
from gritlite.serve.middleware.key import Keys
from gritlite.serve.middleware.origin import Origins
from gritlite.serve.ollama import chat as ollama_chat
from gritlite.serve.ollama import embed as ollama_embed
from gritlite.serve.ollama import models as ollama_models
from gritlite.serve.openai import chat, completions, embeddings, models, responses
from gritlite.serve.routes import health, info, tokens
from gritlite.serve.service.service import Load, Service
from gritlite.serve.settings import Settings
from gritlite.serve.stores import ask, search
from gritlite.version import __version__

# a new route's module goes here
ROUTERS = (
    health.router,
    tokens.router,
    models.router,
    embeddings.router,
    chat.router,
    completions.router,
    responses.router,
    search.router,
    ask.router,
    info.router,
    page.router,
    ollama_models.router,
    ollama_chat.router,
    ollama_embed.router,
    rerank.router,
    cohere_embed.router,
)


def create_app(settings: Settings, load: Load | None = None) -> ASGIApp:
    """The application for any ASGI server; its lifespan loads the model and frees it.

    `load` loads the model, by default by `settings.name`. It runs in a thread.
    """
    return application(Service(settings, load or (lambda: GritLM(settings.name))))


def application(service: Service) -> ASGIApp:
    """The application over a service: its routes behind their guards."""
    settings = service.settings
    app: ASGIApp = Bodies(Heads(routes(service)), settings)
    app = Failures(Keys(app, settings))
    app = Hosts(Origins(app, settings), settings)
    return Counting(Departures(app), service.metrics)


def routes(service: Service) -> FastAPI:
    """The routes over a service, without guards."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="gritlite",
        version=__version__,
        description="Chat, embeddings and answers from stores, from one copy of the weights.",
        lifespan=lifespan,
        docs_url=None,  # their pages fetch scripts from elsewhere
        redoc_url=None,
        responses=ERROR_RESPONSES,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    for kind in (RequestValidationError, HTTPException, GritLiteError, Exception):
        app.add_exception_handler(kind, _answer_error)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    return error_response(error, request.url.path, service_of(request).hide)
