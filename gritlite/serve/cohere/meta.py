"""What all of Cohere's answers hold, and how they fail."""

from typing import Any

from pydantic import BaseModel, Field


class ApiVersion(BaseModel):
    """The version of the interface."""

    version: str


class Meta(BaseModel):
    """About an answer."""

    api_version: ApiVersion
    billed_units: dict[str, int] = Field(description="What was used; nothing is billed.")


class CohereError(BaseModel):
    """The answer to a request that failed."""

    message: str = Field(description="What is wrong and what to do.")


# for routes below /v2/
FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": CohereError, "description": "The request is wrong, or there is no room."},
    "5XX": {"model": CohereError, "description": "The server cannot answer now, or failed."},
}


def meta(version: str, **units: int) -> dict[str, Any]:
    """The field `meta` of an answer."""
    return {"api_version": {"version": version}, "billed_units": units}
