"""`tools` and `tool_choice` of a request, and the schema that makes an answer a call."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from gritlite.runtime.template import Tool
from gritlite.serve.errors import invalid

# of a function without parameters; templates expect to find some
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}


class FunctionDefinition(BaseModel):
    """A function that the model may call."""

    name: str = Field(min_length=1, description="Its name.")
    description: str | None = Field(None, description="What it does, for the model.")
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema of its arguments.")


class ToolDefinition(BaseModel):
    """A tool: a function, nothing else is known."""

    type: str = Field("function", description="function.")
    function: FunctionDefinition


class ChosenFunction(BaseModel):
    """The function to call."""

    name: str


class NamedChoice(BaseModel):
    """The tool to call."""

    type: str = Field("function", description="function.")
    function: ChosenFunction | None = None


@dataclass(frozen=True)
class OfferedTools:
    """The tools that an answer may call, as a template takes them.

    `schema` is what the answer must follow to be a call, None if it may be any text.
    """

    tools: Sequence[Tool] = ()
    schema: dict[str, Any] | None = None
    only_one: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The functions' names."""
        return frozenset(tool["function"]["name"] for tool in self.tools)


def offered_tools(
    tools: Sequence[ToolDefinition] | None,
    choice: str | NamedChoice | None,
    *,
    only_one: bool = False,
) -> OfferedTools:
    """The tools of a request, `only_one` of which may be called in an answer.

    Raises ApiError for those that are not functions, and for a choice that cannot be met.
    """
    mode, name = _wanted(choice)
    if not tools:
        if mode == "required":
            raise invalid("tool_choice wants a call, but there are no tools", "tool_choice")
        return OfferedTools()
    for number, tool in enumerate(tools):
        if tool.type != "function":
            place = f"tools[{number}].type"
            raise invalid(f"{place} is {tool.type!r}: expected function", place)
    if mode == "none":
        return OfferedTools()
    functions = [tool.function for tool in tools]
    forms = [_form(function) for function in functions]
    if mode == "auto":
        return OfferedTools(forms, only_one=only_one)
    if name is not None:
        functions = [function for function in functions if function.name == name]
        if not functions:
            raise invalid(f"tool_choice: there is no tool {name!r}", "tool_choice")
    return OfferedTools(forms, _schema(functions), only_one=True)


def called_arguments(written: str | None, place: str) -> dict[str, Any]:
    """The arguments of a call that an earlier answer made. Raises ApiError, which names `place`."""
    try:
        arguments = json.loads(written or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise invalid(f"{place} is not a JSON object in a string", place)
    return arguments


def _wanted(choice: str | NamedChoice | None) -> tuple[str, str | None]:
    """auto, none or required, and the function that is required if it is a certain one."""
    if choice is None:
        return "auto", None
    if isinstance(choice, NamedChoice):
        if choice.function is None:
            raise invalid("tool_choice.function is missing: it names one", "tool_choice")
        return "required", choice.function.name
    if choice not in ("auto", "none", "required"):
        problem = f"tool_choice is {choice!r}: expected none, auto, required or a function"
        raise invalid(problem, "tool_choice")
    return choice, None


def _form(function: FunctionDefinition) -> Tool:
    shown: dict[str, Any] = {"name": function.name, "description": function.description or ""}
    shown["parameters"] = function.parameters or _NO_PARAMETERS
    return {"type": "function", "function": shown}


def _schema(functions: Sequence[FunctionDefinition]) -> dict[str, Any]:
    """The schema of a call of one of the functions. References reach the same definitions."""
    definitions: dict[str, Any] = {}
    calls = []
    for function in functions:
        parameters = dict(function.parameters or _NO_PARAMETERS)
        defined = parameters.pop("$defs", {})
        if not isinstance(defined, dict):
            raise invalid(f"tools: $defs of {function.name!r} is not an object", "tools")
        for name, definition in defined.items():
            if definitions.setdefault(name, definition) != definition:
                raise invalid(f"tools: there are two definitions of {name!r}", "tools")
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": function.name}, "arguments": parameters},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {**schema, "$defs": definitions} if definitions else schema
