"""Numbers and foreign words in messages."""

import pytest

from gritlite.system.wording import counted, printable


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12_345, "12,345 files")]
)
def test_a_noun_has_its_number(number, text):
    assert counted(number, "file") == text


def test_an_irregular_plural():
    assert counted(2, "entry", "entries") == "2 entries"


def test_what_a_terminal_obeys_is_escaped():
    assert printable("a\x1b[31m\n\u202e\ud800 é首") == r"a\x1b[31m\n\u202e\ud800 é首"
