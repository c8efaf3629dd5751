"""What it costs to cut vectors: the embedding tasks of `gritlite eval` at each size of a model.

    python benchmarks/dimensions.py MODEL --sts sts-test.tsv --retrieval xquad.en.json ...

Each text is embedded once, and its vector cut as `encode(dimensions=)` cuts it.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from remembering import Remembering

from gritlite import GritLM
from gritlite.errors import GritLiteError
from gritlite.eval.classification import Classification
from gritlite.eval.encoder import Encoder, GritEncoder
from gritlite.eval.retrieval import Retrieval
from gritlite.eval.sts import STS
from gritlite.eval.task import Task
from gritlite.runtime.cutting import cut


def main() -> None:
    """Parse the command line and print a line for each set and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    for name in ("--sts", "--retrieval", "--classification"):
        parser.add_argument(name, type=Path, action="append", default=[])
    options = parser.parse_args()
    tasks: list[Task[Encoder]] = [
        *map(STS, options.sts),
        *map(Retrieval, options.retrieval),
        *map(Classification, options.classification),
    ]
    try:
        with GritLM(options.model, engine="llama") as model:
            for task in tasks:
                measure(task, model)
    except GritLiteError as error:
        sys.exit(f"error: {error}")


def measure(task: Task[Encoder], model: GritLM) -> None:
    """Print the task's first measure of whole vectors, and of cut ones the part of it."""
    encoder = Remembering(GritEncoder(model, truncate=True))
    whole = task.run(encoder, lambda *_: None)[0]
    print(f"{task.name}: {whole.measure} {whole.value:.4f}", flush=True)
    for size in sorted(model.format.sizes, reverse=True):
        encoder.finish = partial(cut, size=size)
        value = task.run(encoder, lambda *_: None)[0].value
        print(f"  {size:4} {value:.4f} {value / whole.value:.1%}", flush=True)


if __name__ == "__main__":
    main()
