"""Interrupted conversations: an LRU cache of their keys and values within a budget in bytes.

With it, chats that take turns do not evaluate their history again at each turn. The module
does not know how keys and values are computed.
"""

from collections.abc import Sequence

from gritlite.runtime.kv_cache import SavedCache, common_prefix
from gritlite.runtime.state import State


class Conversations:
    """Saved caches, found by their exact tokens. Not thread-safe.

    `budget` limits their total size in bytes, of which a token takes `token_bytes`; 0 saves
    none.
    """

    def __init__(self, budget: int, token_bytes: int) -> None:
        self._budget = budget
        self._token_bytes = token_bytes
        self._saved: list[SavedCache] = []  # least recently used first

    @property
    def nbytes(self) -> int:
        """The total size of the saved caches in bytes."""
        return sum(saved.key_values.nbytes for saved in self._saved)

    def accepts(self, tokens: int) -> bool:
        """Return whether a conversation of `tokens` tokens fits the budget."""
        return tokens * self._token_bytes <= self._budget

    def add(self, saved: SavedCache) -> None:
        """Save a conversation in place of those it continues; evict others over the budget."""
        self._saved = [old for old in self._saved if not _continues(saved, old)]
        self._saved.append(saved)
        while self.nbytes > self._budget:
            del self._saved[0]

    def take(
        self, document: State | None, tokens: Sequence[int], *, at_least: int
    ) -> SavedCache | None:
        """Return the conversation that shares the longest prefix with `tokens`.

        Returns None if no prefix has `at_least` tokens. A conversation that the tokens
        continue is removed, because the caller extends it.
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
        """Remove all conversations."""
        self._saved.clear()


def _continues(new: SavedCache, old: SavedCache) -> bool:
    same = new.tokens[: len(old.tokens)] == old.tokens
    return same and new.document == old.document
