"""Errors as answers: every exception becomes the error object of the interface asked.

OpenAI's is `{"error": {"message", "type", "param", "code"}}`
(platform.openai.com/docs/guides/error-codes), Ollama's `{"error": message}`, Cohere's
`{"message"}`. An answer never holds a traceback or a path of this machine.
"""

import logging
import re
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gritlite import errors
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.validation import wrong_field

log = logging.getLogger(__name__)

# status, code, and whether the message is for the client; the first class that fits decides
_KINDS: tuple[tuple[type[errors.GritLiteError], int, str, bool], ...] = (
    (errors.InputTooLongError, 400, "context_length_exceeded", True),
    (errors.EmptyTextError, 400, "empty_text", True),
    (errors.InputError, 400, "invalid_input", True),
    (errors.UsageError, 400, "invalid_value", True),
    (errors.NotFiniteError, 500, "not_finite", True),
    (errors.OutOfMemoryError, 503, "out_of_memory", True),
    (errors.CancelledError, 503, "cancelled", True),
    (errors.ClosedError, 503, "shutting_down", False),
    (errors.MissingExtraError, 501, "missing_extra", True),
    (errors.GritLiteError, 500, "server_error", False),
)
_INTERNAL = "the server failed, and its log says why"
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_RETRY = "Retry-After"


class ApiError(HTTPException):
    """An error that a request is answered with.

    `param` is the field of the request that is wrong, `retry_after` whole seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        headers = {} if retry_after is None else {_RETRY: str(retry_after)}
        super().__init__(status, message, headers)
        self.code = code
        self.param = param


class Problem(BaseModel):
    """What went wrong."""

    message: str = Field(description="What is wrong and what to do.")
    type: str = Field(description="The kind of error, such as invalid_request_error.")
    param: str | None = Field(description="The field of the request that is wrong.")
    code: str | None = Field(description="What programs tell errors by.")


class ErrorBody(BaseModel):
    """The answer to a request that failed."""

    error: Problem


# for routers: what their OpenAPI document says of failures
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is wrong, or there is no room."},
    "5XX": {"model": ErrorBody, "description": "The server cannot answer now, or failed."},
}


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """An error about a field of the request."""
    return ApiError(400, message, code=code, param=param)


def as_api_error(error: Exception) -> ApiError:
    """The error that a request is answered with when `error` ended it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    for kind, status, code, is_for_client in _KINDS:
        if isinstance(error, kind):
            if not is_for_client:
                log.error("%s: %s", type(error).__name__, error, exc_info=error)
            message = str(error) if is_for_client else _INTERNAL
            return ApiError(status, message, code=code, param=_field_of(error))
    log.error("unexpected %s%s", type(error).__name__, _place_of(error), exc_info=error)
    return ApiError(500, _INTERNAL, code="server_error")


def _field_of(error: errors.GritLiteError) -> str | None:
    """The field of a request that an error of the library is about."""
    argument = error.argument if isinstance(error, errors.UsageError) else None
    return _FIELDS.get(argument, argument) if argument else None


_FIELDS = {"json_schema": "response_format"}  # OpenAI's names of arguments, where they differ


def _place_of(error: Exception) -> str:
    """Where an error was raised; its message may hold a prompt, which is not logged."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


def error_response(
    error: Exception, path: str, hide: Callable[[str], str] = lambda text: text
) -> JsonResponse:
    """The answer to a request for `path` that `error` ended; `hide` takes paths out of a text."""
    known = as_api_error(error)
    return JsonResponse(error_body(known, path, hide), known.status_code, known.headers)


def error_body(
    error: ApiError, path: str, hide: Callable[[str], str] = lambda text: text
) -> dict[str, Any]:
    """The JSON of an error, in the form of the interface that `path` belongs to."""
    message = _LONG_NUMBER.sub(_counted_digits, hide(error.detail))
    for prefix, form in FORMS.items():
        if path.startswith(prefix):
            return form(message)
    kind = _TYPES.get(error.status_code)
    if kind is None:
        kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
    return {
        "error": {"message": message, "type": kind, "param": error.param, "code": error.code},
    }


_LONG_NUMBER = re.compile(r"\d{40,}")


def _counted_digits(number: re.Match[str]) -> str:
    return f"a number of {len(number.group())} digits"


# error objects that are not OpenAI's, by the beginning of the path
FORMS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "/api/": lambda message: {"error": message},  # Ollama's
    "/v2/": lambda message: {"message": message},  # Cohere's
}


def _of_http(error: HTTPException) -> ApiError:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    message, headers = error.detail, error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed(headers)
        message, headers = f"this address takes {allowed} only", {"Allow": allowed}
    elif error.status_code == HTTPStatus.NOT_FOUND:
        message = "there is nothing at this address: /openapi.json lists what there is"
    elif error.status_code == HTTPStatus.BAD_REQUEST:
        message = f"the body cannot be read: {_unread(error.__cause__)}"
    known = ApiError(error.status_code, message, code=codes.get(error.status_code, "invalid_body"))
    known.headers = headers
    return known


def _allowed(headers: Mapping[str, str] | None) -> str:
    """The methods of an address, as the header `Allow` lists them: HEAD wherever there is GET."""
    allowed = {method.strip() for method in (headers or {}).get("Allow", "").split(",")}
    return ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))


def _unread(cause: BaseException | None) -> str:
    """Why a body was not read."""
    if isinstance(cause, RecursionError):
        return "its lists and objects are nested too deeply"
    if isinstance(cause, ValueError) and not isinstance(cause, UnicodeError):
        return "it has a number of thousands of digits"
    return "expected JSON in UTF-8"


def _of_validation(error: RequestValidationError) -> ApiError:
    problems = error.errors()
    if problems[0]["type"] == "json_invalid":
        reason = problems[0]["ctx"]["error"]
        return invalid(f"the body is not JSON: {reason}", code="invalid_body")
    wrong = wrong_field(problems, error.body)
    return invalid(wrong.message, wrong.path, wrong.code)
