"""Calibration: computes a model's importance matrix from passes in both modes.

Embedding is bidirectional, so its activations differ from those of causal passes. Each
mode is summed separately, then the means are mixed. `runtime` reads the activations from
llama.cpp's own compute graphs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gritlite.calibrate import checkpoint
from gritlite.calibrate.activation_sums import ActivationSums, mix_modes
from gritlite.calibrate.texts import (
    Pass,
    embed_passes,
    generate_passes,
    pass_tokens,
    read_texts,
    tokens_by_mode,
)
from gritlite.errors import InputError, UsageError
from gritlite.quant.imatrix import Imatrix
from gritlite.runtime.instruments import Observer
from gritlite.runtime.model import GritLM


@dataclass(frozen=True)
class Calibration:
    """An importance matrix and the number of tokens evaluated in each mode."""

    imatrix: Imatrix
    embed_tokens: int
    generate_tokens: int


class Calibrator:
    """Calibrates `model` on the texts of `files`; can resume from a checkpoint.

    `embed_weight` is the weight of embedding in the mixture, from 0 (causal passes
    only, as in other tools) to 1.

    Raises UsageError for a weight outside that range, InputError if the texts fill
    less than one pass, and the errors of `read_texts`.
    """

    def __init__(self, model: GritLM, files: Sequence[Path], *, embed_weight: float = 0.5) -> None:
        if not 0 <= embed_weight <= 1:
            raise UsageError(f"the weight of embedding is {embed_weight}: expected 0 to 1")
        texts = read_texts(files)
        self._model = model
        self._embed_weight = embed_weight
        self._datasets = tuple(path.name for path in files)
        self._passes = embed_passes(model, texts) if embed_weight > 0 else []
        size, tokens = pass_tokens(model), sum(each.tokens for each in self._passes)
        if embed_weight > 0 and tokens < size:
            raise InputError(
                f"the calibration text has {tokens} tokens to embed, less than one pass of {size}: "
                "add more text"
            )
        self._passes += generate_passes(model, texts) if embed_weight < 1 else []
        self._sums = {False: ActivationSums(), True: ActivationSums()}
        self._done = 0

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint. Raises FormatError if it belongs to another calibration."""
        self._done, embed, generate = checkpoint.load(path, self._fingerprint)
        self._sums = {False: embed, True: generate}

    def save(self, path: Path) -> None:
        """Write a checkpoint of the passes done so far."""
        checkpoint.save(path, self._fingerprint, self._done, self._sums[False], self._sums[True])

    @cached_property
    def tokens(self) -> int:
        """The number of tokens in all passes."""
        return sum(each.tokens for each in self._passes)

    @property
    def tokens_done(self) -> int:
        """The number of tokens in the passes done so far."""
        return sum(each.tokens for each in self._passes[: self._done])

    def run(self) -> Iterator[int]:
        """Evaluate the remaining passes; after each, yield the number of tokens done so far."""
        size = pass_tokens(self._model)
        done = self.tokens_done
        for causal, passes in ((False, self._remaining(False)), (True, self._remaining(True))):
            if not passes:
                continue
            seen = ActivationSums()
            with Observer(
                self._model,
                seen.add,
                attention="causal" if causal else "bidirectional",
                pass_tokens=size,
            ) as observer:
                for each in passes:
                    observer.run(each.sequences)
                    self._sums[causal].move_from(seen)  # interrupted passes do not count
                    self._done += 1
                    done += each.tokens
                    yield done

    def result(self) -> Calibration:
        """Return the importance matrix of the passes done so far."""
        done = self._passes[: self._done]
        embed_tokens, generate_tokens = tokens_by_mode(done)
        return Calibration(
            Imatrix(
                mix_modes(self._sums[False], self._sums[True], self._embed_weight),
                self._datasets,
                chunks=len(done),
                chunk_size=pass_tokens(self._model),
            ),
            embed_tokens=embed_tokens,
            generate_tokens=generate_tokens,
        )

    def _remaining(self, causal: bool) -> list[Pass]:
        return [each for each in self._passes[self._done :] if each.causal is causal]

    @cached_property
    def _fingerprint(self) -> str:
        """A digest of everything that must match for a checkpoint to be resumed."""
        digest = hashlib.sha256(self._model.fingerprint.encode())
        digest.update(repr((self._embed_weight, self._passes)).encode())
        return digest.hexdigest()
