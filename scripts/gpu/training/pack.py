"""Pack a recipe in parts that travel to another machine.

They hold token ids, teacher vectors, the base, and the adapter that the run begins from.

    scripts/gpu/pack recipes/default/gpu.toml --steps 150 -o build/gpu/train

Teacher vectors are what takes room and time. Of the sources that are distilled, only the rows are
packed that the recipe's steps can come to, or the first --steps of them: later steps then come to
the same rows again. Other sources are packed whole.
OUTPUT/1, OUTPUT/2 and so on hold one part each, none larger than what a call to the device
machine carries beside the working tree. Needs the extra `train`, and the rows and the teacher that
recipes/default/run.sh makes.
"""

import argparse
import dataclasses
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import distribution
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.adapter import PROJECTION, WEIGHTS
from gritlite.convert.lora_config import CONFIG
from gritlite.errors import FileError, GritLiteError
from gritlite.train.examples import Examples, TokenizedPair
from gritlite.train.packed import distinct_texts, pack_pairs, pack_samples, write_packed
from gritlite.train.recipe import Recipe, Source
from gritlite.train.tokens import GenerateTokens
from training.parts import archive, cut

CALL_BYTES = 64 << 20  # of a call to the device machine, the working tree included
SPARE_BYTES = 2 << 20  # for what an archive of the tree has around its files
START = "start"  # the folder of the adapter that a run begins from

Teach = Callable[[Sequence[str]], NDArray[np.float32]]


def main() -> None:
    """Parse the command line, pack, say what travels."""
    from gritlite.train.run import vectors_folder

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the parts")
    parser.add_argument("--steps", type=int, help="distil the rows of so many steps")
    options = parser.parse_args()
    try:
        recipe = Recipe.read(options.recipe)
        steps = options.steps or recipe.steps
        size = part_bytes(tree_bytes())
        folder, output = options.recipe.parent, options.output
        kept = vectors_folder(recipe, folder, output)
        teach = teacher(recipe, folder, kept)
        for part in pack(recipe, folder, output, size, teach, steps, kept):
            print(f"{part}: {part.stat().st_size:,} bytes")
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def pack(
    recipe: Recipe,
    folder: Path,
    output: Path,
    size: int,
    teach: Teach | None,
    steps: int,
    kept: Path | None = None,
) -> list[Path]:
    """Write a recipe whose paths are relative to `folder` as parts of `size` bytes in `output`.

    `teach` makes the teachers' vectors [n, d] of texts; what is distilled are the rows of the
    first `steps` steps. The rows' tokens are in the folder `kept`, or go there.
    """
    from gritlite.train.run import find_base
    from gritlite.train.sources import read_sources

    base = find_base(recipe, folder)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as name:
        packed, whole = Path(name) / "pack", Path(name) / "pack.tar.gz"
        packed.mkdir()
        sources = [
            write(examples, needed(recipe, examples.source, steps), packed, teach)
            for examples in read_sources(recipe, base, folder, kept)
        ]
        place_base(base, packed / Path(recipe.base).name)
        place_gguf(packed / "site")
        start = recipe.adapter.start
        if start is not None:
            place_start(folder / start, packed / START)
        written = dataclasses.replace(
            recipe,
            base=Path(recipe.base).name,
            adapter=dataclasses.replace(recipe.adapter, start=None if start is None else START),
            source=tuple(sources),
            embed=dataclasses.replace(recipe.embed, teacher=(), vectors=None),
        )
        (packed / "recipe.toml").write_text(written.to_toml(), encoding="utf-8")
        archive(packed, whole)
        return cut(whole, output, "pack", size, apart=True)


def needed(recipe: Recipe, source: Source, steps: int) -> int | None:
    """The most rows of a source that so many steps can come to; None if no teacher is needed."""
    if not source.taught:
        return None
    shares = [other.share for other in recipe.source if other.embeds]
    return math.ceil(steps * source.share / sum(shares) + 1) * source.batch


def write(examples: Examples, rows: int | None, packed: Path, teach: Teach | None) -> Source:
    """Write a source's first rows; returns the source as the packed recipe names it."""
    source = examples.source
    name = f"{Path(source.file).stem}.npz"
    started = time.perf_counter()
    taken = list(islice(examples.rows, rows))
    pairs = [row for row in taken if isinstance(row, TokenizedPair)]
    samples = [row for row in taken if isinstance(row, GenerateTokens)]
    if pairs:
        words = [str(taught) for _, taught in distinct_texts(pairs)]
        arrays = pack_pairs(pairs, teach(words) if teach and source.taught else None)
    else:
        arrays = pack_samples(samples)
    write_packed(packed / name, arrays)
    print(
        f"{name}: {len(pairs or samples):,} of {len(examples.rows):,} rows, "
        f"{len(arrays['lengths']):,} sequences, {len(arrays['ids']):,} tokens, "
        f"{time.perf_counter() - started:.0f} s",
        file=sys.stderr,
    )
    return dataclasses.replace(source, file=name)


def teacher(recipe: Recipe, folder: Path, kept: Path) -> Teach | None:
    """The recipe's teachers, whose vectors are made with a bar where `kept` does not have them."""
    from gritlite.cli.shared.progress import progress_callback
    from gritlite.train.model import best_device
    from gritlite.train.teachers import Teachers

    if not recipe.embed.teacher:
        return None
    teachers = Teachers(recipe.embed.teacher, folder, kept, best_device())

    def teach(texts: Sequence[str]) -> NDArray[np.float32]:
        with progress_callback("teaching", unit="vector") as advance:
            for done, total in teachers.prepare(texts):
                advance(done, total)
        return teachers.vectors(texts)

    return teach


def place_base(base: Path, target: Path) -> None:
    """Copy a base, a file or a folder, as it is: adapters are for exactly these weights."""
    if base.is_dir():
        shutil.copytree(base, target)
    else:
        shutil.copyfile(base, target)


def place_start(adapter: Path, target: Path) -> None:
    """Copy what a run reads of the adapter that it begins from."""
    target.mkdir()
    for name in (CONFIG, WEIGHTS, PROJECTION):
        if (adapter / name).exists():
            shutil.copyfile(adapter / name, target / name)


def place_gguf(site: Path) -> None:
    """Copy the package that reads GGUF files, which such machines do not have."""
    files = distribution("gguf").files or []
    for file in files:
        if not file.is_absolute() and file.parts[0].startswith("gguf") and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)


def tree_bytes() -> int:
    """What of the working tree travels with every call: tracked files, and new ones not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout.decode()
    paths = [Path(name) for name in listed.split("\0") if name]
    return sum(path.stat().st_size for path in paths if path.is_file())


def part_bytes(tree: int) -> int:
    """How large a part may be. Raises FileError where the tree leaves no room."""
    left = CALL_BYTES - SPARE_BYTES - tree
    if left < 1 << 20:
        raise FileError(
            f"the working tree has {tree:,} bytes and leaves no room for parts in a call of "
            f"{CALL_BYTES:,}: remove what is neither tracked nor ignored"
        )
    return left


if __name__ == "__main__":
    main()
