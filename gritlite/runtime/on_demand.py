"""What is loaded when it is first needed. The module does not know what that is."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gritlite.errors import ClosedError
from gritlite.system.watch import Watch


class Closable(Protocol):
    """An object that frees its memory when it is closed."""

    def close(self) -> None:
        """Free the memory."""


T = TypeVar("T", bound=Closable)


class OnDemand(Generic[T]):
    """Makes one object when it is first needed. Thread-safe.

    `make` takes the watch of its load, which `close` ends. It is called again after it has
    raised an error.
    """

    def __init__(self, make: Callable[[Watch], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.made: T | None = None  # None until it is needed

    def get(self, watch: Watch | None = None) -> T:
        """Return the object. Raises ClosedError after `close`, and what making it raises.

        `watch` is that of a load for which it is made.
        """
        if self.made is not None:  # also after `close`: it raises ClosedError itself
            return self.made
        with self._lock:
            if self._closing.is_set():
                raise ClosedError
            if self.made is None:
                self.made = self._make((watch or Watch("loading")).until(self._closing))
            return self.made

    def close(self) -> None:
        """Close the object if it was made; if it is being made, end that."""
        self._closing.set()
        with self._lock:
            if self.made is not None:
                self.made.close()
