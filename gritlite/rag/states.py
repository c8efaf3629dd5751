"""The states of chunks, as a model makes and uses them.

What the ledger knows may be damaged, or made by another build of llama.cpp;
then there is no state, and whoever asked computes it again.
"""

import contextlib

from gritlite.errors import FileError, FormatError
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.rag.layouts import StateKind
from gritlite.rag.state_codec import Identity, decode, encode
from gritlite.rag.state_files import StateFiles
from gritlite.rag.state_quantization import StateType
from gritlite.runtime.llama import capabilities
from gritlite.runtime.model import GritLM
from gritlite.runtime.state import DocumentState


class States:
    """Keeps and loads states. Not thread-safe.

    `budget` limits the bytes of all files together, and may be infinite.
    """

    def __init__(
        self, ledger: StateFiles, model: GritLM, numbers: StateType, budget: float
    ) -> None:
        self.ledger = ledger
        self.budget = budget
        self._model = model
        self._numbers = numbers
        self._library = capabilities().build
        sizes = read_hyperparameters(model.file)
        self._head_dims = (sizes.key_width, sizes.value_width)

    def write(self, chunk: int, kind: StateKind, state: DocumentState) -> int:
        """Write the state of a chunk, not yet into the ledger; return its bytes.

        Raises FileError when that fails.
        """
        return self.ledger.write(chunk, kind, encode(state, self._identity(kind)))

    def keep(self, chunk: int, kind: StateKind, state: DocumentState) -> None:
        """Write a state and enter it; those used longest ago make room for it.

        One that cannot be kept is computed again: neither a full disk nor a state larger
        than the whole budget is an error here.
        """
        with contextlib.suppress(FileError):
            size = self.write(chunk, kind, state)
            if size > self.budget:
                self.ledger.remove(chunk, kind)
            else:
                self.ledger.enter(chunk, kind, size)
                self.fit()

    def fit(self) -> None:
        """Remove those used longest ago until the budget holds. Raises FileError."""
        if self.ledger.usage().bytes > self.budget:
            self.ledger.shrink(int(self.budget))

    def load(self, chunk: int, kind: StateKind, embedded: str) -> DocumentState | None:
        """The state of a chunk, None if there is none that is whole and of that text."""
        data = self.ledger.read(chunk, kind)
        if data is None:
            return None
        try:
            return decode(data, self._identity(kind), self._ids(kind, embedded), self._head_dims)
        except FormatError:
            return None

    def _ids(self, kind: StateKind, embedded: str) -> list[int]:
        """The tokens that a state of a text has."""
        if kind == "exact":
            return self._model.prefix_tokens(embedded)
        return self._model.embed_tokens(embedded)[0]

    def _identity(self, kind: StateKind) -> Identity:
        """What a state of a kind must be."""
        opens = kind == "exact"
        return Identity(
            model=self._model.fingerprint,
            library=self._library,
            numbers=self._numbers,
            attention="causal" if opens else self._model.format.attention,
            opens_message=opens,
        )
