"""The calls of tools in an answer's text, in the forms that chat templates teach models.

Hermes' and Qwen's `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, Mistral's
`[TOOL_CALLS][{"name": ..., "arguments": ...}]`, its newer `[TOOL_CALLS]NAME[ARGS]{...}`, and
Llama's `{"name": ..., "parameters": ...}`, also behind `<|python_tag|>`. The marks of the last
three are control tokens in most files, which an answer's text does not show. So they are calls
only if they are all of an answer, and only of tools that were offered; in Hermes' form a call
may follow a text.
"""

import json
import re
import uuid
from collections.abc import Collection
from typing import Any, Literal

from pydantic import BaseModel, Field

_OPEN = "<tool_call>"
_MARKS = ("[TOOL_CALLS]", "<|python_tag|>")
_BEHIND_NAME = re.compile(r"\s*(?:\[CALL_ID\]\w+\s*)?(?:\[ARGS\])?\s*")
_BEGINNINGS = ("[", "{", _OPEN, *_MARKS)  # of an answer that may be a call
_ID_LENGTH = 9  # letters and digits: Mistral's templates refuse any other


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class CalledFunction(BaseModel):
    """A call's function and arguments."""

    name: str
    arguments: str = Field(description="A JSON object.")


class Call(BaseModel):
    """A call of a tool."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


def calls_in(text: str, names: Collection[str]) -> tuple[str, list[Call]]:
    """The text before the calls, and the calls; all of the text and none if it has no calls."""
    if _OPEN in text:
        before, *parts = text.split(_OPEN)
        found = [_value(part) for part in parts]
        before = before.rstrip()
        known = None
    else:
        before, found, known = "", _values(text, names), names
    calls = [call for value in found if (call := _call(value, known)) is not None]
    if not calls or len(calls) < len(found):
        return text, []
    return before, calls


def _value(text: str) -> Any:
    """The JSON at the beginning of a text, None if there is none."""
    try:
        return _DECODER.raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _values(text: str, names: Collection[str]) -> list[Any]:
    """The values of a text that is nothing but JSON, with marks or names before, `;` between."""
    rest, found = text.strip(), list[Any]()
    while rest:
        for mark in _MARKS:
            rest = rest.removeprefix(mark).lstrip()
        name = max((each for each in names if rest.startswith(each)), key=len, default=None)
        if name is not None:
            rest = _BEHIND_NAME.sub("", rest[len(name) :], count=1)
        try:
            value, end = _DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            return []
        if name is not None:
            value = {"name": name, "arguments": value}
        found += value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip(" \t\r\n;,")
    return found


def _call(value: Any, names: Collection[str] | None) -> Call | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _value(arguments)
    if not isinstance(arguments, dict) or (names is not None and value["name"] not in names):
        return None
    written = json.dumps(arguments, ensure_ascii=False)
    function = CalledFunction(name=value["name"], arguments=written)
    return Call(id=uuid.uuid4().hex[:_ID_LENGTH], function=function)


class CallReader:
    """Reads an answer piece by piece, and holds back what may belong to a call.

    Without `names` of offered tools nothing is held back.
    """

    def __init__(self, names: Collection[str], *, only_one: bool = False) -> None:
        self._names = names
        self._only_one = only_one
        self._text = ""
        self._sent = 0

    def add(self, piece: str) -> str:
        """The text that can be sent after a piece."""
        self._text += piece
        return self._send(self._text[: self._safe_length()])

    def end(self) -> tuple[str, list[Call]]:
        """The text that is left once the answer has ended, and its calls."""
        text, calls = calls_in(self._text, self._names) if self._names else (self._text, [])
        return self._send(text), calls[:1] if self._only_one else calls

    def _send(self, text: str) -> str:
        unsent, self._sent = text[self._sent :], max(self._sent, len(text))
        return unsent

    def _safe_length(self) -> int:
        if not self._names:
            return len(self._text)
        begun, beginnings = self._text.lstrip(), (*_BEGINNINGS, *self._names)
        if any(begun.startswith(each) or each.startswith(begun) for each in beginnings):
            return 0
        end = self._text.find(_OPEN)
        if end < 0:
            ends = (n for n in range(len(_OPEN) - 1, 0, -1) if self._text.endswith(_OPEN[:n]))
            end = len(self._text) - next(ends, 0)
        return len(self._text[:end].rstrip())
