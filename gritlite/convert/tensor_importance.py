"""An importance matrix laid beside the tensors of the model that is converted."""

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

# no matrix is gathered for these: the first is only looked up, the other weighed by few
_NEVER_WEIGHED = ("token_embd.weight", "output.weight")


class TensorImportance:
    """What each column of each tensor matters; nothing without a matrix.

    `missing` names tensors that are quantized without, because the matrix does
    not have them. Raises FormatError when the matrix is of another model, or
    lacks a tensor that cannot do without.
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
            if self._take(tensor) or block_size(type) == 1 or tensor.name in _NEVER_WEIGHED:
                continue
            missing.append(tensor.name)
            if needs_imatrix(type):
                raise FormatError(
                    f"{path} has nothing on {tensor.name}, which cannot be {type.name} without: "
                    "calibrate with more texts, or choose a larger type"
                )
        self.missing = tuple(missing)

    def _take(self, tensor: SourceTensor) -> bool:
        """Take the tensor's importance [matrices, columns] from the matrix if it is there."""
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
        """The importance of the columns of the matrix that `row` is in, float32 [k]."""
        found = self._importances.get(tensor.name)
        return None if found is None else found[row // tensor.matrix_rows]

    @property
    def metadata(self) -> Mapping[str, MetadataValue]:
        """The keys that llama.cpp's llama-quantize leaves in the file that it writes."""
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
