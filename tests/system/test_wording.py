import pytest

from gritlite.system.wording import counted


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("text",), "0 texts"),
        (1, ("text",), "1 text"),
        (2_000, ("text",), "2,000 texts"),
        (1, ("message was", "messages were"), "1 message was"),
        (2, ("message was", "messages were"), "2 messages were"),
    ],
)
def test_a_count_agrees_with_its_noun(number, words, expected):
    assert counted(number, *words) == expected
