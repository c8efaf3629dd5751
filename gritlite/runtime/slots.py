"""Slots: the key-value caches that answers take while they are read, in order of arrival.

An answer comes back to the slot that holds most of it, or else to one near those that are taken.
The module does not evaluate tokens.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.state import State

_IDLE_SECONDS = 0.25  # another answer may take the slot of one that is not read for this long


class Owner(Protocol):
    """What takes a slot: its `tokens` follow the state of `document`, if there is one."""

    document: State | None
    tokens: list[int]


@dataclass(eq=False)
class Slot:
    """A cache and its owner, which was last `seen` at a monotonic time; inf while it is served.

    `lock` is held while the cache is used. `holds_conversation`: it holds an answer's tokens,
    rather than those of a text that was evaluated for its state.
    """

    index: int
    cache: KVCache
    lock: threading.Lock = field(default_factory=threading.Lock)
    holds_conversation: bool = False
    owner: Owner | None = None
    seen: float = 0.0

    def value(self, document: State | None, tokens: Sequence[int]) -> int:
        """Return how many of `tokens` are cached, less those of others that they would replace."""
        reusable = self.cache.reusable(document, tokens)
        return 2 * reusable - self.cache.tokens


class Slots:
    """Assigns slots to owners. Thread-safe."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._changed = threading.Condition()
        self._arrivals: list[Owner] = []

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def claim(self, owner: Owner, stopped: Callable[[], bool]) -> Slot | None:
        """Return the owner's slot, or a free one in order of arrival; None if `stopped` first."""
        with self._changed:
            self._arrivals.append(owner)
            try:
                while not stopped():
                    slot = self.of(owner) or self._free(owner)
                    if slot is not None:
                        slot.owner, slot.seen = owner, float("inf")
                        return slot
                    self._changed.wait(self._patience())
                return None
            finally:
                self._arrivals.remove(owner)
                self._changed.notify_all()

    def of(self, owner: Owner) -> Slot | None:
        """Return the slot that an owner has."""
        return next((slot for slot in self._slots if slot.owner is owner), None)

    def _free(self, owner: Owner) -> Slot | None:
        """Return the best slot that is free, if it is this owner's turn to take one."""
        idle = time.monotonic() - _IDLE_SECONDS
        free = [slot for slot in self._slots if slot.owner is None or slot.seen <= idle]
        waiting = [each for each in self._arrivals if self.of(each) is None]
        if not free or waiting[0] is not owner:
            return None
        return self._best(free, owner.document, owner.tokens[:-1])

    def best(self, document: State | None, tokens: Sequence[int]) -> Slot:
        """Return the slot, owned or not, that suits tokens best."""
        with self._changed:
            return self._best(self._slots, document, tokens)

    def _best(self, slots: Sequence[Slot], document: State | None, tokens: Sequence[int]) -> Slot:
        taken = [slot.index for slot in self._slots if slot.owner is not None]

        def suits(slot: Slot) -> tuple[bool, bool, int, int, float]:
            value = slot.value(document, tokens)
            # a batch has a token for each slot between its first and its last (`Decoders`)
            span = max(*taken, slot.index) - min(*taken, slot.index) if taken else 0
            return slot.owner is None, value > 0, -span, value, -slot.seen

        return max(slots, key=suits)

    def _patience(self) -> float:
        """Return the seconds until a slot may be free because its owner is idle."""
        seen = min(slot.seen for slot in self._slots)
        left = seen + _IDLE_SECONDS - time.monotonic()
        return min(max(left, 0.01), _IDLE_SECONDS)

    def served(self, owner: Owner) -> None:
        """Note that an owner's token is done: it is idle until it asks for the next."""
        slot = self.of(owner)
        if slot is not None:
            slot.seen = time.monotonic()

    def release(self, owner: Owner) -> Slot | None:
        """Free the slot of an owner that has ended, and return it."""
        with self._changed:
            slot = self.of(owner)
            if slot is not None:
                slot.owner, slot.seen = None, time.monotonic()
            self._changed.notify_all()
        return slot

    def wake(self) -> None:
        """Make waiting owners look again whether they are stopped."""
        with self._changed:
            self._changed.notify_all()
