"""Add hard negatives to rows: passages that are near to a query and do not belong to it.

    python recipes/default/negatives.py --rows build/recipe --teacher build/teacher
    python recipes/default/negatives.py --rows build/recipe --model build/half.gguf

Writes questions_hard.jsonl from questions.jsonl, and so on. A teacher, or the model that is being
trained, ranks all passages of a file for each query. The first ones are left out, and so are those
nearly as near as the query's own: these often answer it as well.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from instructions import plain
from numpy.typing import NDArray

from gritlite.errors import GritLiteError
from gritlite.system.files import atomic_write
from gritlite.system.textfiles import parse_json, read_lines

Row = dict[str, Any]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

FILES = ("questions", "described", "papers", "health")
RANKS = range(4, 40)  # of nearness, from 0, that negatives are drawn from
NEGATIVES = 2
NEARLY = 0.95  # of the nearness of the query's own passage, from which on another may answer too
SEED = 3
_BLOCK = 512  # queries whose similarities with all passages are held at once


def main() -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True, help="the folder of prepare.py's files")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--teacher", type=Path, help="folder of a sentence encoder")
    chosen.add_argument("--model", type=Path, help="GGUF file of the model in training")
    parser.add_argument(
        "--vectors",
        type=Path,
        default=Path("build/vectors"),
        help="folder of teachers' vectors, which the recipe names as well",
    )
    options = parser.parse_args()
    try:
        embed = (
            by_teacher(options.teacher, options.vectors)
            if options.teacher
            else by_model(options.model)
        )
        for name in FILES:
            path = options.rows / f"{name}.jsonl"
            rows = [parse_json(line, place) for place, line in read_lines(path)]
            with atomic_write(options.rows / f"{name}_hard.jsonl", force=True) as file:
                for row in with_negatives(rows, embed):
                    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def by_teacher(folder: Path, kept: Path) -> Embed:
    """What a sentence encoder makes of texts, kept for the training in the folder `kept`."""
    from gritlite.train.model import best_device
    from gritlite.train.recipe import TeacherShare
    from gritlite.train.teachers import Teachers

    teacher = Teachers([TeacherShare(str(folder.resolve()))], Path(), kept, best_device())

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        for done, total in teacher.prepare(texts):
            print(f"\r{done:,} of {total:,} vectors", end="", file=sys.stderr)
        return teacher.vectors(texts)

    return embed


def by_model(path: Path) -> Embed:
    """What the model itself makes of texts, without instructions."""
    from gritlite import GritLM

    model = GritLM(path)
    return lambda texts: model.encode(list(texts))


def with_negatives(rows: Sequence[Row], embed: Embed) -> Iterator[Row]:
    """The rows, each with up to `NEGATIVES` texts of other rows under "neg"."""
    passages = list(dict.fromkeys(text for row in rows for text in row["pos"]))
    places = {text: place for place, text in enumerate(passages)}
    queries = embed([plain(row["query"]) for row in rows])
    vectors = embed(passages)
    draw = random.Random(SEED)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        for row, scores in zip(rows[block], queries[block] @ vectors.T, strict=True):
            own = [places[text] for text in row["pos"]]
            nearest = np.argsort(-scores, kind="stable")[RANKS.start : RANKS.stop]
            most = NEARLY * scores[own].max()
            found = [passages[place] for place in nearest if scores[place] < most]
            yield row | {"neg": draw.sample(found, min(NEGATIVES, len(found)))}


if __name__ == "__main__":
    main()
