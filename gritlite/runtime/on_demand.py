"""What is loaded when it is first needed. The module does not know what that is."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gritlite.errors import ClosedError


class Closable(Protocol):
    """An object that frees its memory when it is closed."""

    def close(self) -> None:
        """Free the memory."""


T = TypeVar("T", bound=Closable)


class OnDemand(Generic[T]):
    """Makes one object when it is first needed. Thread-safe.

    `make` is called again after it has raised an error.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._closed = False
        self.made: T | None = None  # None until it is needed

    def get(self) -> T:
        """Return the object. Raises ClosedError after `close`, and what making it raises."""
        if self.made is not None:  # also after `close`: it raises ClosedError itself
            return self.made
        with self._lock:
            if self._closed:
                raise ClosedError
            if self.made is None:
                self.made = self._make()
            return self.made

    def close(self) -> None:
        """Close the object if it was made; wait while it is being made."""
        with self._lock:
            self._closed = True
            if self.made is not None:
                self.made.close()
