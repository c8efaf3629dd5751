"""`tools` and `tool_choice` of `/v1/responses`, as those of a chat."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from gritlite.serve.errors import invalid


class ResponseTool(BaseModel):
    """A tool: a function, nothing else is known."""

    type: str = Field(description="function; web_search and others are refused.")
    name: str | None = Field(None, description="The function's name.")
    description: str | None = Field(None, description="What it does, for the model.")
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema of its arguments.")
    strict: bool | None = Field(
        None, description="A call that is required follows the schema, whatever this says."
    )


class ResponseChoice(BaseModel):
    """The tool to call."""

    type: str = Field(description="function.")
    name: str | None = Field(None, description="The function's name.")


def chat_tools(tools: Sequence[ResponseTool] | None) -> list[dict[str, Any]] | None:
    """The tools as chats have them. Raises ApiError for other tools than functions."""
    return None if tools is None else [_chat_tool(*each) for each in enumerate(tools)]


def _chat_tool(number: int, tool: ResponseTool) -> dict[str, Any]:
    if tool.type != "function":
        place = f"tools[{number}].type"
        problem = f"{place} is {tool.type!r}, which is not supported: expected function"
        raise invalid(problem, place, "unsupported")
    if not tool.name:
        place = f"tools[{number}].name"
        raise invalid(f"{place} is missing", place, "missing_required_parameter")
    function = tool.model_dump(include={"name", "description", "parameters"})
    return {"type": "function", "function": function}


def chat_choice(choice: str | ResponseChoice | None) -> str | dict[str, Any] | None:
    """The choice as chats have it. Raises ApiError for other tools than functions."""
    if not isinstance(choice, ResponseChoice):
        return choice
    if choice.type != "function":
        problem = f"tool_choice.type is {choice.type!r}: expected function"
        raise invalid(problem, "tool_choice.type", "unsupported")
    if not choice.name:
        problem = "tool_choice.name is missing: it names a function"
        raise invalid(problem, "tool_choice.name", "missing_required_parameter")
    return {"type": "function", "function": {"name": choice.name}}
