"""What a command says of a store before it uses it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from gritlite.cli.shared.opening import remarks
from gritlite.rag.condition import Condition
from gritlite.rag.roots import Root

GONE = (Root(Path("/nowhere/my notes"), 1),)


def store(condition, states="none"):
    """A store in this condition."""
    settings = SimpleNamespace(states=states)
    return SimpleNamespace(path=Path("a.grit"), settings=settings, condition=lambda: condition)


@pytest.mark.parametrize(
    ("condition", "beginning"),
    [
        (Condition(0, 0, (), False), "a.grit has no documents: index some"),
        (Condition(0, 1, (), False), "1 document of a.grit is not embedded yet"),
        (Condition(9, 20, (), True), "20 documents of a.grit are not embedded yet"),
        (
            Condition(1, 0, GONE, False),
            "/nowhere/my notes is gone, and a.grit still has 1",
        ),
    ],
)
def test_one_line_for_each_remark(condition, beginning):
    (line,) = remarks(store(condition), for_answers=False)
    assert line.startswith(beginning)


def test_the_advice_can_be_pasted():
    (line,) = remarks(store(Condition(1, 0, GONE, False)), for_answers=False)
    assert line.endswith("run `gritlite store remove a.grit '/nowhere/my notes'`")


def test_states_that_cannot_be_kept_are_told_where_they_are_made():
    read_only = Condition(1, 0, (), True)
    (line,) = remarks(store(read_only, "f16"), for_answers=True)
    assert line == "a.grit cannot be changed here: new states will not be kept"
    assert remarks(store(read_only, "f16"), for_answers=False) == []
    assert remarks(store(read_only), for_answers=True) == []
    assert remarks(store(Condition(1, 0, (), False), "f16"), for_answers=True) == []
