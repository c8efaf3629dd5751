"""The llama.cpp engine: one loaded file, and contexts over its weights."""

from collections.abc import Callable, Iterable
from pathlib import Path

from gritlite.errors import ArchitectureError
from gritlite.prompt import Attention
from gritlite.runtime.llama.context import MAX_SEQUENCES
from gritlite.runtime.llama.decoder import LlamaDecoder, open_lone_decoder
from gritlite.runtime.llama.decoders import LlamaDecoders, LoneDecoder
from gritlite.runtime.llama.embedding_pass import LlamaPass
from gritlite.runtime.llama.hidden_states import Watch
from gritlite.runtime.llama.sampler import LlamaSampler
from gritlite.runtime.llama.tensor_editor import TensorEditor
from gritlite.runtime.llama.vocabulary import LlamaVocabulary
from gritlite.runtime.llama.weights import GpuLayers, Weights
from gritlite.runtime.options import SamplingOptions


class LlamaEngine:
    """A GGUF file loaded by llama.cpp. Thread-safe; what it opens is not.

    `threads` is the number of threads per pass. `end_tokens` end an answer beside those
    that llama.cpp knows to. A file without an output matrix opens no decoder: it `generates`
    nothing. The other options and the errors are those
    of `Weights`.
    """

    max_sequences = MAX_SEQUENCES
    pads = False

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        gpu_layers: GpuLayers = "auto",
        repack: bool = True,
        editable: bool = False,
        end_tokens: Iterable[int] = (),
        generates: bool = True,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.path, self.generates = path, generates
        self.weights = Weights(
            path,
            gpu_layers=gpu_layers,
            repack=repack,
            editable=editable,
            on_progress=on_progress,
        )
        try:
            self.vocabulary = LlamaVocabulary(self.weights, end_tokens)
        except BaseException:
            self.weights.close()
            raise
        self.dimension = self.weights.n_embd
        self.trained_context = self.weights.n_ctx_train
        self.on_device = self.weights.whole_on_gpu
        self._threads = threads

    def open_pass(self, tokens: int, attention: Attention, watch: Watch | None = None) -> LlamaPass:
        """Allocate embedding passes; `watch` is called with the inputs of each layer matrix."""
        return LlamaPass(self.weights, tokens, attention, self._threads, watch)

    def check_generates(self) -> None:
        """Raise ArchitectureError for a file that only embeds."""
        if not self.generates:
            raise no_output_matrix(self.path)

    def open_decoder(
        self, capacity: int, batch_tokens: int, *, all_logits: bool = False
    ) -> LlamaDecoder:
        """Allocate one sequence of up to `capacity` tokens. Raises ArchitectureError."""
        self.check_generates()
        return open_lone_decoder(
            self.weights, capacity, batch_tokens, self._threads, all_logits=all_logits
        )

    def open_decoders(
        self, count: int, capacity: int, batch_tokens: int
    ) -> LlamaDecoders | LoneDecoder:
        """Allocate `count` sequences, one of `SIZES`. Raises ArchitectureError and UsageError."""
        if count == 1:
            return LoneDecoder(self.open_decoder(capacity, batch_tokens))
        self.check_generates()
        return LlamaDecoders(self.weights, count, capacity, batch_tokens, self._threads)

    def sampler(self, options: SamplingOptions, seen: Iterable[int]) -> LlamaSampler:
        """Return llama.cpp's samplers, which have already seen `seen`."""
        return LlamaSampler(self.weights, self.vocabulary, options, seen)

    def tensor_editor(self) -> TensorEditor:
        """Return an editor of the weights. Raises UsageError unless they are `editable`."""
        return TensorEditor(self.weights)

    def close(self) -> None:
        """Free the weights once all passes, decoders and samplers are closed."""
        self.weights.close()


def no_output_matrix(path: Path) -> ArchitectureError:
    """Return the error for a file that only embeds."""
    return ArchitectureError(
        f"{path} only embeds: its checkpoint has no output matrix to generate with; use another "
        "model"
    )
