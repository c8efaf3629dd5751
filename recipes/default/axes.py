"""Write the axes by which an adapter's vectors are cut, where no run of `gritlite train` did.

    python recipes/default/axes.py --rows build/recipe --model FILE --adapter DIR

They come from the vectors of 1,650 texts of prepare.py's files, as MODEL, which is DIR's adapter
merged, makes them.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path

from gritlite import GritLM
from gritlite.errors import GritLiteError
from gritlite.system.textfiles import parse_json, read_lines
from gritlite.train.axes import principal_axes, write_axes

TEXTS = {("sentences", "query"): 1_200, ("questions", "pos"): 300, ("papers", "pos"): 150}


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True, help="the folder of prepare.py's files")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    options = parser.parse_args()
    try:
        with GritLM(options.model) as model:
            vectors = model.encode(read_texts(options.rows))
            axes = principal_axes(vectors, max(model.format.sizes))
        write_axes(options.adapter, axes)
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def read_texts(folder: Path) -> list[str]:
    """The first texts of each file."""
    found = []
    for (name, key), count in TEXTS.items():
        for place, line in islice(read_lines(folder / f"{name}.jsonl"), count):
            text = parse_json(line, place)[key]
            found.append(text if isinstance(text, str) else text[0])
    return found


if __name__ == "__main__":
    main()
