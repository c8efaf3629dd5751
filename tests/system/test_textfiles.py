"""Errors of text and JSON files name the place."""

import pytest

from gritlite.errors import FormatError
from gritlite.system.textfiles import parse_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a.json: not JSON: Expecting"),
        ("[\n}", "a.json, line 2: not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5_000, "not JSON that can be read"),
    ],
)
def test_what_is_no_json_is_named(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_json(text, "a.json")
