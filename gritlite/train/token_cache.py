"""The token ids of a source, kept for later runs: tokenizing takes minutes, mapping them none.

A folder holds the arrays of a packed source (`packed.py`) in NumPy's own files, which later runs
read by mmap. It is named after the rows, the tokenizer and its prompts, the objectives and
`max_tokens`: with others, there is another folder.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gritlite.errors import FileError, FormatError
from gritlite.system.files import atomic_folder, sha256
from gritlite.train.examples import Arrays, Examples, Taught
from gritlite.train.packed import unpacked
from gritlite.train.recipe import Source
from gritlite.train.tokens import Formatter

_VERSION = 2  # of what is made from a row, and of how it is kept


def cache_path(kept: Path, rows: Path, source: Source, formatter: Formatter) -> Path:
    """Where in the folder `kept` the tokens of a file of rows are."""
    said = [_VERSION, sha256(rows), formatter.digest, source.objectives, source.max_tokens]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    return kept / f"{rows.stem}-{digest[:16]}.tokens"


def write_tokens(path: Path, arrays: Arrays) -> None:
    """Keep a source's tokens. Raises FileError if they cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(path, force=True) as folder:
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)


def read_tokens(
    path: Path, source: Source, taught: Sequence[tuple[Taught, ...]]
) -> Examples | None:
    """Map a source whose rows have these targets; None if its tokens are not kept.

    Raises FileError if they cannot be read, FormatError if they were damaged.
    """
    if not path.exists():
        return None
    try:
        files = sorted(path.glob("*.npy"))
        arrays = {file.stem: np.load(file, "r", allow_pickle=False) for file in files}
        return unpacked(arrays, source, path, taught)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (FormatError, ValueError, EOFError) as error:
        raise FormatError(f"{error}: remove {path}, and it is made again") from error
