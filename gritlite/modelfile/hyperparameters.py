"""A model's dimensions, read from a GGUF header and checked against llama.cpp's limits.

Key names: ggml's docs/gguf.md; limits and defaults: llama.cpp's
`llama_model_base::load_hparams`. The module does not look at tensors or tokens.
"""

import re
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gritlite.errors import ArchitectureError, FormatError
from gritlite.modelfile.failure import MADE_WRONG
from gritlite.modelfile.header import GGUFFile

_T = TypeVar("_T")

ARCHITECTURE_KEY = "general.architecture"
TOKENS_KEY = "tokenizer.ggml.tokens"
CAUSAL = "attention.causal"  # behind the architecture's name

MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
# above any existing model, and small enough that no product of two overflows in C
MAX_WIDTH = 1 << 20
MAX_FEED_FORWARD = 1 << 24
MAX_HEADS = 1 << 14
MAX_HEAD_WIDTH = 1 << 14
MAX_CONTEXT = 1 << 28


@dataclass(frozen=True)
class Hyperparameters:
    """Dimensions of a transformer.

    `heads`, `kv_heads` and `feed_forward` have one number per layer. `width` is the
    embedding length; `key_width`, `value_width` and `rope_width` are sizes of one head.
    """

    architecture: str
    layers: int
    width: int
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    key_width: int
    value_width: int
    rope_width: int
    feed_forward: tuple[int, ...]
    experts: int
    experts_used: int
    context_length: int
    vocabulary: int


def read_hyperparameters(file: GGUFFile) -> Hyperparameters:
    """Read the dimensions from a header, with llama.cpp's defaults for absent keys.

    Raises ArchitectureError if a required key is missing or a value is out of range,
    and FormatError for a value of the wrong type.
    """
    reader = _Keys(file, architecture(file))
    layers = reader.number("block_count", 1, MAX_LAYERS)
    width = reader.number("embedding_length", 1, MAX_WIDTH)
    heads = reader.per_layer("attention.head_count", layers, 0, MAX_HEADS)
    kv_heads = reader.per_layer("attention.head_count_kv", layers, 0, MAX_HEADS, default=heads)
    head_width = width // heads[0] if heads[0] else 0
    key_width = reader.number("attention.key_length", 0, MAX_HEAD_WIDTH, default=head_width)
    experts = reader.number("expert_count", 0, MAX_EXPERTS, default=0)
    return Hyperparameters(
        architecture=reader.architecture,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        key_width=key_width,
        value_width=reader.number("attention.value_length", 0, MAX_HEAD_WIDTH, default=head_width),
        rope_width=reader.number("rope.dimension_count", 0, MAX_HEAD_WIDTH, default=key_width),
        feed_forward=reader.per_layer(
            "feed_forward_length", layers, 0, MAX_FEED_FORWARD, default=(0,) * layers
        ),
        experts=experts,
        experts_used=max(
            reader.per_layer("expert_used_count", layers, 0, experts, default=(0,) * layers)
        ),
        context_length=reader.number("context_length", 1, MAX_CONTEXT),
        vocabulary=_vocabulary_size(file),
    )


def architecture(file: GGUFFile) -> str:
    """Return the architecture's name, such as "llama". Raises FormatError if it is missing."""
    name = file.metadata.get(ARCHITECTURE_KEY)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise FormatError(f"{file.path}: {ARCHITECTURE_KEY} is missing or not a name: {MADE_WRONG}")
    return name


def embeds_only(file: GGUFFile) -> bool:
    """Whether the file asks every program for bidirectional attention.

    Raises FormatError if that is not a boolean.
    """
    key = f"{architecture(file)}.{CAUSAL}"
    causal = file.metadata.get(key, True)
    if not isinstance(causal, bool):
        kind = file.entries[key].type
        raise FormatError(f"{file.path}: {key} is of type {kind}, not bool: {MADE_WRONG}")
    return not causal


def _vocabulary_size(file: GGUFFile) -> int:
    tokens = file.metadata.get(TOKENS_KEY)
    return len(tokens) if isinstance(tokens, list) else 0


class _Keys:
    """Typed, checked access to the metadata keys of one architecture."""

    def __init__(self, file: GGUFFile, architecture: str) -> None:
        self.architecture = architecture
        self._file = file

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return a u32 from `low` to `high`."""
        key = f"{self.architecture}.{name}"
        if key not in self._file.metadata:
            return self._absent(key, default)
        value = self._file.metadata[key]
        kind = self._file.entries[key].type
        if kind != "u32" or not isinstance(value, int):
            raise FormatError(f"{self._file.path}: {key} is of type {kind}, not u32: {MADE_WRONG}")
        self._check(key, value, low, high)
        return value

    def per_layer(
        self, name: str, layers: int, low: int, high: int, default: tuple[int, ...] | None = None
    ) -> tuple[int, ...]:
        """Return a number for each layer, stored as one u32 for all or an array of `layers`."""
        key = f"{self.architecture}.{name}"
        value = self._file.metadata.get(key)
        if value is None:
            return self._absent(key, default)
        if not isinstance(value, np.ndarray):
            return (self.number(name, low, high),) * layers
        if self._file.entries[key].type not in ("arr[u32]", "arr[i32]") or len(value) != layers:
            raise FormatError(
                f"{self._file.path}: {key} is not an array of {layers} integers: {MADE_WRONG}"
            )
        numbers = tuple(int(number) for number in value)
        for number in numbers:
            self._check(key, number, low, high)
        return numbers

    def _absent(self, key: str, default: _T | None) -> _T:
        if default is None:
            raise ArchitectureError(
                f"{self._file.path}: the metadata key {key} is missing, which every "
                f"{self.architecture} model needs: {MADE_WRONG}"
            )
        return default

    def _check(self, key: str, value: int, low: int, high: int) -> None:
        if not low <= value <= high:
            raise ArchitectureError(
                f"{self._file.path}: {key} is {value:,}, outside {low:,} to {high:,}: {MADE_WRONG}"
            )
