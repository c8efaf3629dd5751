"""The embedding half of a model: texts in, vectors or key-value states out, on any engine."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from gritlite.errors import ClosedError, UsageError
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.memory import embed_memory, graph_pass_bytes
from gritlite.prompt import EmbedFormat, sliding_window
from gritlite.runtime.embed import Embedder, EmbedOptions, TooLong, Vectors
from gritlite.runtime.encoding import OfficialEncoding
from gritlite.runtime.engine import EmbeddingEngine, KeyValues
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.state import DocumentState, State, joined
from gritlite.runtime.tokens import TextTokens, Tokenizer

MAX_PASS_TOKENS = 8192  # an embedding pass holds a logit buffer of vocabulary x tokens


class EmbeddingModel(OfficialEncoding):
    """Embeds texts with an engine over a GGUF file. Thread-safe.

    `embedding_engine` is the engine. `pass_tokens` is the size of a packed embedding pass.
    """

    def __init__(
        self,
        engine: EmbeddingEngine,
        file: GGUFFile,
        embed_format: EmbedFormat,
        scheduler: Scheduler,
        *,
        pass_tokens: int,
    ) -> None:
        self.embedding_engine = engine
        self.file = file
        self.scheduler = scheduler
        self.format = embed_format
        self.identity = ModelIdentity(file)
        self.edits = 0  # how often the loaded weights were changed
        self._edited = ""
        self._tokenizer = Tokenizer(engine.vocabulary)
        self.sliding_window = sliding_window(file.metadata)
        self._closing = threading.Event()  # ends all work in progress
        self._embedder = Embedder(
            engine,
            self._tokenizer,
            self.format,
            scheduler,
            pass_tokens=pass_tokens,
            max_tokens=min(self.longest_context, MAX_PASS_TOKENS),
            # without a reference to this object, which is freed as soon as it is dropped
            memory_need=partial(_pass_bytes, engine, file),
            closing=self._closing,
        )

    @property
    def longest_context(self) -> int:
        """The most tokens that are computed as the model was trained.

        No engine computes a sliding window: beyond it the results would be wrong.
        """
        trained = self.embedding_engine.trained_context
        return min(trained, self.sliding_window or trained)

    @property
    def fingerprint(self) -> str:
        """What tells this model from others: the digest of the file's bytes.

        The file is read whole when this is first needed, and never again while it does not
        change. Raises FileError if it cannot be read, or has changed since it was loaded.
        """
        return self._edited or self.identity.fingerprint()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.embedding_engine.dimension

    @property
    def max_length(self) -> int:
        """The maximum number of tokens in an embedding pass, prompt and BOS included."""
        return self._embedder.max_tokens

    @property
    def bos(self) -> int | None:
        """The token that begins every input, None if the file has none."""
        vocabulary = self.embedding_engine.vocabulary
        return vocabulary.bos if vocabulary.adds_bos else None

    def tokenize(self, text: str, *, continues: bool = False) -> list[int]:
        """Return the token ids of a plain text, without BOS or control tokens.

        `continues` means that other text precedes it.
        """
        self._check_open()
        return [int(token) for token in self._tokenizer.plain(text, continues=continues)]

    def tokens_beyond(self, characters: int, limit: int) -> int:
        """Return a number of tokens over `limit` that any text of so many characters has at least.

        0 if their number does not prove it: tokenizing tells more, but takes seconds for a text
        of megabytes.
        """
        return self._tokenizer.tokens_beyond(characters, limit)

    def embed_tokens(
        self, text: str, *, instruction: str = "", max_length: int | None = None
    ) -> list[list[int]]:
        """Return the token ids that `encode` evaluates for a text, BOS and prompt included.

        A text of more than `max_length` tokens is split into pieces of that length,
        each with the prompt. Raises EmptyTextError.
        """
        self._check_open()
        options = EmbedOptions(instruction or None, max_length=max_length, too_long="chunk")
        (pieces,) = self._embedder.pieces([text], options)
        return [piece.ids.tolist() for piece in pieces]

    def document_tokens(self, text: str) -> TextTokens:
        """Return the tokens that `document_state` evaluates. Raises as `document_state`."""
        self._check_open()
        options = EmbedOptions(None, max_length=None, too_long="error")
        ((tokens,),) = self._embedder.pieces([text], options)
        return tokens

    def encode_stream(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
        dimensions: int | None = None,
        cancel: threading.Event | None = None,
        on_cut: threading.Event | None = None,
        keep: Callable[[int, DocumentState], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Vectors]:
        """Embed any number of texts in bounded memory.

        Yields float32 [k, dimension] in the order of the texts, with varying k. A
        text over `max_length` tokens (default: the capacity of one pass) is an
        error, or is truncated ("truncate", which sets `on_cut`), or is embedded in
        chunks of that length whose token-weighted mean is taken ("chunk"). With `dimensions`,
        vectors are cut to one of the sizes that the model was trained for (`format.sizes`).

        `keep` is called with the number of each text, from 0, and its key-value state,
        before its vector is yielded. `progress` is called after each pass with the number
        of texts embedded so far, where those whose vectors are still to come count by the
        share of their tokens. Raises UsageError for `keep` with "chunk" and for dimensions that
        the model was not trained for, the errors of `check`, and CancelledError within one pass
        of `cancel` being set.
        """
        if keep is not None and too_long == "chunk":
            raise UsageError("a text that is embedded in chunks has no single state")
        options = EmbedOptions(
            instruction or None, max_length=max_length, too_long=too_long, dimensions=dimensions
        )
        return self._stream(
            texts, options, cancel=cancel, on_cut=on_cut, keep=keep, progress=progress
        )

    def check(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
    ) -> int:
        """Raise the errors that `encode_stream` would raise for `texts`, without embedding them.

        Returns the number of texts. Tokenizing takes a thousandth of the time of
        embedding, so checking before a long job is cheap. Raises EmptyTextError,
        InputTooLongError or InputError with the number of the text.
        """
        self._check_open()
        options = EmbedOptions(instruction or None, max_length=max_length, too_long=too_long)
        return sum(1 for _ in self._embedder.pieces(texts, options))

    def token_counts(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
    ) -> list[int]:
        """Return how many tokens `encode_stream` evaluates for each text, prompt and BOS included.

        Raises as `check`.
        """
        self._check_open()
        options = EmbedOptions(instruction or None, max_length=max_length, too_long=too_long)
        return [
            sum(len(piece.ids) for piece in pieces)
            for pieces in self._embedder.pieces(texts, options)
        ]

    def _stream(
        self,
        texts: Iterable[str],
        options: EmbedOptions,
        *,
        cancel: threading.Event | None,
        on_cut: threading.Event | None,
        keep: Callable[[int, DocumentState], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Vectors]:
        self._check_open()

        def keep_state(number: int, tokens: TextTokens, key_values: KeyValues) -> None:
            assert keep is not None
            state = DocumentState(
                ids=tuple(tokens.ids.tolist()),
                head=tokens.start,
                attention=self.format.attention,
                model=self.fingerprint,
                opens_message=False,
                key_values=key_values,
            )
            keep(number, state)

        return self._embedder.stream(
            texts,
            options,
            cancel=cancel,
            on_cut=on_cut,
            keep=keep_state if keep else None,
            progress=progress,
        )

    def document_state(self, text: str, *, cancel: threading.Event | None = None) -> DocumentState:
        """Return the key-value state of a document's embedding pass, for `chat` and `generate`.

        The text follows the file's document prompt, and its tokens attend to each other as
        in `encode`. Raises EmptyTextError, InputTooLongError for a text that does not fit one
        pass, and CancelledError soon after `cancel` is set.
        """
        self._check_open()
        states: list[DocumentState] = []
        for _ in self.encode_stream(
            [text], cancel=cancel, keep=lambda _, state: states.append(state)
        ):
            pass
        return states[0]

    def join_states(self, states: Sequence[DocumentState], *, recompute: int = 0) -> State:
        """Return several documents' states, concatenated, for `chat` and `generate`.

        Keys are rotated to their new positions, and only the first BOS token is used.
        The first `recompute` tokens of each document but the first are evaluated again, so
        that they attend to the documents before (LegoLink of EPIC, arXiv 2410.15332). For
        states of `prefix_state`, recomputing all tokens gives the result of a full prefill.

        Raises UsageError for no states, and for states of different models or kinds.
        """
        return joined(states, bos=0 if self.bos is None else 1, recompute=recompute)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ClosedError
        self.scheduler.check_process()

    def close(self) -> None:
        """Free the memory of passes; end the pass in progress. The engine stays open."""
        self._closing.set()
        self._embedder.close()


def _pass_bytes(engine: EmbeddingEngine, file: GGUFFile, tokens: int) -> int:
    """Return the bytes of main memory that a pass needs besides the weights."""
    if engine.pads and not engine.on_device:
        return graph_pass_bytes(file, tokens)
    return embed_memory(file, tokens).on_host(on_device=engine.on_device)
