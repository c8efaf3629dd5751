"""Chunking: boundaries at headings and sentences, within the budget, with no text lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gritlite.rag.chunking import cut
from gritlite.rag.document import Block, Document
from tests.some_texts import some_texts


def words(text: str) -> int:
    return len(text.split())


def pieces(*blocks: Block, title: str = "Guide", budget: int = 20):
    return list(cut(Document(title, blocks), words, budget))


def test_headings_part_chunks_and_are_carried():
    chunks = pieces(
        Block("Before.", "line 1"),
        Block("Setup", "line 2", 1),
        Block("One.", "line 3"),
        Block("Linux", "line 4", 2),
        Block("Two.", "line 5"),
        Block("Use", "line 6", 1),
        Block("Three.", "line 7"),
        Block("Four.", "line 8"),
    )
    assert [(chunk.heading, chunk.place, chunk.text) for chunk in chunks] == [
        ("Guide", "line 1", "Before."),
        ("Guide > Setup", "line 3", "One."),
        ("Guide > Setup > Linux", "line 5", "Two."),
        ("Guide > Use", "line 7", "Three.\n\nFour."),
    ]
    assert chunks[2].embedded == "Guide > Setup > Linux\nTwo."


def test_a_title_that_is_the_first_heading_is_said_once():
    (chunk,) = pieces(Block("Guide", level=1), Block("text"))
    assert chunk.heading == "Guide"


def test_long_text_is_cut_between_sentences():
    sentence = "Seven grey cats live in the old mill."
    chunks = pieces(
        Block(" ".join([sentence] * 10), "page 1"),
        Block("Nobody knows how many mice were there.", "page 2"),
    )
    assert all(words(chunk.embedded) <= 20 for chunk in chunks)
    assert all(chunk.text.endswith(".") for chunk in chunks)
    assert sum(chunk.text.count(sentence) for chunk in chunks) == 10
    assert [chunk.place for chunk in chunks][:: len(chunks) - 1] == ["page 1", "page 2"]


def test_a_heading_too_long_to_repeat_is_shown_but_not_embedded():
    (chunk,) = pieces(Block("a heading of more than six words here", level=1), Block("text"))
    assert chunk.heading.endswith("words here")
    assert chunk.embedded == "text"


def test_a_paragraph_set_as_a_heading_is_text():
    text = "word " * 50
    assert [chunk.heading for chunk in pieces(Block(text, level=1), budget=100)] == ["Guide"]


def test_a_heading_alone_is_a_chunk():
    blocks = (
        Block("One", level=1),
        Block("text"),
        Block("zebra", "line 5", 1),
        Block("Two", level=1),
        Block("Below", level=2),
        Block("giraffe", level=2),
    )
    chunks = pieces(*blocks)
    assert [(chunk.heading, chunk.text) for chunk in chunks] == [
        ("Guide > One", "text"),
        ("Guide", "zebra"),
        ("Guide > Two", "Below"),
        ("Guide > Two", "giraffe"),
    ]
    assert chunks[1].place == "line 5"


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.text("abc", min_size=1, max_size=5)),
        min_size=1,
        max_size=12,
    )
)
def test_every_word_is_in_a_chunk(content):
    words = [f"{word}{number}" for number, (_, word) in enumerate(content)]
    blocks = [Block(word, level=level) for word, (level, _) in zip(words, content, strict=True)]
    chunks = pieces(*blocks)
    for block in blocks:
        # word search reads both
        assert any(block.text in f"{chunk.heading} {chunk.text}".split() for chunk in chunks)


@pytest.mark.parametrize("budget", [32, 64, 256])
def test_real_token_counts_stay_within_the_budget(tiny_model, budget):
    blocks = [Block(text, f"line {number}") for number, text in enumerate(some_texts(40))]
    chunks = list(cut(Document("Texts", tuple(blocks)), count(tiny_model), budget))
    assert max(count(tiny_model)(chunk.embedded) for chunk in chunks) <= budget + 2
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(
        "".join(block.text.split()) for block in blocks
    )


def count(model):
    return lambda text: len(model.tokenize(text))


CODE = "\n\n".join(
    f"class Room{number}:\n    def beds(self):\n        if self.blue:\n            return {number}"
    for number in range(5)
)


@pytest.mark.parametrize("budget", [4, 8, 12, 20])
def test_code_keeps_its_lines_and_their_indentation(budget):
    chunks = pieces(Block("before"), Block(f"    {CODE}"), Block("  indented"), budget=budget)
    lines = [line for chunk in chunks for line in chunk.text.split("\n") if line]
    wanted = [line for line in ["before", *f"    {CODE}".split("\n"), "  indented"] if line]
    assert lines == wanted
    assert all(chunk.embedded.endswith(chunk.text) for chunk in chunks)
