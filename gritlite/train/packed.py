"""Packed sources: rows of token ids and teacher vectors that were computed elsewhere.

A machine that trains from them needs no tokenizer, no teacher and no texts. One
compressed NumPy file holds a source:

    ids, lengths              all sequences one after another; the tokens of each
  of pairs
    starts                    of each text, where its mean begins
    sizes, members            of each row, how many texts it has; their numbers
    positives, scores         of each row; a score is NaN where there is none
    vectors                   int8 [texts, d], each scaled to a largest of LEVELS; may be missing
  of samples
    learned                   a bit for each token
    sizes, documents          of each row, how many documents it begins with; tokens of each
    prompt_ids, prompt_lengths   of each row, what its answer follows in a prompt
  of either, where tokens are kept for later runs
    left_out                  how many rows were too long

A text that stands in several rows is kept once. The module knows nothing of torch.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import FileError, FormatError
from gritlite.system.files import atomic_write
from gritlite.system.reading import open_regular
from gritlite.train.examples import (
    Arrays,
    Examples,
    PackedPairs,
    PackedSamples,
    Taught,
    TokenizedPair,
)
from gritlite.train.recipe import Source
from gritlite.train.tokens import EmbedTokens, GenerateTokens

# all-MiniLM-L6-v2's similarities move by 0.004 (root mean square) for it, and 232 bytes a text are
# left when packed; at 127 it is 0.001 and 317 bytes, at 15 0.008 and 183
LEVELS = 31


def write_packed(path: Path, arrays: Arrays) -> None:
    """Write the arrays of `pack_pairs` or `pack_samples`; equal arrays give equal bytes."""
    with atomic_write(path, force=True) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_packed(path: Path, source: Source) -> Examples:
    """Read a packed source.

    Raises FileError if it cannot be read, FormatError if it is not a packed source
    or does not suit the objectives.
    """
    try:
        with open_regular(path) as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is not a packed source: {error}") from error
    examples = unpacked(arrays, source, path)
    if source.taught and "vectors" not in arrays:
        raise FormatError(f"{path}: a teacher's vectors are needed, and none are packed")
    return examples


def unpacked(
    arrays: Arrays,
    source: Source,
    path: Path,
    taught: Sequence[tuple[Taught, ...]] | None = None,
) -> Examples:
    """Return the source that arrays of `path` hold, which may lack a teacher's vectors.

    `taught` are then the targets of each row's texts. Raises FormatError for what is no packed
    source, or does not suit the objectives.
    """
    try:
        _check_objectives(arrays, source)
        rows = PackedPairs(arrays, taught) if source.embeds else PackedSamples(arrays)
        return Examples(source, rows, int(arrays.get("left_out", 0)))
    except KeyError as error:
        raise FormatError(f"{path} holds no {error} and is not a packed source") from error
    except (FormatError, ValueError, IndexError) as error:
        raise FormatError(f"{path}: {error}") from error


def pack_pairs(pairs: Sequence[TokenizedPair], vectors: NDArray[np.float32] | None) -> Arrays:
    """Pack an embedding source into arrays; `vectors` [texts, d] are of `distinct_texts`."""
    texts = [text for text, _ in distinct_texts(pairs)]
    numbers = {text: number for number, text in enumerate(texts)}
    arrays = {
        **_sequences([text.ids for text in texts]),
        "starts": np.array([text.start for text in texts], np.uint32),
        "sizes": np.array([len(pair.texts) for pair in pairs], np.uint32),
        "members": np.array([numbers[t] for pair in pairs for t in pair.texts], np.uint32),
        "positives": np.array([pair.positives for pair in pairs], np.uint32),
        "scores": np.array([np.nan if p.score is None else p.score for p in pairs], np.float64),
    }
    return arrays if vectors is None else arrays | {"vectors": to_int8(vectors)}


def distinct_texts(pairs: Sequence[TokenizedPair]) -> list[tuple[EmbedTokens, Any]]:
    """Return each distinct text in order of appearance, with its teacher target."""
    found: dict[EmbedTokens, Any] = {}
    for pair in pairs:
        for text, taught in zip(pair.texts, pair.taught, strict=True):
            found.setdefault(text, taught)
    return list(found.items())


def pack_samples(samples: Sequence[GenerateTokens]) -> Arrays:
    """Pack a generative source into arrays."""
    return {
        **_sequences([sample.ids for sample in samples]),
        **_sequences([sample.prompt for sample in samples], "prompt_"),
        "learned": np.packbits(np.array([bit for s in samples for bit in s.loss], bool)),
        "sizes": np.array([len(sample.documents) for sample in samples], np.uint32),
        "documents": np.array([n for sample in samples for n in sample.documents], np.uint32),
    }


def to_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Scale each of the vectors [n, d] to a largest value of LEVELS, and round.

    Only directions remain; a teacher's similarities need no more.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    rounded: NDArray[np.int8] = np.rint(vectors * (LEVELS / largest)).astype(np.int8)
    return rounded


def _sequences(sequences: Sequence[Sequence[int]], prefix: str = "") -> Arrays:
    ids = np.array([token for sequence in sequences for token in sequence], np.uint32)
    narrow = np.uint16 if not len(ids) or ids.max() < 1 << 16 else np.uint32
    lengths = np.array([len(sequence) for sequence in sequences], np.uint32)
    return {f"{prefix}ids": ids.astype(narrow), f"{prefix}lengths": lengths}


def _check_objectives(arrays: Arrays, source: Source) -> None:
    """Raise FormatError for a source of the other task, or without the objectives' targets."""
    if not len(arrays["lengths"]):
        raise FormatError("holds no rows")
    if source.embeds == ("learned" in arrays):
        raise FormatError(f"its rows do not suit the objectives {', '.join(source.objectives)}")
    if "contrastive" in source.objectives and not arrays["positives"].all():
        raise FormatError('"contrastive" needs a positive in every row')
    if "ranking" in source.objectives and np.isnan(arrays["scores"]).any():
        raise FormatError('"ranking" needs a score in every row')
