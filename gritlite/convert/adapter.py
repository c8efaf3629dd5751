"""A PEFT LoRA adapter as what it adds to a model's tensors, under their GGUF names.

An adapted tensor is W + alpha / rank * B @ A (LoRA, arXiv 2106.09685). The rows
of B are those of W, so they are reordered with them (`interleaved`).
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.architectures import FEED_FORWARD, PROJECTIONS
from gritlite.convert.checkpoint import Checkpoint
from gritlite.convert.lora_config import LoraConfig, read_lora_config
from gritlite.convert.rope_permutation import heads_to_permute, permute_heads
from gritlite.convert.safetensors import TensorEntry
from gritlite.convert.source import ModelSource, SourceTensor
from gritlite.errors import FileError, FormatError
from gritlite.quant.type_selection import ModelSpec

WEIGHTS = "adapter_model.safetensors"

# PEFT's prefix, then transformers' name; a model without a head has no "model." before its layers
NAME = re.compile(
    r"base_model\.model\."
    r"(?P<module>(?:model\.)?layers\.(?P<layer>[0-9]{1,4})\.(?P<part>[\w.]+)|lm_head)"
    r"\.lora_(?P<side>[AB])\.weight"
)
PARTS: Mapping[str, str] = {
    **{f"self_attn.{letter}_proj": name for letter, name in PROJECTIONS.items()},
    **{f"mlp.{part}_proj": name for part, name in FEED_FORWARD.items()},
}


@dataclass(frozen=True)
class LowRankUpdate:
    """What is added to one tensor: scale * b @ a, of `a` [rank, in] and `b` [out, rank]."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    scale: float

    def add_to(self, rows: NDArray[np.float32], first: int) -> None:
        """Add to `rows` [n, in], which are the tensor's from row `first` on, in place."""
        added = self.b[first : first + len(rows)] @ self.a
        added *= np.float32(self.scale)
        rows += added


@dataclass(frozen=True)
class LoraPair:
    """Where one tensor's two matrices stand, and how many rows a head to interleave has."""

    a: TensorEntry
    b: TensorEntry
    alpha: float
    head_rows: int | None

    @property
    def rank(self) -> int:
        """The inner dimension of the product."""
        return self.a.shape[0]


@dataclass(frozen=True)
class _Module:
    """What was found of a module: its name in transformers, its tensor, its matrices A and B."""

    name: str
    target: SourceTensor
    sides: dict[str, TensorEntry]


class Adapter:
    """`pairs` are by the GGUF names of the tensors they adapt."""

    def __init__(self, checkpoint: Checkpoint, pairs: Mapping[str, LoraPair]) -> None:
        self.pairs = pairs
        self._checkpoint = checkpoint
        self._last: tuple[str, LowRankUpdate] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.pairs

    def read(self, name: str) -> LowRankUpdate:
        """What is added to a tensor, with its rows in GGUF's order; the last one is remembered.

        Raises FileError if it cannot be read, FormatError for a NaN or an infinity.
        """
        if self._last is None or self._last[0] != name:
            self._last = (name, self._read(self.pairs[name]))
        return self._last[1]

    def _read(self, pair: LoraPair) -> LowRankUpdate:
        a, b = self._matrix(pair.a), self._matrix(pair.b)
        if pair.head_rows is not None:
            b = permute_heads(b, pair.head_rows)
        return LowRankUpdate(a, b, pair.alpha / pair.rank)

    def _matrix(self, entry: TensorEntry) -> NDArray[np.float32]:
        values = self._checkpoint.read_rows(entry.name, 0, entry.shape[0])
        if not np.isfinite(values).all():
            raise FormatError(f"{entry.path}: {entry.name!r} holds a NaN or an infinity")
        return values


@contextlib.contextmanager
def open_adapter(folder: Path, base: ModelSource) -> Iterator[Adapter]:
    """The adapter in a folder that PEFT's save_pretrained wrote, held against its base.

    Raises FileError if a file is missing; FormatError, which names the tensor, if
    one is not of an attention or feed-forward projection that the base has, lacks
    its partner or has another shape; and what `read_lora_config` raises.
    """
    config = read_lora_config(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileError(f"{folder} has no {WEIGHTS}: save the adapter with safe_serialization=True")
    with Checkpoint(path) as checkpoint:
        yield Adapter(checkpoint, _pairs(checkpoint, config, base))


def _pairs(checkpoint: Checkpoint, config: LoraConfig, base: ModelSource) -> dict[str, LoraPair]:
    tensors = {tensor.name: tensor for tensor in base.tensors}
    found: dict[str, _Module] = {}
    for name, entry in checkpoint.tensors.items():
        match = NAME.fullmatch(name)
        target = _gguf_name(match) if match else None
        if not match or target is None:
            raise FormatError(
                f"{checkpoint.path}: {name!r} is no LoRA matrix of an attention or feed-forward "
                "projection: adapters of experts, embeddings or other parts cannot be merged"
            )
        if target not in tensors:
            raise FormatError(
                f"{checkpoint.path}: {name!r} adapts {target!r}, which {base.path} does not have: "
                "the adapter belongs to another model"
            )
        module = found.setdefault(target, _Module(match["module"], tensors[target], {}))
        if match["side"] in module.sides:
            raise FormatError(f"{checkpoint.path}: {name!r} adapts {target!r} a second time")
        module.sides[match["side"]] = entry
    if not found:
        raise FormatError(f"{checkpoint.path} holds no tensors")
    return {target: _pair(module, config, base.spec) for target, module in found.items()}


def _gguf_name(match: re.Match[str]) -> str | None:
    if match["module"] == "lm_head":
        return "output.weight"
    if match["part"] not in PARTS:
        return None
    return f"blk.{int(match['layer'])}.{PARTS[match['part']]}.weight"


def _pair(module: _Module, config: LoraConfig, facts: ModelSpec) -> LoraPair:
    target, rank = module.target, config.rank_of(module.name)
    shapes = {"A": (rank, target.shape[-1]), "B": (target.rows, rank)}
    for side, entry in module.sides.items():
        if entry.shape != shapes[side]:
            raise FormatError(
                f"{entry.path}: {entry.name!r} has shape {list(entry.shape)}, but rank {rank} and "
                f"{target.name!r} of shape {list(target.shape)} need {list(shapes[side])}: "
                "the adapter belongs to another model"
            )
        if len(module.sides) == 1:
            raise FormatError(f"{entry.path}: {entry.name!r} stands without its partner")
    heads = heads_to_permute(target.name.split(".")[-2], facts.arch, facts.n_head, facts.n_head_kv)
    return LoraPair(
        module.sides["A"],
        module.sides["B"],
        config.alpha_of(module.name),
        target.rows // heads if heads else None,
    )
