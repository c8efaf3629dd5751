"""How requests fail on Ollama's addresses, for the OpenAPI document and at a stream's end."""

from typing import Any

from pydantic import BaseModel, Field

from gritlite.serve.errors import ApiError, error_body
from gritlite.serve.json_response import to_json
from gritlite.serve.service.service import Service


class OllamaError(BaseModel):
    """The answer to a request that failed."""

    error: str = Field(description="What is wrong and what to do.")


FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": OllamaError, "description": "The request is wrong, or there is no room."},
    "5XX": {"model": OllamaError, "description": "The server cannot answer now, or failed."},
}


def failed(service: Service, error: ApiError) -> str:
    """The line that ends a stream which failed."""
    return to_json(error_body(error, "/api/", service.hide)) + "\n"
