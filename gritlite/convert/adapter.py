"""Read PEFT LoRA adapters: the update of each of a model's tensors, by GGUF name.

An adapted tensor is W + alpha / rank * B @ A (LoRA, arXiv 2106.09685). The rows
of B correspond to those of W, so they are permuted like them (`permute_heads`).
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.architectures import FEED_FORWARD, PROJECTIONS
from gritlite.convert.checkpoint import Checkpoint
from gritlite.convert.json_files import shown
from gritlite.convert.lora_config import LoraConfig, read_lora_config
from gritlite.convert.rope_permutation import heads_to_permute, permute_heads
from gritlite.convert.safetensors import TensorEntry, read_metadata
from gritlite.convert.source import TOKEN_EMBEDDINGS, ModelSource, SourceTensor
from gritlite.errors import FileError, FormatError
from gritlite.prompt import ATTENTION_KEY, SIZES_KEY, TRAINED_KEY, Attention
from gritlite.quant.type_selection import ModelSpec
from gritlite.system.reading import open_regular

WEIGHTS = "adapter_model.safetensors"
PROJECTION = "projection.npy"  # beside PEFT's files

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
    """The update of one tensor: scale * b @ a, with `a` [rank, in] and `b` [out, rank]."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    scale: float

    def add_to(self, rows: NDArray[np.float32], first: int) -> None:
        """Add the update in place to `rows` [n, in], the tensor's rows starting at `first`."""
        update = self.b[first : first + len(rows)] @ self.a
        update *= np.float32(self.scale)
        rows += update


@dataclass(frozen=True)
class LoraPair:
    """Where one tensor's two matrices lie; `head_rows` is None if no heads are permuted."""

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
    """An adapted module: its name in transformers, the tensor, and the matrices "A" and "B"."""

    name: str
    target: SourceTensor
    matrices: dict[str, TensorEntry]


class Adapter:
    """An open adapter. `pairs` maps the GGUF names of the adapted tensors to their matrices.

    `is_trained_to_embed` tells whether `gritlite train` made it with an objective for that,
    `attention` with which one, None where it is not said, and `sizes` what its vectors were
    trained to be cut to; `projection` [dimension, dimension] is what they are multiplied by, None
    where it has none. Raises FormatError if that does not fit.
    """

    def __init__(
        self, folder: Path, checkpoint: Checkpoint, pairs: Mapping[str, LoraPair], dimension: int
    ) -> None:
        self.pairs = pairs
        said = read_metadata(checkpoint.path)
        self.is_trained_to_embed = said.get(TRAINED_KEY) == "true"
        self.attention = _attention(checkpoint.path, said.get(ATTENTION_KEY))
        self.sizes = _sizes(checkpoint.path, said.get(SIZES_KEY, ""))
        self.projection = read_projection(folder / PROJECTION, dimension)
        self._checkpoint = checkpoint
        self._last: tuple[str, LowRankUpdate] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.pairs

    def update(self, name: str) -> LowRankUpdate:
        """Read the update of a tensor, with rows in GGUF's order. The last one is cached.

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
            raise FormatError(f"{entry.path}: {shown(entry.name)} has a NaN or an infinity")
        return values


def _attention(path: Path, said: str | None) -> str | None:
    """The attention that an adapter's file names."""
    if said not in (None, *get_args(Attention)):
        raise FormatError(
            f"{path}: {ATTENTION_KEY} is {shown(said)}: expected {' or '.join(get_args(Attention))}"
        )
    return said


def _sizes(path: Path, said: str) -> tuple[int, ...]:
    """The sizes that an adapter's file names, as "64 128"."""
    if not all(word.isdecimal() for word in said.split()):
        raise FormatError(f"{path}: {SIZES_KEY} is {shown(said)}: expected numbers")
    return tuple(map(int, said.split()))


