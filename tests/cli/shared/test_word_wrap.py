"""Word wrap, as a terminal emulator that is not ours (pyte) shows it."""

import itertools
import random
import unicodedata

import pyte
import pytest

from gritlite.cli.shared.word_wrap import WordWrap, width

PROSE = (
    "The quick brown fox jumps over the lazy dog, and then it runs through the forest until "
    "it meets an extraordinarily uncharacteristic hippopotamus.\n\n"
    "- A list, whose second line is long enough to be broken somewhere near its end\n"
    "    indented text keeps its indentation\n"
)


def wrapped(text, columns, *, pieces=None):
    """The text as it is written, fed in pieces of random length or as given."""
    wrap = WordWrap(lambda: columns)
    chosen = random.Random(len(text))
    written, rest = "", text
    while rest:
        size = chosen.randint(1, 5) if pieces is None else pieces
        written += wrap.feed(rest[:size])
        rest = rest[size:]
    return written + wrap.finish()


def shown(text, columns):
    """The lines of a terminal that got the text."""
    screen = pyte.Screen(columns, 200)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return "\n".join(line.rstrip() for line in screen.display).rstrip("\n").split("\n")


@pytest.mark.parametrize("columns", range(16, 90, 7))
@pytest.mark.parametrize(
    "text", [PROSE, "naïve café — “quoted” words, e\u0301te\u0301 and more of them " * 4]
)
def test_no_word_is_cut(text, columns):
    lines = shown(wrapped(text, columns), columns)
    words = [word for line in lines for word in line.split()]
    # the emulator composes what it can
    whole = unicodedata.normalize("NFC", text).split()
    assert words == whole or columns < max(map(width, whole))
    assert all(width(line) <= columns for line in lines)


@pytest.mark.parametrize("columns", [10, 37, 1000])
def test_lines_are_as_full_as_they_can_be(columns):
    text = "aa bbb c dddd ee fff gggg h iii " * 6
    lines = shown(wrapped(text, columns), columns)
    for line, following in itertools.pairwise(lines):
        assert len(line) + 1 + len(following.split()[0]) > columns


def test_nothing_but_line_breaks_is_changed():
    for columns in (0, 5, 20, 60):
        written = wrapped(PROSE, columns)
        assert written.split() == PROSE.split()
    assert wrapped(PROSE, 0) == PROSE
    assert wrapped(PROSE, 500) == PROSE


def test_a_word_longer_than_a_line_is_left_to_the_terminal():
    address = "https://example.org/" + "x" * 60
    assert wrapped(f"see {address} there", 30) == f"see\n{address} there"
    assert shown(wrapped(f"see {address} there", 30), 30)[-1].endswith("x there")


@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_code_and_tables_keep_their_lines(fence):
    code = f"{fence}python\nif a_long_condition and another_long_condition:\n    x = 1\n{fence}\n"
    table = "| a long cell of a table | another long cell of a table |\n"
    text = f"{code}{table}"
    assert wrapped(text, 20) == text
    assert wrapped(f"{text}and then prose is wrapped", 20) == f"{text}and then prose is\nwrapped"


def test_wide_characters_count_twice_and_may_be_broken_anywhere():
    text = "東京は日本の首都です。" * 5
    assert wrapped(text, 21) == text
    mixed = "The capital 東京 is large, its emblem 🙂 a leaf " * 3
    for columns in (20, 21, 22, 23):
        lines = shown(wrapped(mixed, columns), columns)
        words = [word for line in lines for word in line.split()]
        assert "".join(words) == mixed.replace(" ", "")
        assert set(words) <= {*mixed.split(), "東", "京"}


def test_emoji_of_several_characters_stay_whole():
    family = "👩\u200d👩\u200d👧"
    assert family in wrapped(f"a family {family} and a flag 🇩🇪 here", 12)


def test_a_word_is_held_back_until_it_ends_unless_it_begins_a_line():
    wrap = WordWrap(lambda: 20)
    assert wrap.feed("Begin") == "Begin"
    assert wrap.feed("ning") == "ning"
    assert wrap.feed(" next") == ""
    assert wrap.feed(" ") == " next"
    assert wrap.feed("continues") == "\ncontinues"
    assert wrap.feed("!\n") == "!\n"


def test_a_window_that_is_resized():
    columns = 40
    wrap = WordWrap(lambda: columns)
    first = wrap.feed("words of a text that is wrapped at the first width ")
    columns = 12
    second = wrap.feed("\nwords of a text that is wrapped later ") + wrap.finish()
    assert max(map(len, first.split("\n"))) > 12
    assert max(len(line.strip()) for line in second.split("\n")) <= 12
