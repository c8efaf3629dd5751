"""Which of a GGUF file's tensors hold numbers that are not finite.

Every tensor is read in pieces and dequantized. The module does not know what a tensor is for.
"""

from collections.abc import Mapping

import numpy as np
from gguf.constants import GGMLQuantizationType

from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.modelfile.tensor_data import read_into
from gritlite.quant.rows import dequantize_rows
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.reading import open_regular

_PIECE_BYTES = 16 << 20


def count_not_finite(file: GGUFFile, progress: ProgressCallback = no_progress) -> Mapping[str, int]:
    """Count NaN and infinite numbers by tensor, for the tensors that have any.

    `progress` counts bytes. Raises FileError if the file cannot be read, and FormatError
    for a type that cannot be dequantized.
    """
    total, done = sum(tensor.size for tensor in file.tensors), 0
    found: dict[str, int] = {}
    with open_regular(file.path) as opened:
        for tensor in file.tensors:
            rows = tensor.elements // tensor.shape[-1] if tensor.elements else 0
            size = tensor.size // rows if rows else 0
            step = max(1, _PIECE_BYTES // max(size, 1))
            for start in range(0, rows, step):
                stored = np.empty((min(step, rows - start), size), np.uint8)
                read_into(opened, tensor.offset + start * size, stored, tensor.name)
                if count := _count(stored, tensor):
                    found[tensor.name] = found.get(tensor.name, 0) + count
                done += stored.nbytes
                progress(done, total)
    return found


def _count(stored: np.ndarray, tensor: TensorInfo) -> int:
    with np.errstate(all="ignore"):  # infinity times zero, in a damaged block's scale
        values = dequantize_rows(stored, GGMLQuantizationType(tensor.type))
    return int(np.count_nonzero(~np.isfinite(values)))
