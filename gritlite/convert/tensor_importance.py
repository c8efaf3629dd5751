"""Match an importance matrix with the tensors of the model being converted."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.source import SourceTensor
from gritlite.errors import FormatError
from gritlite.modelfile.header_writer import MetadataValue
from gritlite.quant.imatrix import Imatrix, check_layers, errors_name_file, importance_by_matrix
from gritlite.quant.type_selection import SelectedType
from gritlite.quant.types import block_size, needs_imatrix

# calibration collects nothing for these: token embeddings are looked up, not multiplied
_NOT_CALIBRATED = ("token_embd.weight", "output.weight")


class TensorImportance:
    """The importance of each tensor's columns; empty without a matrix.

    `missing` names the quantized tensors that the matrix lacks. Raises FormatError if
    the matrix belongs to another model, or lacks a tensor whose type needs it.
    """

    def __init__(
        self,
        path: Path | None,
        imatrix: Imatrix | None,
        tensors: Sequence[SourceTensor],
        choices: Mapping[str, SelectedType],
    ) -> None:
        self._path = path
        self._imatrix = imatrix
        self._importances: dict[str, NDArray[np.float32]] = {}
        if imatrix:
            with errors_name_file(path):
                check_layers(imatrix, [tensor.name for tensor in tensors])
        missing = []
        for tensor in tensors if imatrix else ():
            type = choices[tensor.name].type
            if self._add(tensor) or block_size(type) == 1 or tensor.name in _NOT_CALIBRATED:
                continue
            missing.append(tensor.name)
            if needs_imatrix(type):
                raise FormatError(
                    f"{path} lacks {tensor.name}, which {type.name} needs: "
                    "calibrate with more texts, or choose a larger type"
                )
        self.missing = tuple(missing)

    def _add(self, tensor: SourceTensor) -> bool:
        """Add the tensor's importance [matrices, columns]; return False if the matrix lacks it."""
        assert self._imatrix is not None
        if tensor.name not in self._imatrix.tensors:
            return False
        importance = self._imatrix.tensors[tensor.name].importance
        matrices = tensor.rows // tensor.matrix_rows
        with errors_name_file(self._path):
            found = importance_by_matrix(importance, tensor.name, matrices, tensor.shape[-1])
        self._importances[tensor.name] = found
        return True

    def of(self, tensor: SourceTensor, row: int) -> NDArray[np.float32] | None:
        """Return the importance of the columns of the matrix that contains `row`, float32 [k]."""
        found = self._importances.get(tensor.name)
        return None if found is None else found[row // tensor.matrix_rows]

    @property
    def metadata(self) -> Mapping[str, MetadataValue]:
        """The metadata keys that llama.cpp's llama-quantize adds to its output."""
        if self._imatrix is None or self._path is None:
            return {}
        keys: dict[str, MetadataValue] = {
            "quantize.imatrix.file": self._path.name,
            "quantize.imatrix.entries_count": len(self._imatrix.tensors),
        }
        if self._imatrix.datasets:
            keys["quantize.imatrix.dataset"] = self._imatrix.datasets[0]
        if self._imatrix.chunks:
            keys["quantize.imatrix.chunks_count"] = self._imatrix.chunks
        return keys
