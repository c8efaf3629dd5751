"""Conversations that were interrupted by others: their keys and values, within a budget of bytes.

So two chats that take turns do not evaluate each other's past again. Those used longest ago
go first. The module does not know how they are made.
"""

from collections.abc import Sequence

from gritlite.runtime.kv_cache import SavedCache, common_prefix
from gritlite.runtime.state import State


class Conversations:
    """Saved caches, found by their exact tokens. Not thread-safe.

    `budget` is the most bytes that they may take together; 0 keeps none.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._bytes_per_token = 1.0  # until the first one tells
        self._saved: list[SavedCache] = []  # those used longest ago first

    @property
    def nbytes(self) -> int:
        """The bytes that they take."""
        return sum(saved.key_values.nbytes for saved in self._saved)

    def accepts(self, tokens: int) -> bool:
        """Whether a conversation of so many tokens fits the budget."""
        return tokens * self._bytes_per_token <= self._budget

    def add(self, saved: SavedCache) -> None:
        """Keep a conversation; those that it continues go, and those that there is no room for."""
        self._bytes_per_token = saved.key_values.nbytes / saved.key_values.tokens
        self._saved = [old for old in self._saved if not _continues(saved, old)]
        self._saved.append(saved)
        while self.nbytes > self._budget:
            del self._saved[0]

    def take(
        self, document: State | None, tokens: Sequence[int], *, at_least: int
    ) -> SavedCache | None:
        """The conversation that begins with most of `tokens`, None if no `at_least` of them.

        One that the tokens continue is kept no longer: whoever takes it goes on with it.
        """
        wanted, found, most = tuple(tokens), None, at_least - 1
        for saved in self._saved:
            if saved.document == document:
                count = common_prefix(saved.tokens, wanted)
                if count > most:
                    found, most = saved, count
        if found is not None:
            self._saved = [saved for saved in self._saved if saved is not found]
            if most < len(found.tokens):
                self._saved.append(found)
        return found

    def clear(self) -> None:
        """Forget all."""
        self._saved.clear()


def _continues(new: SavedCache, old: SavedCache) -> bool:
    same = new.tokens[: len(old.tokens)] == old.tokens
    return same and new.document == old.document
