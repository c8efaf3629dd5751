"""Tiny folders of GPTQ weights, and beside each the checkpoint of the floats that they stand for.

Written by the format alone (see gritlite.convert.gptq_checkpoint); weights are
rounded to the nearest, which is all the same to a reader.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.tiny import Tensors, make_checkpoint, write_tensors

LINEAR = re.compile(r".*(_proj|\.w[123])\.weight")


@dataclass(frozen=True)
class Layout:
    """How the weights are quantized; `group` -1 is one group a row."""

    group: int = 32
    bits: int = 4
    symmetric: bool = True
    act_order: bool = False
    form: str = "gptq"


def make_gptq(
    folder: Path,
    case: str = "mistral",
    layout: Layout = Layout(),
    *,
    shards: int = 1,
    hidden: int = 256,
    feed_forward: int = 512,
) -> tuple[Path, Path]:
    """Write both folders; returns the one of GPTQ weights and the one of floats."""
    floats = make_checkpoint(folder / "floats", case, hidden=hidden, feed_forward=feed_forward)
    random = np.random.default_rng(5)
    exact: Tensors = {}
    packed: Tensors = {}
    for name, values in load_file(floats / "model.safetensors").items():
        if not LINEAR.fullmatch(name):
            # what f16 holds, so that both folders have the same numbers
            exact[name] = packed[name] = values.astype(np.float16).astype(np.float32)
            continue
        parts, exact[name] = quantized(values, layout, random)
        base = name.removesuffix(".weight")
        packed |= {f"{base}.{part}": numbers for part, numbers in parts.items()}
    write_tensors(floats, exact)
    gptq = shutil.copytree(floats, folder / "gptq")
    (gptq / "model.safetensors").unlink()
    write_tensors(gptq, packed, shards=shards, dtype="F16")
    config = json.loads((gptq / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "gptq",
        "bits": layout.bits,
        "group_size": layout.group,
        "sym": layout.symmetric,
        "desc_act": layout.act_order,
        "checkpoint_format": layout.form,
    }
    (gptq / "config.json").write_text(json.dumps(config))
    return gptq, floats


def quantized(
    weight: NDArray[np.float32], layout: Layout, random: np.random.Generator
) -> tuple[dict[str, NDArray[np.generic]], NDArray[np.float32]]:
    """The parts of a weight [out, in], and the floats that they stand for."""
    rows, columns = weight.shape
    size = columns if layout.group == -1 else layout.group
    order = random.permutation(columns) if layout.act_order else np.arange(columns)
    groups = (order // size).astype(np.int32)
    count, most = columns // size, 2**layout.bits - 1
    largest = np.stack([np.abs(weight[:, groups == g]).max(axis=1) for g in range(count)])
    scales = (largest / (most // 2)).astype(np.float16)  # [groups, out]
    zeros = np.full((count, rows), 2 ** (layout.bits - 1), np.int32)
    if not layout.symmetric:
        zeros += random.integers(-2, 3, zeros.shape, dtype=np.int32)
    wide = scales.astype(np.float32)[groups]  # [in, out]
    numbers = np.clip(np.round(weight.T / wide) + zeros[groups], 0, most).astype(np.int32)
    exact = ((numbers - zeros[groups]) * wide).T
    offset = 1 if layout.form == "gptq" else 0
    return {
        "qweight": pack(numbers.T, layout.bits).T,
        "qzeros": pack(zeros - offset, layout.bits),
        "scales": scales,
        "g_idx": groups,
    }, np.ascontiguousarray(exact)


def pack(numbers: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """[n, k] small numbers to [n, k * bits / 32] int32s, the first in the lowest bits."""
    each = 32 // bits
    parts = numbers.reshape(len(numbers), -1, each).astype(np.uint32)
    shifted = parts << np.arange(0, 32, bits, dtype=np.uint32)
    return np.bitwise_or.reduce(shifted, axis=2).view(np.int32)
