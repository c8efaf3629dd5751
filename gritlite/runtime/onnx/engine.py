"""The graph engine: embedding passes and prefill over one loaded graph.

The vocabulary is llama.cpp's, loaded without weights. The engine decodes nothing.
"""

from collections.abc import Sequence

from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.graph.rotary import MAX_POSITIONS
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.prompt import Attention
from gritlite.runtime.engine import KeyValues, Vocabulary
from gritlite.runtime.onnx.embedding_pass import GraphPass
from gritlite.runtime.onnx.prefill import GraphPrefill
from gritlite.runtime.onnx.session import Floats, Session

MAX_SEQUENCES = 256  # in one pass


class GraphEngine:
    """Runs the graph of one GGUF file. Thread-safe; what it opens is not.

    `value_factors` are those of `GraphPass`. The engine closes the session.
    """

    max_sequences = MAX_SEQUENCES
    pads = True

    def __init__(
        self,
        file: GGUFFile,
        vocabulary: Vocabulary,
        session: Session,
        value_factors: Sequence[Floats] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.on_device = session.on_device
        self._table = TokenEmbeddings(file)
        self._session = session
        self._factors = value_factors
        self.dimension = self._table.width
        self._sizes = read_hyperparameters(file)
        self.trained_context = self._sizes.context_length
        self.prefill_limit = min(self.trained_context, MAX_POSITIONS)

    def open_pass(self, tokens: int, attention: Attention) -> GraphPass:
        """Return embedding passes of up to `tokens` tokens, padding included."""
        return GraphPass(self._session, self._table, tokens, attention, self._factors)

    def open_prefill(self, before: KeyValues | None, tokens: int) -> GraphPrefill:
        """Allocate a sequence of up to `tokens` tokens; see PrefillEngine."""
        return GraphPrefill(self._session, self._table, self._sizes, before, tokens, self._factors)

    def close(self) -> None:
        """Free the graph."""
        self._session.close()
