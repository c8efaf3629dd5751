"""A JSON schema as read: its parts by JSON pointer, references, and keywords checked.

A part is known by its pointer (RFC 6901, such as `#/properties/name`). It is checked when
it is first asked for, so that parts which nothing refers to may hold anything. It does not
know what keywords mean.
"""

import json
import math
import urllib.parse
from collections.abc import Iterable
from typing import Any

from gritlite.errors import UsageError
from gritlite.runtime.schema.keywords import check
from gritlite.runtime.schema.refusals import refusal, shown

MAX_SIZE = 4_000_000  # characters of the schema's text
MAX_DEPTH = 100  # levels of objects and arrays

Part = dict[str, Any] | bool


class Document:
    """The parts of one schema. Raises UsageError, which names the keyword and its place."""

    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._parts: dict[str, Part] = {}
        self._anchors: dict[str, str] | None = None
        self.add("#", root)

    def add(self, pointer: str, part: Any) -> str:
        """Add a part and return its pointer."""
        if pointer not in self._parts:
            check(pointer, part)
            self._parts[pointer] = part
        return pointer

    def __getitem__(self, pointer: str) -> Part:
        return self._parts[pointer]

    def mentions(self, word: str) -> bool:
        """Return whether a word is anywhere in the schema's text."""
        return word in self._text

    def keywords(self, pointer: str) -> dict[str, Any]:
        """Return a part as an object; `true` is an empty one."""
        part = self._parts[pointer]
        return part if isinstance(part, dict) else {} if part else {"enum": []}

    def child(self, pointer: str, *path: str | int) -> str:
        """Return the pointer of a schema inside a part, such as `items` or `properties`, name."""
        found: Any = self._parts[pointer]
        for key in path:
            found = found[key]
            pointer += "/" + str(key).replace("~", "~0").replace("/", "~1")
        return self.add(pointer, found)

    def target(self, pointer: str) -> str:
        """Return the pointer that a part's `$ref` refers to."""
        reference = self.keywords(pointer)["$ref"]
        base, _, fragment = reference.partition("#")
        own = self._root.get("$id", "") if isinstance(self._root, dict) else ""
        if base and base != str(own).rstrip("#"):
            raise refusal(
                "$ref", pointer, f"{reference!r} is in another document: copy it into $defs"
            )
        if not fragment:
            return "#"
        if not fragment.startswith("/"):
            return self._anchor(fragment, pointer)
        found: Any = self._root
        clean = "#"
        for step in urllib.parse.unquote(fragment).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key) if isinstance(found, list) else key]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise refusal("$ref", pointer, f"there is no {reference!r}") from error
            clean += "/" + step
        return self.add(clean, found)

    def _anchor(self, name: str, pointer: str) -> str:
        if self._anchors is None:
            self._anchors = {}
            for place, found in _walk(self._root):
                if isinstance(found, dict) and isinstance(found.get("$anchor"), str):
                    self._anchors.setdefault(found["$anchor"], place)
                    self.add(place, found)
        if name not in self._anchors:
            raise refusal("$ref", pointer, f"there is no $anchor {name!r}")
        return self._anchors[name]


def read(schema: Any) -> Document:
    """Read a schema from its JSON text or from the objects that it stands for."""
    try:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        if len(text) > MAX_SIZE:
            raise UsageError(f"the JSON schema has more than {MAX_SIZE} characters")
        content = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _too_deep() from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"the JSON schema is not valid JSON: {error}") from error
    if not isinstance(content, dict | bool):
        raise UsageError("the JSON schema is not an object")
    for place, found in _walk(content):
        if place.count("/") > MAX_DEPTH:
            raise _too_deep()
        _check_text(place, found)
    return Document(content, text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _too_deep() -> UsageError:
    return UsageError(f"the JSON schema is nested more than {MAX_DEPTH} levels deep")


def _walk(content: Any) -> Iterable[tuple[str, Any]]:
    """Yield each value inside a JSON value with its pointer."""
    todo = [("#", content)]
    while todo:
        place, found = todo.pop()
        yield place, found
        if place.count("/") > MAX_DEPTH:
            continue
        inside: Iterable[tuple[Any, Any]] = ()
        if isinstance(found, dict | list):
            inside = found.items() if isinstance(found, dict) else enumerate(found)
        for key, value in inside:
            todo.append((f"{place}/" + str(key).replace("~", "~0").replace("/", "~1"), value))


def _check_text(place: str, found: Any) -> None:
    """Raise UsageError for what cannot be written: half a surrogate pair, or infinity."""
    if isinstance(found, float) and math.isinf(found):
        raise UsageError(f"the JSON schema's number at {shown(place)} is too large")
    for text in (found, *found) if isinstance(found, dict) else (found,):
        if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise UsageError(
                f"the JSON schema contains half of a surrogate pair at {shown(place)}: "
                "it is not a character"
            )
