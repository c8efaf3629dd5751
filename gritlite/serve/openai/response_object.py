"""The answers of `/v1/responses`, as the official clients' types have them."""

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from gritlite.serve.openai.chat_answer import OF_STORES, finish_of, usage_of
from gritlite.serve.openai.log_probabilities import TokenLogprob
from gritlite.serve.openai.response_request import ResponseRequest
from gritlite.serve.openai.response_tools import ResponseChoice, ResponseTool
from gritlite.serve.openai.tool_calls import Call
from gritlite.serve.service.answers import AnswerStream
from gritlite.serve.stores.citations import Citation
from gritlite.serve.stores.cited_answer import citations_of

Status = Literal["in_progress", "completed", "incomplete"]


class OutputText(BaseModel):
    """The text of an answer."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[dict[str, Any]] = Field(default=[], description="Always empty.")
    logprobs: list[TokenLogprob] = Field(default=[], description="Empty unless asked for.")


class OutputMessage(BaseModel):
    """The message that answers."""

    type: Literal["message"] = "message"
    id: str
    status: Status
    role: Literal["assistant"] = "assistant"
    content: list[OutputText]


class OutputCall(BaseModel):
    """A call of a function."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str = Field(description="What the function's result refers to.")
    name: str
    arguments: str = Field(description="A JSON object.")
    status: Status


OutputItem = OutputMessage | OutputCall


class InputDetails(BaseModel):
    """About the input's tokens."""

    cached_tokens: int = Field(description="How many needed no evaluation.")
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    """About the output's tokens."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """How many tokens were used."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(BaseModel):
    """Why an answer is not whole."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseObject(BaseModel):
    """An answer, and what was asked."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    error: None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem] = Field(description="A message, if there is a text, then calls.")
    parallel_tool_calls: bool
    previous_response_id: None = None
    store: Literal[False] = False
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | ResponseChoice
    tools: list[ResponseTool]
    top_p: float | None
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
    citations: list[Citation] | None = Field(None, description=OF_STORES)

    def shown(self, answer: AnswerStream) -> dict[str, Any]:
        """The object as JSON, with the citations of an answer that has them."""
        return self.model_dump(exclude={"citations"}) | citations_of(answer)


class Writer:
    """Writes the object of one answer: as it begins, and as it is at its end."""

    def __init__(self, request: ResponseRequest, model: str) -> None:
        self._begun: dict[str, Any] = {
            "id": f"resp_{uuid.uuid4().hex}",
            "created_at": int(time.time()),
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": model,
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "temperature": request.temperature,
            "text": {"format": _format(request)},
            "tool_choice": request.tool_choice or "auto",
            "tools": request.tools or [],
            "top_p": request.top_p,
        }

    def begun(self) -> ResponseObject:
        """The object before there is any output."""
        return ResponseObject(**self._begun, status="in_progress", output=[])

    def ended(self, answer: AnswerStream, output: Sequence[OutputItem]) -> ResponseObject:
        """The object of an answer that has ended."""
        status = status_of(answer, has_calls=any(isinstance(each, OutputCall) for each in output))
        return ResponseObject(
            **self._begun,
            status=status,
            incomplete_details=Incomplete() if status == "incomplete" else None,
            output=list(output),
            usage=_usage(answer),
        )


def status_of(answer: AnswerStream, *, has_calls: bool) -> Status:
    """Whether an answer that has ended is whole; one with calls is."""
    is_cut = finish_of(answer.finish_reason) == "length"
    return "incomplete" if is_cut and not has_calls else "completed"


def begun_message() -> OutputMessage:
    """A message before it has a text."""
    return OutputMessage(id=f"msg_{uuid.uuid4().hex}", status="in_progress", content=[])


def begun_call(call: Call) -> OutputCall:
    """A call before it has arguments."""
    name = call.function.name
    return OutputCall(
        id=f"fc_{uuid.uuid4().hex}",
        call_id=call.id,
        name=name,
        arguments="",
        status="in_progress",
    )


def _format(request: ResponseRequest) -> dict[str, Any]:
    wanted = None if request.text is None else request.text.format
    if wanted is None:
        return {"type": "text"}
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    name = wanted.name or "schema"
    return {"type": wanted.type, "name": name, "schema": wanted.schema_, "strict": True}


def _usage(answer: AnswerStream) -> ResponseUsage:
    usage = usage_of(answer)
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputDetails(cached_tokens=usage.prompt_tokens_details.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputDetails(),
        total_tokens=usage.total_tokens,
    )
