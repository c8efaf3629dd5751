"""`encode` with the signature and numbers of the official package's `gritlm.GritLM`.

Code and evaluations written for it (MTEB included) run unchanged. The module does not
know how a text becomes a vector.
"""

import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict, Unpack

import numpy as np

from gritlite.errors import InputError, MissingExtraError, TruncationWarning, UsageError
from gritlite.runtime.embed import EmbedOptions, Vectors
from gritlite.system.progress import ProgressCallback, no_progress

_MISSPELT = 0.8  # difflib's likeness from which on a name is a misspelt parameter


class EncodeOptions(TypedDict, total=False):
    """The keyword arguments of `encode`, for methods that pass them on."""

    batch_size: int
    max_length: int | None
    instruction: str
    embed_instruction: bool
    convert_to_tensor: bool
    add_special_tokens: bool
    dimensions: int | None
    progress: ProgressCallback
    cancel: threading.Event | None


class OfficialEncoding(ABC):
    """The embedding methods of the official `gritlm.GritLM`."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The length of a vector."""

    @property
    @abstractmethod
    def max_length(self) -> int:
        """The maximum number of tokens in an embedding pass, prompt and BOS included."""

    @abstractmethod
    def _stream(
        self,
        texts: Iterable[str],
        options: EmbedOptions,
        *,
        cancel: threading.Event | None,
        on_cut: threading.Event | None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Vectors]:
        """Yield the vectors of texts in order; set `on_cut` when one is truncated.

        `progress` is called after each pass with the number of texts embedded so far.
        """

    def encode(
        self,
        sentences: list[str] | str,
        batch_size: int = 256,
        max_length: int | None = 512,
        instruction: str = "",
        embed_instruction: bool = False,
        get_cache: bool = False,
        convert_to_tensor: bool = False,
        recast: bool = False,
        add_special_tokens: bool = True,
        *,
        dimensions: int | None = None,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
        **ignored: object,
    ) -> Any:
        """Embed texts, with the signature and numbers of the official `gritlm.GritLM.encode`.

        Returns float32 [n, dimension], unit length; [dimension] for a single string; a torch
        tensor if `convert_to_tensor`. `instruction` is the formatted prompt
        (`gritlite.instruction` makes it from plain words); without one the file's own document
        prompt is used. Its tokens are left out of the mean unless `embed_instruction`. Texts are
        truncated to `max_length` tokens, prompt included, with a TruncationWarning; None raises
        an error instead. `batch_size` and `recast` are accepted for code written for the official
        package: passes are packed by tokens, and vectors are float32 already. `dimensions` cuts
        them to a size that the model was trained for (`format.sizes`), of unit length again.

        `progress` is called after each pass, in the thread that called, with the texts that are
        embedded and all texts; `cancel` ends the pass in progress. Raises CancelledError then,
        what `progress` raises, EmptyTextError and InputTooLongError with the number of the text,
        and UsageError.
        """
        del batch_size, recast
        _check_ignored(ignored)
        if get_cache:
            raise UsageError("get_cache is not supported: use document_state to get a text's state")
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        options = EmbedOptions(
            prompt=instruction or None,
            embed_instruction=embed_instruction,
            add_bos=add_special_tokens,
            max_length=max_length,
            too_long="error" if max_length is None else "truncate",
            dimensions=dimensions,
        )
        cut = threading.Event()

        def report(done: int) -> None:
            progress(done, len(texts))

        stream = self._stream(texts, options, cancel=cancel, on_cut=cut, progress=report)
        parts = list(stream)
        if cut.is_set():
            _warn_cut(min(max_length or self.max_length, self.max_length))
        empty = np.empty((0, dimensions or self.dimension), np.float32)
        vectors = np.concatenate(parts or [empty])
        result = vectors[0] if isinstance(sentences, str) else vectors
        return _to_tensor(result) if convert_to_tensor else result

    def encode_queries(self, queries: list[str] | str, **options: Unpack[EncodeOptions]) -> Any:
        """`encode` under the name that retrieval evaluations use for queries."""
        return self.encode(queries, **options)

    def encode_corpus(
        self,
        corpus: str | list[str] | Mapping[str, str] | list[Mapping[str, str]],
        **options: Unpack[EncodeOptions],
    ) -> Any:
        """`encode` for documents: texts, or mappings with `text` and an optional `title`."""
        if isinstance(corpus, str):
            return self.encode(corpus, **options)
        documents: Sequence[str | Mapping[str, str]] = (
            [corpus] if isinstance(corpus, Mapping) else corpus
        )
        texts = [_document_text(document, index) for index, document in enumerate(documents)]
        return self.encode(texts, **options)


def _check_ignored(names: Iterable[str]) -> None:
    """Raise UsageError for a name that must be meant for a parameter of `encode`.

    Warn of others: evaluations pass them to every model.
    """
    known = [*EncodeOptions.__optional_keys__, "get_cache", "recast"]
    for name in names:
        if get_close_matches(name, known, n=1, cutoff=_MISSPELT):
            raise UsageError(
                f"encode() has no parameter {name!r}: expected one of {', '.join(sorted(known))}"
            )
    if names:
        listed = ", ".join(sorted(names))
        warnings.warn(f"encode() has no parameter {listed}: ignored", stacklevel=3)


def _warn_cut(limit: int) -> None:
    warnings.warn(
        f"texts were cut to {limit} tokens: pass max_length=None to raise an error instead",
        TruncationWarning,
        stacklevel=3,
    )


def _document_text(document: str | Mapping[str, str], index: int) -> str:
    if not isinstance(document, Mapping):
        return document
    if "text" not in document:
        raise InputError("the document has no 'text'", index)
    return f"{document['title']} {document['text']}" if "title" in document else document["text"]


def _to_tensor(vectors: Vectors) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "convert_to_tensor") from error
    return torch.from_numpy(vectors)
