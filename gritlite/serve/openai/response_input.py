"""`input` of `/v1/responses`: messages, calls and their results, as the messages of a chat."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from gritlite.serve.errors import invalid
from gritlite.serve.lists import Items
from gritlite.serve.openai.tool_request import called_arguments

_TEXTS = ("input_text", "output_text", "text")
_ROLES = ("system", "developer", "user", "assistant")


class InputPart(BaseModel):
    """A part of a message, or of a call's result."""

    type: str = Field(description="input_text or output_text; images and files are refused.")
    text: str | None = Field(None, description="The part's text.")


class InputItem(BaseModel):
    """A message, a call, or a call's result; the output of an earlier answer is one too."""

    type: str | None = Field(
        None, description="message (also null), function_call or function_call_output."
    )
    role: str | None = Field(None, description="system or developer, user, or assistant.")
    content: str | Items[InputPart] | None = Field(None, description="The text, or its parts.")
    call_id: str | None = Field(None, description="The call's, which its result repeats.")
    name: str | None = Field(None, description="The function that was called.")
    arguments: str | None = Field(None, description="Of the call: a JSON object.")
    output: str | Items[InputPart] | None = Field(None, description="The call's result.")


def messages_of(given: str | Sequence[InputItem]) -> list[dict[str, Any]]:
    """The messages of a chat. Calls belong to the assistant's message before them.

    Raises ApiError.
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not given:
        raise invalid("input is empty: expected a text or messages", "input")
    messages: list[dict[str, Any]] = []
    for number, item in enumerate(given):
        place = f"input[{number}]"
        if item.type == "function_call":
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(_call(item, place))
        elif item.type == "function_call_output":
            messages.append(_result(item, place))
        else:
            messages.append(_message(item, place))
    return messages


def _call(item: InputItem, place: str) -> dict[str, Any]:
    for field in ("call_id", "name"):
        if not getattr(item, field):
            problem = f"{place}.{field} is missing"
            raise invalid(problem, f"{place}.{field}", "missing_required_parameter")
    called_arguments(item.arguments, f"{place}.arguments")
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def _result(item: InputItem, place: str) -> dict[str, Any]:
    if not item.call_id:
        problem = f"{place}.call_id is missing: it says whose result this is"
        raise invalid(problem, f"{place}.call_id", "missing_required_parameter")
    content = _text(item.output, f"{place}.output")
    return {"role": "tool", "tool_call_id": item.call_id, "content": content}


def _message(item: InputItem, place: str) -> dict[str, Any]:
    if item.type not in (None, "message"):
        expected = "message, function_call or function_call_output"
        problem = f"{place}.type is {item.type!r}: expected {expected}"
        raise invalid(problem, f"{place}.type", "unsupported")
    if item.role not in _ROLES:
        problem = f"{place}.role is {item.role!r}: expected system, developer, user or assistant"
        raise invalid(problem, f"{place}.role")
    return {"role": item.role, "content": _text(item.content, f"{place}.content")}


def _text(content: str | list[InputPart] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for number, part in enumerate(content):
        if part.type not in _TEXTS or part.text is None:
            problem = f"{place}[{number}] is not a text: this model reads nothing else"
            raise invalid(problem, f"{place}[{number}].type")
    return "".join(part.text or "" for part in content)
