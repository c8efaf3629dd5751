"""Group texts by similarity, so that a distillation batch has similarities of every size.

    python recipes/default/neighbours.py --rows build/recipe --teacher build/teacher

Two random texts have almost nothing in common, so a batch of them teaches little. Here each text
is grouped with less and less similar ones: its nearest by the teacher, and its 4th, 16th, 64th
and 256th nearest. Reads sts.jsonl and sentences.jsonl and writes neighbours.jsonl:
{"query": a text, "pos": [its group]}. Needs the extra `train`.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import GritLiteError
from gritlite.system.files import atomic_write
from gritlite.train.rows import PairRow, read_rows

RANKS = (1, 4, 16, 64, 256)
TEXTS = 24_000  # that are looked among
GROUPS = 6_000
SEED = 3
_BLOCK = 512  # texts whose similarities with all others are held at once


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True, help="the folder of prepare.py's files")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of a sentence encoder")
    options = parser.parse_args()
    from gritlite.train.model import best_device
    from gritlite.train.teacher import Teacher

    try:
        texts = read_texts(options.rows)
        vectors = Teacher(options.teacher, best_device()).vectors(texts).cpu().numpy()
        with atomic_write(options.rows / "neighbours.jsonl", force=True) as file:
            for text, others in grouped(texts, vectors):
                row = {"query": text, "pos": others}
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def read_texts(folder: Path) -> list[str]:
    """The different texts of the pairs, and of single texts as many as there is room for."""
    texts: dict[str, None] = {}
    for name in ("sts", "sentences"):
        for row in read_rows(folder / f"{name}.jsonl"):
            if isinstance(row, PairRow):
                texts |= dict.fromkeys(text.text for text in (row.query, *row.positives))
            if len(texts) >= TEXTS:
                return list(texts)
    return list(texts)


def grouped(texts: list[str], vectors: NDArray[np.float32]) -> Iterator[tuple[str, list[str]]]:
    """Texts drawn at random, each with others at `RANKS` of nearness to it."""
    drawn = random.Random(SEED).sample(range(len(texts)), min(GROUPS, len(texts)))
    ranks = [rank for rank in RANKS if rank < len(texts)]
    for start in range(0, len(drawn), _BLOCK):
        block = drawn[start : start + _BLOCK]
        nearest = np.argsort(-(vectors[block] @ vectors.T), axis=1, kind="stable")
        for text, order in zip(block, nearest, strict=True):
            others = order[order != text]
            yield texts[text], [texts[others[rank - 1]] for rank in ranks]


if __name__ == "__main__":
    main()
