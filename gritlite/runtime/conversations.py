"""Interrupted conversations: an LRU cache of their keys and values within a budget in bytes.

With it, chats that take turns do not evaluate their history again at each turn. The module
does not know how keys and values are computed.
"""

from collections.abc import Iterable, Sequence

from gritlite.runtime.kv_cache import SavedCache, common_prefix
from gritlite.runtime.state import State


class Conversations:
    """Saved caches, found by their exact tokens. Not thread-safe.

    `budget` limits their total size in bytes, of which a token takes `token_bytes`, with the states
    of their documents; 0 saves none.
    """

    def __init__(self, budget: int, token_bytes: int) -> None:
        self._budget = budget
        self._token_bytes = token_bytes
        self._saved: list[SavedCache] = []  # least recently used first

    @property
    def nbytes(self) -> int:
        """The bytes of the saved caches and of their documents' states, each counted once."""
        caches = sum(saved.key_values.nbytes for saved in self._saved)
        return caches + _documents_nbytes(saved.document for saved in self._saved)

    def accepts(self, document: State | None, tokens: int) -> bool:
        """Return whether a conversation fits; `tokens` includes those of its document."""
        return tokens * self._token_bytes + _documents_nbytes([document]) <= self._budget

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


def _documents_nbytes(documents: Iterable[State | None]) -> int:
    """The bytes of the states in memory that documents consist of."""
    parts = {id(part): part for document in documents if document for part in document.parts}
    return sum(part.key_values.nbytes for part in parts.values())


def _continues(new: SavedCache, old: SavedCache) -> bool:
    same = new.tokens[: len(old.tokens)] == old.tokens
    return same and new.document == old.document
