"""The grammar check rejects exactly the grammars that llama.cpp rejects."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from gritlite.errors import UsageError
from gritlite.runtime.grammar import MAX_DEPTH, check_grammar
from gritlite.runtime.schema import from_json_schema

GOOD = (
    'root ::= "a"',
    'root ::= "a" | "b" # a comment\r\n',
    "# a comment first\n\nroot ::= [a-z]+ other*\nother ::= [^a-z\\]-] | .\n",
    'root ::= (\n  "a" # inside\n  | "b"\n)? [0-9]{2,3} "x"{2} "y"{1,} "z"{ 0 , 4 }',
    'root ::= "\\x41\\u00e9\\U0001F600\\t\\r\\n\\\\\\"" [\\[\\]\\-]',
    'root ::=\n  "a" |\n  "b"',
    'root ::= | "a"',
    "root ::=",
    'root ::= ""',
    "root ::= <[5]> !<[6]>",
    "root ::= <|im_end|>",
    'root ::= "é😀" [à-ÿ]',
    "root ::= " + "(" * MAX_DEPTH + '"a"' + ")" * MAX_DEPTH,
    from_json_schema({"type": "object", "properties": {"a": {"type": "number"}}}),
)

# a damaged name of a token would have to be looked up in the vocabulary
DAMAGEABLE = [grammar for grammar in GOOD if "<" not in grammar and len(grammar) < 200]


@pytest.mark.parametrize("grammar", GOOD, ids=range(len(GOOD)))
def test_good_grammars(grammar: str) -> None:
    check_grammar(grammar)


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ('root ::= "a"\nx = "b"', r"line 2 is wrong at '= \"b\"': '::=' must follow"),
        ('root ::= x\n\ny ::= "a"', r"line 1 is wrong at 'x': there is no rule 'x'"),
        ('root ::= ("a"\n"b"\n', "not closed"),
        ('root ::= "a")', "not opened"),
        ('x ::= "a"', "no rule 'root'"),
        ('root ::= "a"{3,1}', "in the wrong order"),
        ('root ::= "a"{2001}', "more than 2000"),
        ("root ::= ('a')", "not closed, or this is not part"),
        ("root ::= 'a'", "not part of a rule"),
        ('root ::= | * "a"', "nothing to repeat before"),
        ("root ::= " + "(" * 201, "more than 200 parentheses"),
    ],
)
def test_bad_grammars(grammar: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_grammar(grammar)


PARSE = """
import ctypes, sys
from pathlib import Path
from gritlite.runtime.llama import Weights
from gritlite.runtime.llama.library import C
lines = sys.stdin.buffer.read().split(b"\\0")
path = Path(sys.argv[1])
with Weights(path, gpu_layers=0, vocab_only=True) as weights, weights.vocabulary() as vocabulary:
    for line in lines:
        sampler = C.llama_sampler_init_grammar(vocabulary, line, b"root")
        print(int(bool(sampler)), flush=True)
        if sampler: C.llama_sampler_free(sampler)
"""


def taken(grammars: list[str], path: Path) -> tuple[int, bytes]:
    """Return how many grammars llama.cpp accepts, and what it prints about the others."""
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(path)],
        input="\0".join(grammars).encode(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert len(done.stdout.split()) == len(grammars)
    return done.stdout.split().count(b"1"), done.stderr


def test_llama_cpp_agrees(tiny_path: Path) -> None:
    """On thousands of damaged grammars; only left recursion is left for llama.cpp to find."""
    dice = random.Random(0)
    fine, wrong = [], []
    for _ in range(6000):
        grammar = damaged(dice.choice(DAMAGEABLE), dice)
        (fine if passes(grammar) else wrong).append(grammar)
    assert min(len(fine), len(wrong)) > 1000
    count, printed = taken(fine, tiny_path)
    assert printed == b""
    assert count > 0.98 * len(fine)
    # an empty text is no constraint there and no grammar here
    count, printed = taken([grammar for grammar in wrong if grammar], tiny_path)
    assert count == 0


def passes(grammar: str) -> bool:
    try:
        check_grammar(grammar)
    except UsageError:
        return False
    return True


def damaged(grammar: str, dice: random.Random) -> str:
    """Delete, double or replace one to three characters."""
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(grammar) + 1)
        letter = dice.choice('"[](){}|*+?.#\\^- \n\rax0:=,>')
        keep = dice.choice((0, 1))
        grammar = grammar[:place] + dice.choice(("", letter)) + grammar[place + 1 - keep :]
    return grammar
