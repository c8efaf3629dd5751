"""Write the projection of an adapter's vectors, where no run of `gritlite train` did.

    python recipes/default/projection.py --rows ROWS --model FILE --adapter DIR --whitening 0.5

It is found from the vectors of 3,960 texts of prepare.py's files in ROWS, as FILE, which is DIR's
adapter merged, makes them: single sentences, and pairs of ten other files, without instructions.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path

from instructions import plain

from gritlite import GritLM
from gritlite.errors import GritLiteError
from gritlite.system.textfiles import parse_json, read_lines
from gritlite.train.projection import find_projection, write_projection

ROWS = {
    "sentences": 1_000,
    "similar": 400,
    "intents": 180,
    "paraphrase": 80,
    "questions": 220,
    "qa_passages": 140,
    "titles": 210,
    "described": 100,
    "papers": 80,
    "health": 50,
    "commands": 20,
}


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True, help="the folder of prepare.py's files")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--whitening", type=float, required=True, help="0 to 1")
    options = parser.parse_args()
    try:
        texts = read_texts(options.rows)
        with GritLM(options.model, engine="llama") as model:
            if model.format.projection is not None:
                sys.exit(f"error: {options.model} has a projection: merge the adapter without")
            vectors = model.encode(texts)
        write_projection(options.adapter, find_projection(vectors, options.whitening))
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def read_texts(folder: Path) -> list[str]:
    """The query and the first passage, if there is one, of each file's first rows."""
    found = []
    for name, count in ROWS.items():
        for place, line in islice(read_lines(folder / f"{name}.jsonl"), count):
            row = parse_json(line, place)
            found += [plain(text) for text in (row["query"], *row.get("pos", [])[:1])]
    return found


if __name__ == "__main__":
    main()