def read_projection(path: Path, dimension: int) -> NDArray[np.float32] | None:
    """Read the projection in an adapter's folder, which `gritlite train` writes; None without one.

    Raises FileError if it cannot be read, FormatError if it is not [dimension, dimension].
    """
    if not path.exists():
        return None
    try:
        with open_regular(path) as file:
            projection = np.load(file, allow_pickle=False)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path} is not a NumPy array: {error}") from error
    shape = (dimension, dimension)
    fits = projection.shape == shape and projection.dtype.kind == "f"
    if not (fits and np.isfinite(projection).all()):
        raise FormatError(f"{path} does not hold {dimension} x {dimension} finite floats")
    return np.asarray(projection, np.float32)


@contextlib.contextmanager
def open_adapter(folder: Path, base: ModelSource) -> Iterator[Adapter]:
    """Open an adapter folder written by PEFT's save_pretrained, and check it against its base.

    Raises FileError if a file is missing; FormatError, naming the tensor, if one does
    not adapt an attention or feed-forward projection of the base, has the wrong shape
    or lacks the other matrix of its pair; and what `read_lora_config` raises.
    """
    config = read_lora_config(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileError(f"{folder} has no {WEIGHTS}: save the adapter with safe_serialization=True")
    with Checkpoint(path) as checkpoint:
        yield Adapter(folder, checkpoint, _pairs(checkpoint, config, base), _dimension(base))


def _dimension(base: ModelSource) -> int:
    return next(one.shape[-1] for one in base.tensors if one.name == TOKEN_EMBEDDINGS)


def _pairs(checkpoint: Checkpoint, config: LoraConfig, base: ModelSource) -> dict[str, LoraPair]:
    tensors = {tensor.name: tensor for tensor in base.tensors}
    found: dict[str, _Module] = {}
    for name, entry in checkpoint.tensors.items():
        match = NAME.fullmatch(name)
        target = _gguf_name(match) if match else None
        if not match or target is None:
            raise FormatError(
                f"{checkpoint.path}: {shown(name)} is not a LoRA matrix of an attention or "
                "feed-forward projection: adapters of experts, embeddings or other "
                "parts cannot be merged"
            )
        if target not in tensors:
            raise FormatError(
                f"{checkpoint.path}: {shown(name)} adapts {shown(target)}, which {base.path} does "
                "not have: the adapter belongs to another model"
            )
        module = found.setdefault(target, _Module(match["module"], tensors[target], {}))
        if match["side"] in module.matrices:
            raise FormatError(
                f"{checkpoint.path}: {shown(name)} adapts {shown(target)} a second time"
            )
        module.matrices[match["side"]] = entry
    if not found:
        raise FormatError(f"{checkpoint.path} has no tensors")
    return {target: _pair(module, config, base.spec) for target, module in found.items()}


def _gguf_name(match: re.Match[str]) -> str | None:
    if match["module"] == "lm_head":
        return "output.weight"
    if match["part"] not in PARTS:
        return None
    return f"blk.{int(match['layer'])}.{PARTS[match['part']]}.weight"


def _pair(module: _Module, config: LoraConfig, spec: ModelSpec) -> LoraPair:
    target, rank = module.target, config.rank_of(module.name)
    shapes = {"A": (rank, target.shape[-1]), "B": (target.rows, rank)}
    for side, entry in module.matrices.items():
        if entry.shape != shapes[side]:
            raise FormatError(
                f"{entry.path}: {shown(entry.name)} has shape {list(entry.shape)}, but rank "
                f"{rank} and {shown(target.name)} of shape {list(target.shape)} need "
                f"{list(shapes[side])}: the adapter belongs to another model"
            )
        if len(module.matrices) == 1:
            other = "B" if side == "A" else "A"
            raise FormatError(
                f"{entry.path}: {shown(entry.name)} has no lora_{other} to go with it"
            )
    heads = heads_to_permute(target.name.split(".")[-2], spec.arch, spec.n_head, spec.n_head_kv)
    return LoraPair(
        module.matrices["A"],
        module.matrices["B"],
        config.alpha_of(module.name),
        target.rows // heads if heads else None,
    )
