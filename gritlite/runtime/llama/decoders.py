"""The `Decoders` of llama.cpp: sequences of one context, whose next tokens one batch evaluates.

A sequence's logits are those that it has alone, bit for bit. What that takes was found by
experiment (docs/speed.md, "Answers decoded together"):

- Each sequence has a part of the cache of its own (`unified=False`). In a shared one, the order
  of its cells would depend on others, and with it the order of attention's sums.
- ggml's products of most quantization types are rounded otherwise in batches of other sizes,
  some of them seldom. So a batch has a token for every sequence: those that have none get one
  that is removed again. In files of `_SAME_BITS` no difference was ever found; there batches
  are as small as their answers allow, if a trial on this machine finds none either.
- From 512 cells on, ggml divides the keys of a batch of one token among threads, and so sums in
  another order (ggml_compute_forward_flash_attn_ext_f16): then a batch has two tokens.
- On a GPU nothing is known, so sequences are evaluated one after another.
"""

from collections.abc import Sequence

import numpy as np

from gritlite.errors import UsageError
from gritlite.runtime.engine import Logits, Step
from gritlite.runtime.llama.context import Batch, Context, ContextOptions
from gritlite.runtime.llama.decoder import LlamaDecoder
from gritlite.runtime.llama.weights import Weights

# ggml's repacked products take four tokens at once, and a rest of fewer one by one
SIZES = (1, 2, 4, 8, 16)
# general.file_type of f32, f16, q8_0 and bf16 (LlamaFileType)
_SAME_BITS = ("0", "1", "7", "32")
_BLOCK = 256  # cells: llama.cpp rounds a sequence's part up to this, and counts keys in it
_DIVIDED_KEYS = 512


class LlamaDecoders:
    """Several decoders in one context, each of up to `capacity` tokens. Not thread-safe.

    Raises UsageError for a `count` that is not one of `SIZES`, and OutOfMemoryError.
    """

    def __init__(
        self, weights: Weights, count: int, capacity: int, batch_tokens: int, threads: int
    ) -> None:
        if count not in SIZES:
            raise UsageError(f"{count} sequences: expected one of {', '.join(map(str, SIZES))}")
        cells = -(-(capacity + 1) // _BLOCK) * _BLOCK  # one for a token that is removed again
        options = ContextOptions(
            n_ctx=count * cells,
            n_batch=max(batch_tokens, count),
            threads=threads,
            n_seq_max=count,
            unified=False,
        )
        self._context = Context(weights, options)
        self._members = [LlamaDecoder(self._context, index, capacity) for index in range(count)]
        self._least = count  # the size of a batch
        if weights.on_gpu:
            self._least = 1
        elif weights.metadata("general.file_type") in _SAME_BITS:
            self._least = self._trial()

    @property
    def members(self) -> Sequence[LlamaDecoder]:
        """The decoders."""
        return self._members

    def evaluate_together(self, steps: Sequence[Step]) -> Logits:
        """Evaluate a token of each of some members; return their logits [steps, n_vocab]."""
        if self._context.weights.on_gpu:
            return np.concatenate([self._evaluate([step], 1) for step in steps])
        return self._evaluate(steps, self._size(steps))

    def _size(self, steps: Sequence[Step]) -> int:
        """Return the smallest size of a batch that does not show in the logits."""
        numbers = [step.member for step in steps]
        size = next(size for size in SIZES if size > max(numbers) - min(numbers))
        (only, *others) = steps
        divided = only.position + 1 > _DIVIDED_KEYS - _BLOCK and self._context.options.threads > 1
        return max(size, self._least, 1 if others or not divided else 2)

    def _evaluate(self, steps: Sequence[Step], size: int) -> Logits:
        """Evaluate a batch of the `size` members that begin at the first or end at the last."""
        first = min(min(step.member for step in steps), len(self._members) - size)
        tokens = np.zeros(size, np.int32)
        positions = np.array([each.length for each in self._members[first : first + size]])
        rows = [step.member - first for step in steps]
        tokens[rows] = [step.token for step in steps]
        positions[rows] = [step.position for step in steps]
        for number, position in enumerate(positions, first):
            # a batch that Ctrl-C ended may have left tokens
            self._members[number].truncate(int(position))
        numbers = np.arange(first, first + size, dtype=np.int32)
        # outputs of all, or the last layer's products would have another size
        self._context.decode(Batch(tokens, positions, numbers, np.ones(size, np.bool_)))
        logits = self._context.logits(size)[rows]
        for number, position in enumerate(positions, first):
            if number - first in rows:
                self._members[number].length = int(position) + 1
            else:
                self._members[number].truncate(int(position))
        return logits

    def _trial(self) -> int:
        """Return the size from which on logits of first tokens are the same bits in all batches."""
        steps = [Step(number, number, 0) for number in range(len(self._members))]
        wanted, least = self._evaluate(steps, len(steps)), len(steps)
        while least > 1:
            size = least // 2
            if not np.array_equal(self._evaluate(steps[:size], size), wanted[:size]):
                break
            least = size
        for member in self._members:
            member.truncate(0)
        return least

    def close(self) -> None:
        """Free the context."""
        self._context.close()


class LoneDecoder:
    """A single decoder as `Decoders`: `evaluate_together` evaluates one token."""

    def __init__(self, decoder: LlamaDecoder) -> None:
        self.members = (decoder,)

    def evaluate_together(self, steps: Sequence[Step]) -> Logits:
        """Evaluate the token; return its logits [1, n_vocab]."""
        (step,), (decoder,) = steps, self.members
        decoder.truncate(step.position)  # a batch that Ctrl-C ended may have left tokens
        decoder.evaluate([step.token], step.position, np.ones(1, np.bool_))
        return decoder.logits(1)

    def close(self) -> None:
        """Free the context."""
        self.members[0].close()
