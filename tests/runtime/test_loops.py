"""Loops are noticed, and legitimate repetition is not."""

import pytest

from gritlite.runtime.loops import loops

CODE = "".join(f"    registers[{n}] = read_register(bus, {n})\n" for n in range(16))
TABLE = "| 1 | 2 | 3 |\n|---|---|---|\n" + "".join(f"| {n} | {n * n} | 7 |\n" for n in range(40))
LIST = "".join(f"{n}. Item {word}\n" for n, word in enumerate("abcdefghijklmnopqrstuvwxyz" * 2))
PLAN = "".join(f"Day {n}: rest.\n" for n in range(1, 15))
REFRAIN = "Row, row, row your boat, gently down the stream.\n" * 3


@pytest.mark.parametrize(
    "text",
    [
        "Answer: " + "".join(f"Figure {n}: " for n in range(11, 60)),
        "It is red. " * 40,
        "The inn was founded in 1850 by Mary Smith, who was a widow, and it stands there.\n" * 9,
        "no" * 200,
        "首都は東京です。" * 50,
        "0" * 1_200,
    ],
)
def test_loops(text):
    assert loops(text)
    assert not loops(text[: len(text) // 8])
    assert not loops(text + " And then it went on to speak of other things, at some length.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        CODE,
        TABLE,
        LIST,
        PLAN,
        REFRAIN,
        "-" * 300,
        "[" + "0, " * 256,
        "ha" * 100,
        " " * 400,
    ],
)
def test_legitimate_repetition(text):
    assert not any(loops(text[:end]) for end in range(0, len(text) + 1, 7))


def test_prose_is_no_loop():
    with open("README.md", encoding="utf-8") as file:
        text = file.read()
    assert not any(loops(text[:end]) for end in range(0, len(text), 97))
