"""The states of chunks, as a model computes and uses them.

A stored state may be damaged, or made by another build of llama.cpp. It then counts as
missing, and the caller computes it again.
"""

import contextlib
from dataclasses import replace

from gritlite.errors import FileError, FormatError
from gritlite.rag.layouts import StateKind
from gritlite.rag.state_codec import Expected, Identity, decode, encode, shape_of
from gritlite.rag.state_files import StateFiles
from gritlite.rag.state_quantization import StateType
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.llama import capabilities
from gritlite.runtime.state import DocumentState


class States:
    """Stores and loads states. Not thread-safe.

    `budget` is the most bytes of all files together, and may be infinite. States made by an
    earlier version name the model by `sampled_fingerprint`.
    """

    def __init__(
        self,
        files: StateFiles,
        model: AnyModel,
        state_type: StateType,
        budget: float,
        *,
        sampled_fingerprint: str = "",
    ) -> None:
        self.files = files
        self.budget = budget
        self._model = model
        self._state_type = state_type
        self._sampled_fingerprint = sampled_fingerprint
        self._library = capabilities().build
        self._shape = shape_of(model)

    def write(self, chunk: int, kind: StateKind, state: DocumentState) -> int:
        """Write a chunk's state without recording it; return its bytes. Raises FileError."""
        return self.files.write(chunk, kind, encode(state, self._identity(kind)))

    def store(self, chunk: int, kind: StateKind, state: DocumentState) -> None:
        """Write and record a state, and evict the least recently used ones to make room.

        A state that cannot be stored is computed again: a full disk is not an error here,
        nor is a state larger than the whole budget.
        """
        with contextlib.suppress(FileError):
            size = self.write(chunk, kind, state)
            if size > self.budget:
                self.files.remove(chunk, kind)
            else:
                self.files.record(chunk, kind, size)
                self.fit_budget()

    def fit_budget(self) -> None:
        """Evict the least recently used states until the budget holds. Raises FileError."""
        if self.files.usage().bytes > self.budget:
            self.files.shrink(int(self.budget))

    def load(self, chunk: int, kind: StateKind, embedded: str) -> DocumentState | None:
        """A chunk's state, None unless there is one that is intact and of that text."""
        data = self.files.read(chunk, kind)
        if data is None:
            return None
        expected = self._expected(kind, embedded)
        try:
            return decode(data, expected)
        except FormatError:
            return self._of_earlier_version(data, expected) if self._sampled_fingerprint else None

    def _of_earlier_version(self, data: bytes, expected: Expected) -> DocumentState | None:
        sampled = replace(expected.identity, model=self._sampled_fingerprint)
        try:
            state = decode(data, replace(expected, identity=sampled))
        except FormatError:
            return None
        return replace(state, model=expected.identity.model)

    def _expected(self, kind: StateKind, embedded: str) -> Expected:
        """The state that a text has."""
        identity = self._identity(kind)
        if kind == "exact":
            ids = self._model.prefix_tokens(embedded)
            return Expected(identity, ids, self._model.prefix_length, self._shape)
        tokens = self._model.document_tokens(embedded)
        return Expected(identity, tokens.ids.tolist(), tokens.start, self._shape)

    def _identity(self, kind: StateKind) -> Identity:
        """What a state of a kind must match."""
        opens_message = kind == "exact"
        return Identity(
            model=self._model.fingerprint,
            library=self._library,
            numbers=self._state_type,
            attention="causal" if opens_message else self._model.format.attention,
            opens_message=opens_message,
        )
