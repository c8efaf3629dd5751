"""Read GPTQ checkpoints; symmetric 4-bit groups convert to GGUF's Q4_0 exactly.

Both represent `scale * (q - 8)` with q from 0 to 15. Q4_0 has a scale for every 32
columns; a GPTQ group of 64 or 128 becomes several such blocks with the same scale.
Other weights (other bits, zero points, activation order) are read as floats.

Format: `qweight` int32 [in / 8, out], eight integers packed in one, the first lowest;
`scales` [groups, out]; `qzeros` int32 [groups, out / 8], one less than the zero
point in the format "gptq"; `g_idx` int32 [in], each column's group. Source:
gptqmodel/nn_modules/qlinear of GPTQModel 7.6. Q4_0: block_q4_0 of ggml-common.h.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.checkpoint import Checkpoint
from gritlite.convert.safetensors import TensorEntry
from gritlite.errors import ArchitectureError, FormatError
from gritlite.quant import q4_0

_PARTS = ("qweight", "qzeros", "scales", "g_idx")


@dataclass(frozen=True)
class GPTQFormat:
    """The format that config.json's `quantization_config` describes."""

    bits: int
    group_size: int
    symmetric: bool
    zero_offset: int

    @classmethod
    def from_config(cls, raw: Mapping[str, Any]) -> "GPTQFormat | None":
        """Read the format from a parsed config.json; None for an unquantized model.

        Raises ArchitectureError for a quantization that is not GPTQ or not supported.
        """
        config = raw.get("quantization_config")
        if not config:
            return None
        if not isinstance(config, dict) or config.get("quant_method") != "gptq":
            method = config.get("quant_method") if isinstance(config, dict) else config
            raise ArchitectureError(
                f"config.json says that the weights are quantized by {method!r}, but only gptq can "
                "be read: use the model's unquantized weights"
            )
        bits, group_size = config.get("bits"), config.get("group_size")
        form = config.get("checkpoint_format", "gptq")
        symmetric = config.get("sym", True)
        if (
            bits not in (2, 4, 8)
            or type(group_size) is not int
            or (group_size < 1 and group_size != -1)
            or type(symmetric) is not bool
            or form not in ("gptq", "gptq_v2")
        ):
            raise ArchitectureError(
                f"config.json describes GPTQ weights of {bits} bits in groups of {group_size}, "
                f"symmetric {symmetric!r}, as {form!r}, which is not supported: use the model's "
                "unquantized weights"
            )
        return cls(bits, group_size, symmetric, 1 if form == "gptq" else 0)


@dataclass(frozen=True)
class QuantizedEntry:
    """A weight stored in several tensors: its `shape` [out, in], and their `size` in bytes."""

    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class _Weight:
    """One weight as stored: integers q, uint8 [in, out]; zero points and scales [groups, out].

    `groups` [in] is the group of each column.
    """

    integers: NDArray[np.uint8]
    zeros: NDArray[np.int32]
    scales: NDArray[np.float32]
    groups: NDArray[np.int32]


