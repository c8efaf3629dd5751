"""Read the sources of a recipe: texts, which are tokenized here, or packed rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gritlite.convert.pretrained import load_tokenizer
from gritlite.errors import FormatError
from gritlite.prompt import EmbedFormat
from gritlite.train.examples import Arrays, Examples, TokenizedPair
from gritlite.train.packed import pack_pairs, pack_samples, read_packed, unpacked
from gritlite.train.recipe import Recipe, Source
from gritlite.train.rows import ChatRow, DocumentRow, PairRow, Row, read_rows
from gritlite.train.token_cache import cache_path, read_tokens, write_tokens
from gritlite.train.tokens import Formatter, GenerateTokens


def read_sources(
    recipe: Recipe, base: Path, folder: Path, kept: Path | None = None
) -> list[Examples]:
    """Read every source of a recipe whose paths are relative to `folder`.

    The base's tokenizer is loaded only for sources that hold texts; their tokens are kept for
    later runs in the folder `kept`. Raises what loading it raises, FormatError, with the file's
    name, for rows that do not suit their objectives, and FileError where tokens cannot be kept.
    """
    holds_texts = any(not source.packed for source in recipe.source)
    formatter = Formatter(load_tokenizer(base), EmbedFormat()) if holds_texts else None
    return [
        read_packed(folder / source.file, source)
        if formatter is None or source.packed
        else read_texts(folder / source.file, source, formatter, kept)
        for source in recipe.source
    ]


def read_texts(
    path: Path, source: Source, formatter: Formatter, kept: Path | None = None
) -> Examples:
    """Read and tokenize a source. Raises FormatError for rows that do not suit its objectives."""
    rows = read_rows(path)
    taught = [row.taught for row in rows if isinstance(row, PairRow)]
    cached = None if kept is None else cache_path(kept, path, source, formatter)
    examples = None if cached is None else read_tokens(cached, source, taught)
    if examples is None:
        arrays = _packed(rows, path, source, formatter)
        if cached is not None:
            write_tokens(cached, arrays)
        examples = unpacked(arrays, source, path, taught)
    return examples


def _packed(rows: Sequence[Row], path: Path, source: Source, formatter: Formatter) -> Arrays:
    try:
        found = [_tokenized(row, source, formatter) for row in rows]
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    pairs = [row for row in found if isinstance(row, TokenizedPair)]
    samples = [row for row in found if isinstance(row, GenerateTokens)]
    if not pairs and not samples:
        raise FormatError(f"{path}: every row is longer than max_tokens = {source.max_tokens}")
    arrays = pack_pairs(pairs, None) if pairs else pack_samples(samples)
    return arrays | {"left_out": np.array(found.count(None))}


def _tokenized(
    row: Row, source: Source, formatter: Formatter
) -> TokenizedPair | GenerateTokens | None:
    if source.embeds and isinstance(row, PairRow):
        if "contrastive" in source.objectives and not row.positives:
            raise FormatError(f'"contrastive" needs a "pos": {row.query.text[:60]!r} has none')
        if "ranking" in source.objectives and row.score is None:
            raise FormatError(f'"ranking" needs a "score": {row.query.text[:60]!r} has none')
        return TokenizedPair(
            tuple(formatter.embed(text, source.max_tokens) for text in row.texts),
            len(row.positives),
            row.score,
            row.taught,
        )
    if source.objectives == ("generative",) and isinstance(row, ChatRow):
        return formatter.chat(row, source.max_tokens)
    if source.objectives == ("cached",) and isinstance(row, DocumentRow):
        return formatter.document(row, source.max_tokens)
    raise FormatError(f"its rows do not suit the objectives {', '.join(source.objectives)}")
