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
from gritlite.convert.json_files import shown
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
                f"config.json says that the weights are quantized by {shown(method)}, but only "
                "gptq can be read: use the model's unquantized weights"
            )
        bits, group_size = config.get("bits"), config.get("group_size")
        form = config.get("checkpoint_format", "gptq")
        symmetric = config.get("sym", True)
        exceptions = config.get("dynamic") or {}
        if not isinstance(exceptions, dict) or not all(
            module.startswith("-:") for module in exceptions
        ):
            raise ArchitectureError(
                f"config.json quantizes some modules in another way ({shown(exceptions)}), which "
                "is not supported: use the model's unquantized weights"
            )
        if (
            type(bits) is not int
            or bits not in (2, 4, 8)
            or type(group_size) is not int
            or (group_size < 1 and group_size != -1)
            or type(symmetric) is not bool
            or form not in ("gptq", "gptq_v2")
        ):
            raise ArchitectureError(
                f"config.json describes GPTQ weights of {shown(bits)} bits in groups of "
                f"{shown(group_size)}, symmetric {shown(symmetric)}, as {shown(form)}, which is "
                "not supported: use the model's unquantized weights"
            )
        return cls(bits, group_size, symmetric, 1 if form == "gptq" else 0)

    def columns_of_a_group(self, columns: int) -> int:
        """Return how many of a weight's columns share a scale: all with a group size of -1."""
        return columns if self.group_size == -1 else self.group_size


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
        self.absent = checkpoint.absent
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
        for name, entry in found.items():
            part = name.rpartition(".")[2]
            if part in _PARTS or (isinstance(entry, TensorEntry) and entry.dtype == "I32"):
                raise FormatError(
                    f"{self.path} has {shown(name)}, which is part of no quantized weight: a "
                    f"weight has {', '.join(_PARTS)}"
                )
        for base in self._bases:
            if f"{base}.weight" in found:
                raise FormatError(
                    f"{self.path} has {shown(base + '.weight')} and {shown(base + '.qweight')}: "
                    "remove the one that is not the model's"
                )
            found[f"{base}.weight"] = self._entry(base)
        return found

    def _entry(self, base: str) -> QuantizedEntry:
        """Describe a weight whose parts have the shapes and types that they imply together."""
        stored, bits = self._checkpoint.tensors, self._format.bits
        parts = {part: stored.get(f"{base}.{part}") for part in _PARTS}
        for part in _PARTS[:3]:
            if parts[part] is None:
                raise FormatError(
                    f"{self.path} has {shown(base + '.qweight')} without {shown(f'{base}.{part}')}"
                )
        there = {part: entry for part, entry in parts.items() if entry is not None}
        shapes = {part: entry.shape for part, entry in there.items()}
        if any(len(shape) != (1 if part == "g_idx" else 2) for part, shape in shapes.items()):
            raise self._inconsistent(base, shapes)
        rows, columns = shapes["qweight"][1], shapes["qweight"][0] * 32 // bits
        groups = shapes["scales"][0]
        expected = {
            "qweight": (columns * bits // 32, rows),
            "qzeros": (groups, rows * bits // 32),
            "scales": (groups, rows),
            "g_idx": (columns,),
        }
        size = self._format.columns_of_a_group(columns)
        is_whole = rows and columns and rows * bits % 32 == 0
        if (
            not is_whole
            or groups != -(-columns // size)
            or any(
                shapes[part] != expected[part] or (entry.dtype == "I32") is (part == "scales")
                for part, entry in there.items()
            )
        ):
            raise self._inconsistent(base, shapes)
        return QuantizedEntry((rows, columns), sum(entry.size for entry in there.values()))

    def _inconsistent(self, base: str, shapes: Mapping[str, tuple[int, ...]]) -> FormatError:
        listed = ", ".join(f"{part} {list(shape)}" for part, shape in shapes.items())
        return FormatError(
            f"{self.path}: the parts of {shown(base)} do not fit together for weights of "
            f"{self._format.bits} bits in groups of {self._format.group_size}: {listed}"
        )

    @cached_property
    def quantized(self) -> frozenset[str]:
        """The weights that Q4_0 represents exactly."""
        return frozenset(f"{base}.weight" for base in self._bases if self._is_exact(base))

    def _is_exact(self, base: str) -> bool:
        format, stored = self._format, self._checkpoint
        columns = self.tensors[f"{base}.weight"].shape[1]
        size = format.columns_of_a_group(columns)
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
                f"{self.path}: {shown(name)} has zero points, although config.json says sym: sym "
                "or checkpoint_format there is wrong; quantize the model again"
            )
        rows = slice(first, first + count)
        integers = weight.integers[:, rows].T.reshape(count, -1, q4_0.BLOCK)
        block_groups = weight.groups[:: q4_0.BLOCK]
        return q4_0.pack(weight.scales[block_groups, rows].T, integers).reshape(count, -1)

    def _scales(self, base: str) -> NDArray[np.float32]:
        name = f"{base}.scales"
        scales = self._checkpoint.read_rows(name, 0, self._checkpoint.tensors[name].shape[0])
        if not np.isfinite(scales).all():
            raise FormatError(f"{self.path}: {shown(name)} has a NaN or an infinity")
        return scales

    def _read_weight(self, base: str) -> _Weight:
        stored, bits = self._checkpoint, self._format.bits
        _, columns = self.tensors[f"{base}.weight"].shape
        integers = _unpacked(stored.read(f"{base}.qweight").T, bits).T
        zeros = _unpacked(stored.read(f"{base}.qzeros"), bits).astype(np.int32)
        scales = self._scales(base)
        if f"{base}.g_idx" in stored.tensors:
            groups = stored.read(f"{base}.g_idx")
        else:
            size = self._format.columns_of_a_group(columns)
            groups = (np.arange(columns) // size).astype(np.int32)
        if groups.min() < 0 or groups.max() >= len(scales):
            raise FormatError(
                f"{self.path}: {shown(base + '.g_idx')} refers to groups that do not exist"
            )
        # the format "gptq" stores the zero point minus one, modulo 2**bits
        zeros = (zeros + self._format.zero_offset) % 2**bits
        return _Weight(integers, zeros, scales, groups)


def _unpacked(packed: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Unpack int32 [n, k] to integers [n, k * 32 / bits], the lowest bits first."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    integers = packed.astype("<i4").view(np.uint32)[:, :, None] >> shifts & np.uint32(2**bits - 1)
    return integers.astype(np.uint8).reshape(len(packed), -1)
