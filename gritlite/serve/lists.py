"""Lists in requests: their first wrong item is their only error.

pydantic would tell all of them, which for a large body takes seconds of the event loop and
gigabytes.
"""

from typing import Annotated, TypeVar

from pydantic import FailFast

Item = TypeVar("Item")


class _FailFast(FailFast):
    """pydantic's own cannot be hashed, which unions of types ask for."""

    def __hash__(self) -> int:
        return hash(_FailFast)


Items = Annotated[list[Item], _FailFast()]
