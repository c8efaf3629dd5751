"""Token embeddings, looked up in a GGUF file outside the graph.

The rows stay in the file, which is mapped, in the file's own type. The module does not know
layers.
"""

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import FileError
from gritlite.graph.tensors import Floats
from gritlite.modelfile.header import GGUFFile
from gritlite.quant.rows import dequantize_rows
from gritlite.quant.types import row_bytes

TABLE = "token_embd.weight"


class TokenEmbeddings:
    """The rows of a file's token embeddings. Raises FileError if the file cannot be read."""

    def __init__(self, file: GGUFFile) -> None:
        (info,) = (tensor for tensor in file.tensors if tensor.name == TABLE)
        self._type = GGMLQuantizationType(info.type)
        self.count, self.width = info.shape
        shape = (self.count, row_bytes(self._type, self.width))
        try:
            self._stored = np.memmap(file.path, np.uint8, "r", info.offset, shape)
        except OSError as error:
            raise FileError(f"cannot read {file.path}: {error.strerror}") from error

    def rows(self, tokens: NDArray[np.int32]) -> Floats:
        """Return the embeddings of token ids [n], float32 [n, width]."""
        distinct, places = np.unique(tokens, return_inverse=True)
        return dequantize_rows(self._stored[distinct], self._type)[places]
