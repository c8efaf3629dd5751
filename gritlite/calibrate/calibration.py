"""Calibration: an importance matrix of a model from passes in both its modes.

Half of what a GritLM model does is bidirectional, and its matrices then meet
other activations than in causal passes. Each mode is summed by itself, and the
means are mixed. The sums come from llama.cpp's own graphs, by `runtime`.
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
    """The matrix, and the tokens that each mode saw."""

    imatrix: Imatrix
    embed_tokens: int
    generate_tokens: int


class Calibrator:
    """A calibration of `model` on the texts of `files`, from its beginning or from a checkpoint.

    `embed_weight` is what embedding counts in the mixture, from 0 (causal passes
    only, as other tools) to 1.

    Raises UsageError for another weight, what `read_texts` raises, and
    InputError for texts of less than one pass.
    """

    def __init__(self, model: GritLM, files: Sequence[Path], *, embed_weight: float = 0.5) -> None:
        if not 0 <= embed_weight <= 1:
            raise UsageError(f"the weight of embedding is {embed_weight}: it goes from 0 to 1")
        texts = read_texts(files)
        self._model = model
        self._embed_weight = embed_weight
        self._datasets = tuple(path.name for path in files)
        self._passes = embed_passes(model, texts) if embed_weight > 0 else []
        size, tokens = pass_tokens(model), sum(each.tokens for each in self._passes)
        if embed_weight > 0 and tokens < size:
            raise InputError(
                f"the calibration text has {tokens} tokens to embed, less than one pass of {size}: "
                "give more of it"
            )
        self._passes += generate_passes(model, texts) if embed_weight < 1 else []
        self._sums = {False: ActivationSums(), True: ActivationSums()}
        self._done = 0

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. Raises FormatError if it is none of this calibration."""
        self._done, embed, generate = checkpoint.load(path, self._fingerprint)
        self._sums = {False: embed, True: generate}

    def save(self, path: Path) -> None:
        """Write a checkpoint of where the calibration stands."""
        checkpoint.save(path, self._fingerprint, self._done, self._sums[False], self._sums[True])

    @cached_property
    def tokens(self) -> int:
        """How many tokens there are to evaluate in all."""
        return sum(each.tokens for each in self._passes)

    def run(self) -> Iterator[int]:
        """Evaluate what is left, yielding the tokens done after each pass."""
        size = pass_tokens(self._model)
        done = sum(each.tokens for each in self._passes[: self._done])
        for causal, passes in ((False, self._left(False)), (True, self._left(True))):
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
                    self._sums[causal].move_from(seen)  # so that only whole passes count
                    self._done += 1
                    done += each.tokens
                    yield done

    def result(self) -> Calibration:
        """What the passes done so far give."""
        done = self._passes[: self._done]
        embedded, read = tokens_by_mode(done)
        return Calibration(
            Imatrix(
                mix_modes(self._sums[False], self._sums[True], self._embed_weight),
                self._datasets,
                chunks=len(done),
                chunk_size=pass_tokens(self._model),
            ),
            embed_tokens=embedded,
            generate_tokens=read,
        )

    def _left(self, causal: bool) -> list[Pass]:
        return [each for each in self._passes[self._done :] if each.causal is causal]

    @cached_property
    def _fingerprint(self) -> str:
        """A digest of all that a checkpoint must have in common with this calibration."""
        digest = hashlib.sha256(self._model.fingerprint.encode())
        digest.update(repr((self._embed_weight, self._passes)).encode())
        return digest.hexdigest()
