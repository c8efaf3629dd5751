"""Read the tensors of a Hugging Face checkpoint: one safetensors file, or shards.

The module does not know what a tensor is for.
"""

import contextlib
from collections.abc import Collection, Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.json_files import read_json_object, shown
from gritlite.convert.safetensors import FLOATS, TensorEntry, read_header
from gritlite.errors import FileError, FormatError
from gritlite.modelfile.tensor_data import read_into
from gritlite.system.reading import open_regular

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
STORAGE: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
}


class Checkpoint:
    """The tensors of a folder or of one safetensors file.

    `dtypes` are those it may have; `absent` names those that the index lists and no file
    has, with the file that should. A context manager, because it keeps files open. Only one
    thread may read at a time.

    Raises FileError if the folder has no safetensors, FormatError if a file is damaged
    or if a shard is missing or a tensor appears twice.
    """

    quantized: frozenset[str] = frozenset()  # all tensors are floats

    def __init__(self, path: Path, dtypes: Collection[str] = FLOATS) -> None:
        self.path = path
        self.tensors: Mapping[str, TensorEntry]
        self.absent: Mapping[str, Path]
        self.tensors, self.absent = _find_tensors(path, dtypes)
        self._files: dict[Path, FileIO] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def read_rows(self, name: str, first: int, count: int) -> NDArray[np.float32]:
        """Read rows `first` to `first + count` as float32 [count, row length], exactly.

        A one-dimensional tensor is one row. Raises FileError if the file cannot be read,
        FormatError if it ends too early.
        """
        entry = self.tensors[name]
        length = entry.shape[-1]
        stored = np.empty((count, length), STORAGE[entry.dtype])
        start = entry.start + first * length * stored.itemsize
        read_into(self._open(entry.path), start, stored, name)
        return _widen(stored)

    def read(self, name: str) -> NDArray[Any]:
        """Read a whole tensor as it is stored. Raises what `read_rows` raises."""
        entry = self.tensors[name]
        stored = np.empty(entry.shape, STORAGE[entry.dtype])
        read_into(self._open(entry.path), entry.start, stored, name)
        return stored

    def _open(self, path: Path) -> FileIO:
        if path not in self._files:
            self._files[path] = self._stack.enter_context(open_regular(path))
        return self._files[path]


def _widen(stored: NDArray[Any]) -> NDArray[np.float32]:
    if stored.dtype == STORAGE["BF16"]:
        # bfloat16 is the upper half of a float32
        wide = stored.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return stored.astype(np.float32, copy=False)


def _find_tensors(
    folder: Path, dtypes: Collection[str]
) -> tuple[dict[str, TensorEntry], dict[str, Path]]:
    """Return the tensors by name, and where the index lists others in vain."""
    if folder.is_file():
        return read_header(folder, dtypes), {}
    # the order in which transformers looks for them
    if (folder / SINGLE).exists():
        return read_header(folder / SINGLE, dtypes), {}
    if (folder / INDEX).exists():
        return _read_shards(folder, dtypes)
    if any(folder.glob("pytorch_model*.bin")):
        raise FileError(
            f"{folder} has PyTorch .bin files: load the model with transformers and "
            "save_pretrained() it as safetensors"
        )
    raise FileError(f"{folder} has neither {SINGLE} nor {INDEX}: name a checkpoint folder")


def _read_shards(
    folder: Path, dtypes: Collection[str]
) -> tuple[dict[str, TensorEntry], dict[str, Path]]:
    """Read all files that the index names. As in transformers, they count, not what it lists."""
    index = folder / INDEX
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(map(_is_file_name, weight_map.values())):
        raise FormatError(f"{index} has no weight_map from tensors to files in the same folder")
    found: dict[str, TensorEntry] = {}
    for shard in sorted(set(weight_map.values())):
        if not (folder / shard).exists():
            raise FormatError(f"{folder / shard} is missing, which {index} names: download it")
        for name, entry in read_header(folder / shard, dtypes).items():
            if name in found:
                raise FormatError(
                    f"tensor {shown(name)} is in both {found[name].path} and {entry.path}"
                )
            found[name] = entry
    absent = {name: folder / weight_map[name] for name in weight_map if name not in found}
    return found, absent


def _is_file_name(name: Any) -> bool:
    return (
        isinstance(name, str)
        and name.isprintable()
        and name not in ("", ".", "..")
        and not set(name) & set("/\\:")
        and len(name.encode()) <= 255
    )
