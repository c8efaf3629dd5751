"""Embedding: texts in, unit vectors out, through packed bidirectional passes.

The steps are tokens -> pack -> pass -> pool. Texts are streamed: only a window of a few
passes is in memory, never the whole input, and vectors come in the order of the texts.
The module does not know files or chats.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import (
    CancelledError,
    ClosedError,
    EmptyTextError,
    InputError,
    InputTooLongError,
    UsageError,
)
from gritlite.prompt import EmbedFormat
from gritlite.runtime.cutting import cut
from gritlite.runtime.engine import EmbeddingEngine, EmbeddingPass, HiddenStates, KeyValues, Tokens
from gritlite.runtime.finite import check_state, check_vectors
from gritlite.runtime.packing import PADDED, UNPADDED
from gritlite.runtime.scheduler import Scheduler, Work
from gritlite.runtime.tokens import PromptTokens, TextTokens, Tokenizer
from gritlite.system.machine import check_free_memory
from gritlite.system.watch import AnyFlag

Vectors = NDArray[np.float32]
TooLong = Literal["error", "truncate", "chunk"]

Keep = Callable[[int, TextTokens, KeyValues], None]  # takes a text's number, tokens and state
Embedded = Callable[[int], None]  # takes how many texts are embedded

_NO_TOKENS = np.empty(0, np.int32)
_WINDOW_PASSES = 16  # tokens of this many passes are packed together


@dataclass(frozen=True)
class EmbedOptions:
    """How texts are embedded.

    `prompt` precedes every text (None: the file's document prompt); its tokens are left
    out of the mean unless `embed_instruction` is set or the file includes them. `too_long`
    decides about a text of more than `max_length` tokens, prompt and BOS included: raise an
    error, truncate it, or embed it in chunks and take the mean over all content tokens.
    `max_length` None means the capacity of one pass. `dimensions` is how many of a vector's
    numbers are kept, None for all.
    """

    prompt: str | None = None
    embed_instruction: bool = False
    add_bos: bool = True
    max_length: int | None = None
    too_long: TooLong = "error"
    dimensions: int | None = None

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"max_length is {self.max_length}: expected 1 or more")
        if self.prompt is not None and not isinstance(self.prompt, str):
            raise UsageError(f"instruction is of type {type(self.prompt).__name__}: expected str")


@dataclass(frozen=True)
class _Piece:
    """One sequence of a pass: text number `text`, or a part of it."""

    text: int
    tokens: TextTokens


@dataclass(frozen=True)
class _Hooks:
    """What the caller of a stream wants during a window, whose texts are numbered from `first`."""

    first: int
    cancel: threading.Event | None
    keep: Keep | None
    progress: Embedded | None

    def check_cancelled(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("the embedding job was cancelled")

    def keep_states(self, pieces: Sequence[_Piece], states: Sequence[KeyValues]) -> None:
        if self.keep is not None:
            for piece, state in zip(pieces, states, strict=True):
                self.keep(self.first + piece.text, piece.tokens, check_state(state))

    def report(self, texts: int) -> None:
        """Report so many texts of the window as embedded."""
        if self.progress is not None:
            self.progress(self.first + texts)


class Embedder:
    """Runs embedding passes on an engine. Thread-safe: the scheduler orders passes.

    Texts that fit one pass are scheduled as a query that a user waits for; longer input is
    a bulk job, which queries overtake. `memory_need` returns the bytes that a pass of a
    number of tokens needs besides the weights. Once `closing` is set, or `close` was called,
    all streams end with ClosedError.
    """

    def __init__(
        self,
        engine: EmbeddingEngine,
        tokenizer: Tokenizer,
        embed_format: EmbedFormat,
        scheduler: Scheduler,
        *,
        pass_tokens: int,
        max_tokens: int,
        memory_need: Callable[[int], int],
        closing: threading.Event | None = None,
    ) -> None:
        self._engine = engine
        self._packing = PADDED if engine.pads else UNPADDED
        self._format = embed_format
        self._scheduler = scheduler
        self._pass_tokens = min(pass_tokens, max_tokens)
        self.max_tokens = max_tokens
        self._memory_need = memory_need
        self._tokenizer = tokenizer
        self._pass: EmbeddingPass | None = None
        self._closing = closing or threading.Event()

    def stream(
        self,
        texts: Iterable[str],
        options: EmbedOptions,
        *,
        cancel: threading.Event | None = None,
        on_cut: threading.Event | None = None,
        keep: Keep | None = None,
        progress: Embedded | None = None,
    ) -> Iterator[Vectors]:
        """Yield the vectors of `texts` in order, as float32 [k, dimension] with varying k.

        `on_cut` is set when a text is truncated. `keep` is called with the keys and
        values of each text before its vector is yielded, in any order. `progress` is called
        after each pass with the number of texts embedded so far; those whose vectors are
        still to come count by the share of their tokens. Raises as `pieces`, and
        CancelledError within one pass of `cancel` being set, or sooner (see EmbeddingPass).
        """
        window: list[_Piece] = []
        first = count = tokens = 0
        for pieces in self.pieces(texts, options, on_cut=on_cut):
            window += [_Piece(count, piece) for piece in pieces]
            tokens += sum(len(piece.ids) for piece in pieces)
            count += 1
            if tokens >= _WINDOW_PASSES * self._pass_tokens:
                hooks = _Hooks(first, cancel, keep, progress)
                vectors = self._embed_window(window, count, options, hooks, "bulk")
                yield cut(check_vectors(vectors, first), options.dimensions)
                first += count
                window, count, tokens = [], 0, 0
        if count:
            work: Work = "bulk" if first or tokens > self._pass_tokens else "query"
            hooks = _Hooks(first, cancel, keep, progress)
            vectors = self._embed_window(window, count, options, hooks, work)
            yield cut(check_vectors(vectors, first), options.dimensions)

    def pieces(
        self,
        texts: Iterable[str],
        options: EmbedOptions,
        *,
        on_cut: threading.Event | None = None,
    ) -> Iterator[list[TextTokens]]:
        """Tokenize `texts`; yield the pieces of each that fit a pass, usually one.

        Raises EmptyTextError, InputTooLongError or InputError, whose `index` is
        the text's number, from 0.
        """
        self._format.check_dimensions(options.dimensions, self._engine.dimension)
        prompt = self._format.prompt if options.prompt is None else options.prompt
        prompt_tokens = self._tokenizer.prompt(prompt, add_bos=options.add_bos)
        limit = min(options.max_length or self.max_tokens, self.max_tokens)
        end = self._tokenizer.end if self._format.pooling == "last" else _NO_TOKENS
        for number, text in enumerate(texts):
            if options.too_long == "error":
                self._check_length(text, number, limit - len(end))
            most = limit - len(end) if options.too_long == "truncate" else None
            whole = self._tokenize(prompt_tokens, text, number, most)
            fitting = _fit(whole, number, limit - len(end), options, on_cut)
            if len(end):
                fitting = [TextTokens(np.concatenate([one.ids, end]), one.start) for one in fitting]
            yield fitting

    def _check_length(self, text: str, number: int, limit: int) -> None:
        """Raise InputTooLongError where a text's length alone proves it: soon, and for less."""
        least = self._tokenizer.tokens_beyond(len(text), limit) if isinstance(text, str) else 0
        if least:
            raise _too_long(f"at least {least}", number, limit)

    def _tokenize(
        self, prompt: PromptTokens, text: str, number: int, most: int | None
    ) -> TextTokens:
        """The tokens of a text; where only the first `most` count, perhaps not all others."""
        if not isinstance(text, str):
            raise InputError(f"{type(text).__name__} instead of str", number)
        try:
            if most is not None:
                return self._tokenizer.beginning(prompt, text, most)
            return self._tokenizer.text(prompt, text)
        except InputError as error:
            raise InputError(error.problem, number) from error

    def _embed_window(
        self,
        pieces: Sequence[_Piece],
        count: int,
        options: EmbedOptions,
        hooks: "_Hooks",
        work: Work,
    ) -> Vectors:
        sums = np.zeros((count, self._engine.dimension), np.float64)
        pooled = np.zeros(count, np.int64)
        lengths = [len(piece.tokens.ids) for piece in pieces]
        done = 0
        groups = self._packing.group(lengths, self._pass_tokens, self._engine.max_sequences)
        for indices in groups:
            hooks.check_cancelled()
            members = [pieces[i] for i in indices]
            starts = [self._pooled_from(piece.tokens, options) for piece in members]
            ids = [piece.tokens.ids for piece in members]
            with self._scheduler.turn(work):
                hidden, states = self._run(ids, starts, hooks)
            hooks.keep_states(members, states)
            row = 0
            for piece, start in zip(members, starts, strict=True):
                n = len(piece.tokens.ids) - start
                sums[piece.text] += hidden[row : row + n].sum(axis=0, dtype=np.float64)
                pooled[piece.text] += n
                row += n
            done += sum(map(len, ids))
            hooks.report(count * done // sum(lengths))
        means = sums / pooled[:, None]
        if self._format.projection is not None:
            means = means @ self._format.projection
        if self._format.normalize:
            with np.errstate(invalid="ignore"):  # checked by `check_vectors`
                means /= np.linalg.norm(means, axis=1, keepdims=True)
        return means.astype(np.float32)

    def _run(
        self, ids: Sequence[Tokens], starts: Sequence[int], hooks: "_Hooks"
    ) -> tuple[HiddenStates, list[KeyValues]]:
        embedding_pass = self._pass_for(self._packing.tokens([len(one) for one in ids]))
        try:
            return embedding_pass.run(
                ids,
                starts,
                return_states=hooks.keep is not None,
                cancel=AnyFlag(hooks.cancel, self._closing),
            )
        except CancelledError:
            hooks.check_cancelled()
            raise ClosedError from None

    def _pooled_from(self, tokens: TextTokens, options: EmbedOptions) -> int:
        """Return the first of the tokens whose vectors are averaged."""
        if self._format.pooling == "last":
            return len(tokens.ids) - 1
        include_prompt = options.embed_instruction or self._format.include_prompt
        return 0 if include_prompt else tokens.start

    def _pass_for(self, tokens: int) -> EmbeddingPass:
        """Return the memory for a pass; its size doubles until a long text fits.

        A pass that pads has no memory of its own, and takes the size of the text.
        """
        if self._closing.is_set():
            raise ClosedError
        if self._pass is None or self._pass.capacity < tokens:
            self._free_pass()
            size = max(self._pass_tokens, tokens)
            remedy = "use the engine llama"
            if not self._engine.pads:
                size = grown_size(self._pass_tokens, tokens, self.max_tokens)
                remedy = "close other programs"
            check_free_memory(
                self._memory_need(size),
                f"a pass of {tokens:,} tokens",
                f"cut long texts, embed them in chunks, or {remedy}",
            )
            self._pass = self._engine.open_pass(size, self._format.attention)
        return self._pass

    def close(self) -> None:
        """End the pass in progress and free the memory. Open streams end with ClosedError."""
        self._closing.set()
        with self._scheduler.turn("query"):
            self._free_pass()

    def _free_pass(self) -> None:
        if self._pass is not None:
            self._pass.close()
            self._pass = None


def grown_size(size: int, needed: int, limit: int) -> int:
    """Return `size` doubled until `needed` tokens fit, at most `limit`."""
    while size < needed:
        size *= 2
    return min(size, limit)


def _fit(
    whole: TextTokens,
    number: int,
    limit: int,
    options: EmbedOptions,
    on_cut: threading.Event | None,
) -> list[TextTokens]:
    """Return the pieces of a text to embed: usually the text itself."""
    if whole.content < 1:
        raise EmptyTextError("empty, without tokens to pool: leave it out", number)
    if len(whole.ids) <= limit:
        return [whole]
    room = limit - whole.start
    if room < 1:
        raise InputTooLongError(
            f"the prompt alone has {whole.start} tokens, and the limit is {limit}", number
        )
    if options.too_long == "truncate":
        if on_cut is not None:
            on_cut.set()
        return [TextTokens(whole.ids[:limit], whole.start)]
    if options.too_long == "chunk":
        head, body = whole.ids[: whole.start], whole.ids[whole.start :]
        return [
            TextTokens(np.concatenate([head, body[i : i + room]]), whole.start)
            for i in range(0, len(body), room)
        ]
    raise _too_long(str(len(whole.ids)), number, limit)


def _too_long(tokens: str, number: int, limit: int) -> InputTooLongError:
    return InputTooLongError(
        f"{tokens} tokens with the prompt, over the limit of {limit}: "
        "shorten it, truncate it, or embed it in chunks",
        number,
    )
