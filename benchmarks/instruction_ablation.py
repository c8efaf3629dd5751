"""What instructions do to a model's vectors: the right one, one of another task, and none.

    python benchmarks/instruction_ablation.py MODEL DEV

DEV is the folder that recipes/default/dev.py writes. Queries are embedded with each instruction,
passages once and with none, as stores embed them. "Another wording" says the same in words that
the recipe has not. banking77's texts, of which `TEXTS` are taken, all have the instruction.
"""

import argparse
import sys
from pathlib import Path

from remembering import Remembering

from gritlite import GritLM
from gritlite.errors import GritLiteError
from gritlite.eval.classification import Classification
from gritlite.eval.encoder import Encoder, GritEncoder
from gritlite.eval.retrieval import Retrieval
from gritlite.eval.task import Task

TEXTS = 300
NONE = ("none", "")
OTHERS = ("another task's", "Find the command line for what the user wants to do")
INSTRUCTIONS = {
    "readings.json": (
        NONE,
        ("right", "Retrieve the passage that answers the question"),
        ("another wording", "Look for the paragraph in which the answer is given"),
        OTHERS,
    ),
    "papers.json": (
        NONE,
        ("right", "Given a title or a summary, retrieve the abstract of the paper"),
        ("another wording", "Look for the article that this is about"),
        OTHERS,
    ),
    "banking77": (
        NONE,
        ("right", "Identify what the customer wants"),
        ("another wording", "Tell what this person has contacted the bank for"),
        OTHERS,
    ),
}


def main() -> None:
    """Parse the command line and print a row for each set and instruction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("sets", type=Path, metavar="DEV")
    options = parser.parse_args()
    try:
        with GritLM(options.model) as model:
            encoder = Remembering(GritEncoder(model))
            for name, instructions in INSTRUCTIONS.items():
                for kind, words in instructions:
                    score = task(options.sets / name, words).run(encoder, lambda *_: None)[0]
                    print(f"{name:14} {kind:16} {score.measure} {score.value:.4f}", flush=True)
    except GritLiteError as error:
        sys.exit(f"error: {error}")


def task(path: Path, instruction: str) -> Task[Encoder]:
    """The evaluation of a set with an instruction."""
    if path.is_dir():
        return Classification(path, instruction=instruction, limit=TEXTS)
    return Retrieval(path, instruction=instruction)


if __name__ == "__main__":
    main()
