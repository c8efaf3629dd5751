"""Let a model answer questions on passages, to teach it the same answers from stored states.

    python recipes/default/answers.py --rows build/recipe --model build/half.gguf

Writes answered.jsonl: questions that people asked, whose answers are not part of the data, each
with the passage that is about it and what the model answers when it reads both in a prompt. An
answer that does not end within `MAX_TOKENS` is left out.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from instructions import plain
from material import Row

from gritlite import GritLM
from gritlite.errors import GritLiteError
from gritlite.eval.exact_match import ASKED
from gritlite.prompt import question_after
from gritlite.system.files import atomic_write
from gritlite.system.textfiles import parse_json, read_lines

FILES = ("qa_passages", "questions", "health")
LEAST_WORDS = 50  # of a passage
MAX_TOKENS = 64
AT_ONCE = 4
SEED = 3


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True, help="the folder of prepare.py's files")
    parser.add_argument("--model", required=True, help="a GGUF file, or a name that gritlite knows")
    parser.add_argument("--most", type=int, default=6_000, help="questions asked")
    options = parser.parse_args()
    try:
        asked = questions(options.rows)[: options.most]
        with (
            GritLM(options.model, parallel=AT_ONCE, engine="llama") as model,
            atomic_write(options.rows / "answered.jsonl", force=True) as file,
        ):
            for number, row in enumerate(answered(model, asked), 1):
                print(f"\r{number:,} of {len(asked):,} questions", end="", file=sys.stderr)
                if row:
                    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def questions(rows: Path) -> list[tuple[str, str]]:
    """Passages with questions about them, shuffled; half of these want a few words."""
    found: dict[tuple[str, str], None] = {}
    for name in FILES:
        for place, line in read_lines(rows / f"{name}.jsonl"):
            row = parse_json(line, place)
            question, passage = plain(row["query"]), plain(row["pos"][0])
            if len(passage.split()) >= LEAST_WORDS:
                found[passage, question] = None
    draw = random.Random(SEED)
    wordings = ("{question}", ASKED)
    every = [
        (passage, draw.choice(wordings).replace("{question}", question))
        for passage, question in found
    ]
    draw.shuffle(every)
    return every


def answered(model: GritLM, asked: list[tuple[str, str]]) -> Iterator[Row | None]:
    """Each question's row, in their order; None where the answer does not end."""

    def answer(each: tuple[str, str]) -> Row | None:
        passage, question = each
        said = model.chat(
            [{"role": "user", "content": question_after([passage], question)}],
            stream=True,
            temperature=0,
            max_tokens=MAX_TOKENS,
        )
        text = "".join(said).strip()
        ended = said.finish_reason == "stop" and text
        return {"document": passage, "query": question, "answer": text} if ended else None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(answer, asked)


if __name__ == "__main__":
    main()