class GPTQCheckpoint:
    """The tensors of GPTQ weights, read through the open `checkpoint`.

    `quantized` names the weights that Q4_0 represents exactly, which `read_blocks`
    reads; `read_rows` reads any tensor as floats. Raises FormatError for a weight with
    a part that is missing or has the wrong shape.
    """

    def __init__(self, checkpoint: Checkpoint, format: GPTQFormat) -> None:
        self.path = checkpoint.path
        self._checkpoint = checkpoint
        self._format = format
        self._bases = [
            name.removesuffix(".qweight")
            for name in checkpoint.tensors
            if name.endswith(".qweight")
        ]
        self._read = lru_cache(1)(self._read_weight)  # callers read all rows of one in turn

    @cached_property
    def tensors(self) -> Mapping[str, TensorEntry | QuantizedEntry]:
        """Every tensor by name, with the parts of a GPTQ weight as one tensor."""
        stored = self._checkpoint.tensors
        parts = {f"{base}.{part}" for base in self._bases for part in _PARTS}
        found: dict[str, TensorEntry | QuantizedEntry] = {
            name: entry for name, entry in stored.items() if name not in parts
        }
        for base in self._bases:
            missing = [part for part in _PARTS[:3] if f"{base}.{part}" not in stored]
            if missing:
                raise FormatError(f"{self.path} lacks {base}.{missing[0]}: download it again")
            rows, columns = stored[f"{base}.qweight"].shape
            size = sum(stored[f"{base}.{p}"].size for p in _PARTS if f"{base}.{p}" in stored)
            shape = (columns, rows * 32 // self._format.bits)
            found[f"{base}.weight"] = QuantizedEntry(shape, size)
        return found

    @cached_property
    def quantized(self) -> frozenset[str]:
        """The weights that Q4_0 represents exactly."""
        return frozenset(f"{base}.weight" for base in self._bases if self._is_exact(base))

    def _is_exact(self, base: str) -> bool:
        format, stored = self._format, self._checkpoint
        columns = self.tensors[f"{base}.weight"].shape[1]
        size = columns if format.group_size == -1 else format.group_size
        if format.bits != 4 or not format.symmetric or size % q4_0.BLOCK or columns % size:
            return False
        if f"{base}.g_idx" in stored.tensors:
            order = stored.read(f"{base}.g_idx")
            if not np.array_equal(order, np.arange(columns) // size):
                return False
        scales = self._scales(base)
        with np.errstate(over="ignore"):
            return bool(np.array_equal(scales.astype(np.float16).astype(np.float32), scales))

    def read_rows(self, name: str, first: int, count: int) -> NDArray[np.float32]:
        """Read rows as float32, exactly. Raises what `Checkpoint.read_rows` raises."""
        if not isinstance(self.tensors[name], QuantizedEntry):
            return self._checkpoint.read_rows(name, first, count)
        weight = self._read(name.removesuffix(".weight"))
        rows = slice(first, first + count)
        steps = weight.integers[:, rows].astype(np.int32) - weight.zeros[weight.groups, rows]
        floats = steps.astype(np.float32) * weight.scales[weight.groups, rows]
        return np.ascontiguousarray(floats.T)

    def read_blocks(self, name: str, first: int, count: int) -> NDArray[np.uint8]:
        """Read rows of one of the `quantized` weights as Q4_0, uint8 [count, bytes per row].

        Raises FormatError if there are zero points although config.json says symmetric.
        """
        weight = self._read(name.removesuffix(".weight"))
        if (weight.zeros != q4_0.ZERO_POINT).any():
            raise FormatError(
                f"{self.path}: {name} has zero points, although config.json says sym: download it "
                "again"
            )
        rows = slice(first, first + count)
        integers = weight.integers[:, rows].T.reshape(count, -1, q4_0.BLOCK)
        block_groups = weight.groups[:: q4_0.BLOCK]
        return q4_0.pack(weight.scales[block_groups, rows].T, integers).reshape(count, -1)

    def _scales(self, base: str) -> NDArray[np.float32]:
        name = f"{base}.scales"
        return self._checkpoint.read_rows(name, 0, self._checkpoint.tensors[name].shape[0])

    def _read_weight(self, base: str) -> _Weight:
        stored, bits = self._checkpoint, self._format.bits
        rows, columns = self.tensors[f"{base}.weight"].shape
        integers = _unpacked(stored.read(f"{base}.qweight").T, bits).T
        zeros = _unpacked(stored.read(f"{base}.qzeros"), bits).astype(np.int32)
        scales = self._scales(base)
        if scales.shape[1] != rows or zeros.shape != scales.shape:
            raise FormatError(f"{self.path}: the parts of {base} have inconsistent shapes")
        if f"{base}.g_idx" in stored.tensors:
            groups = stored.read(f"{base}.g_idx")
        else:
            groups = np.arange(columns, dtype=np.int32) // (columns // len(scales))
        if len(groups) != columns or groups.min() < 0 or groups.max() >= len(scales):
            raise FormatError(f"{self.path}: {base}.g_idx refers to groups that do not exist")
        # the format "gptq" stores the zero point minus one, modulo 2**bits
        zeros = (zeros + self._format.zero_offset) % 2**bits
        return _Weight(integers, zeros, scales, groups)


def _unpacked(packed: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Unpack int32 [n, k] to integers [n, k * 32 / bits], the lowest bits first."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    integers = packed.astype("<i4").view(np.uint32)[:, :, None] >> shifts & np.uint32(2**bits - 1)
    return integers.astype(np.uint8).reshape(len(packed), -1)
