"""What routes ask for: the service, once the model is ready."""

from typing import Annotated, cast

from fastapi import Depends, Request

from gritlite.serve.service.service import Service


def service_of(request: Request) -> Service:
    """The application's service, in whatever state it is."""
    return cast(Service, request.app.state.service)


async def _service(request: Request) -> Service:
    return service_of(request)


async def _ready(request: Request) -> Service:
    service = service_of(request)
    service.model  # noqa: B018 - raises NotReadyError
    return service


# parameters of routes; ReadyService answers 503 while the model is loading
AnyService = Annotated[Service, Depends(_service)]
ReadyService = Annotated[Service, Depends(_ready)]
