"""The states of chunks, as a model makes and uses them.

What the ledger knows may be damaged, or made by another build of llama.cpp;
then there is no state, and whoever asked computes it again.
"""

import hashlib

from gritlite.errors import FormatError
from gritlite.rag.blob import Identity, Number, decode, encode
from gritlite.rag.ledger import Ledger
from gritlite.runtime.document import DocumentState
from gritlite.runtime.llama import capabilities
from gritlite.runtime.model import GritLM


class States:
    """Keeps and loads states. Not thread-safe.

    `budget` limits the bytes of all files together; None sets no limit.
    """

    def __init__(self, ledger: Ledger, model: GritLM, numbers: Number, budget: int | None) -> None:
        self.ledger = ledger
        self._model = model
        self._numbers = numbers
        self._budget = budget
        self._library = capabilities().version

    def write(self, chunk: int, embedded: str, state: DocumentState) -> int:
        """Write the state of a chunk, not yet into the ledger; return its bytes.

        Raises FileError when that fails.
        """
        return self.ledger.write(chunk, encode(state, self._identity(embedded)))

    def load(self, chunk: int, embedded: str) -> DocumentState | None:
        """The state of a chunk, None if there is none that is whole and its own."""
        data = self.ledger.read(chunk)
        if data is None:
            return None
        try:
            return decode(data, self._identity(embedded))
        except FormatError:
            return None

    def room(self) -> float:
        """The bytes that the budget leaves, perhaps infinite."""
        return float("inf") if self._budget is None else self._budget - self.ledger.usage().bytes

    def make_room(self, size: int) -> None:
        """Remove the states that were used longest ago until so many bytes fit the budget."""
        if self._budget is not None:
            self.ledger.shrink(max(self._budget - size, 0))

    def _identity(self, embedded: str) -> Identity:
        """What the state of a chunk's pass must be, to be that chunk's."""
        (tokens,) = self._model.embed_tokens(embedded)
        return Identity(
            model=self._model.fingerprint,
            library=self._library,
            numbers=self._numbers,
            attention=self._model.format.attention,
            opens_message=False,
            tokens=hashlib.sha256(repr(tokens).encode()).hexdigest(),
        )
