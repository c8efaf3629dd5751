"""The token ids of a source, kept for later runs: tokenizing takes minutes, reading seconds.

A file holds the arrays of a packed source (`packed.py`), and how many rows were left out. It is
named after the rows, the tokenizer and its prompts, the objectives and `max_tokens`: with others,
there is another file.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gritlite.errors import FormatError
from gritlite.system.files import sha256
from gritlite.train.examples import Examples, TokenizedPair
from gritlite.train.packed import pack_pairs, pack_samples, unpacked, write_packed
from gritlite.train.recipe import Source
from gritlite.train.rows import PairRow, Row
from gritlite.train.tokens import Formatter, GenerateTokens

_VERSION = 1  # of what is made from a row
_LEFT_OUT = "left_out"


def cache_path(kept: Path, rows: Path, source: Source, formatter: Formatter) -> Path:
    """Where in the folder `kept` the tokens of a file of rows are."""
    said = [_VERSION, sha256(rows), formatter.digest, source.objectives, source.max_tokens]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    return kept / f"{rows.stem}-{digest[:16]}.tokens"


def write_tokens(path: Path, examples: Examples) -> None:
    """Keep a source's tokens. Raises FileError if they cannot be written."""
    pairs = [row for row in examples.rows if isinstance(row, TokenizedPair)]
    samples = [row for row in examples.rows if isinstance(row, GenerateTokens)]
    arrays = pack_pairs(pairs, None) if pairs else pack_samples(samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_packed(path, arrays | {_LEFT_OUT: np.array(examples.left_out)})


def read_tokens(path: Path, source: Source, rows: Sequence[Row]) -> Examples | None:
    """Return the source whose rows these are, None if its tokens are not kept.

    Raises FileError if they cannot be read, FormatError if they were damaged.
    """
    if not path.exists():
        return None
    try:
        examples, arrays = unpacked(path, source)
    except FormatError as error:
        raise FormatError(f"{error}: remove the file, and it is made again") from error
    left_out = int(arrays[_LEFT_OUT])
    pairs = [row for row in examples.rows if isinstance(row, TokenizedPair)]
    if not pairs:
        return replace(examples, left_out=left_out)
    texts = [row for row in rows if isinstance(row, PairRow)]
    taught = tuple(replace(pair, taught=row.taught) for pair, row in zip(pairs, texts, strict=True))
    return replace(examples, rows=taught, left_out=left_out)
