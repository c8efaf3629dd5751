"""Markdown: the words that markdown-it shows, with their lines, and no marks."""

import pytest

from gritlite.rag.document import Block
from gritlite.rag.document_reader import DocumentReader
from gritlite.rag.formats import parse


def texts(text: str) -> list[str]:
    return [block.text for block in parse(text.encode(), ".md").blocks]


def test_markdown_loses_its_marks_and_keeps_its_words():
    text = (
        "---\ntitle: 'Inns'\n---\n# The *old* inn\n\nA [link](http://x.org) and `code`,\nwrapped.\n"
        "\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx = 1\n  y\n```\n"
    )
    document = parse(text.encode(), ".md")
    assert document.title == "Inns"
    assert document.blocks == (
        Block("The old inn", "line 4", 1),
        Block("A link and code, wrapped.", "line 6"),
        Block("one", "line 9"),
        Block("two", "line 10"),
        Block("a | b\n1 | 2", "line 12"),
        Block("x = 1\n  y", "line 16"),
    )


def test_html_in_markdown_keeps_its_words():
    text = "<details>\n<summary>More</summary>\n<p>The *inn*.</p>\n\nand **this**\n\n</details>\n"
    assert parse(text.encode(), ".md").blocks == (
        Block("More", "line 1"),
        Block("The *inn*.", "line 1"),
        Block("and this", "line 5"),
    )


@pytest.mark.parametrize("level", [25, 150, 1500])
def test_nothing_is_nested_too_deeply(level, tmp_path):
    """markdown-it drops what is nested more than 20 levels deep, unless it is told otherwise."""
    outline = "".join(f"{'  ' * depth}- item{depth}\n" for depth in range(min(level, 150)))
    quote = "> " * level + "quoted\n"
    numbers = "1. " * min(level, 500) + "numbered\n"
    with DocumentReader() as reader:
        for text in (outline, quote, numbers):
            blocks = reader.read(text.encode(), tmp_path / "a.md").blocks
            words = [word for block in blocks for word in block.text.split()]
            assert words == text.translate({ord(c): " " for c in "->"}).replace("1.", "").split()


def test_brackets_may_be_nested_deeply():
    assert texts("[" * 500 + "x" + "]" * 500) == ["[" * 500 + "x" + "]" * 500]


def test_code_keeps_its_indentation():
    text = (
        "```python\ndef f():\n    if x:\n\n        return 1\n```\n\n"
        "- item\n\n      if y:\n          z\n"
    )
    assert texts(text) == ["def f():\n    if x:\n\n        return 1", "item", "if y:\n    z"]
    assert texts("    def f():\n        return 1\n") == ["def f():\n    return 1"]


def test_front_matter_is_a_title_and_a_paragraph():
    document = parse(b"---\ntitle: Inns\ntags: [harbour, ferry]\n---\ntext\n", ".md")
    assert document.title == "Inns"
    assert document.blocks == (Block("tags: [harbour, ferry]", "line 2"), Block("text", "line 5"))


@pytest.mark.parametrize("title", [">\n  A long\n  title", "|\n  A long\n  title"])
def test_a_folded_title_is_a_paragraph(title):
    document = parse(f"---\ntitle: {title}\n---\ntext\n".encode(), ".md")
    assert document.title == ""
    assert document.blocks[0].text.split() == ["title:", *title.split()]


def test_text_between_rules_is_no_front_matter():
    text = "---\nThe inn was founded in 1850.\n\n---\nIt burned down.\n"
    assert texts(text) == ["The inn was founded in 1850.", "It burned down."]


def test_a_footnote_of_one_word_is_read():
    assert parse(b"The inn[^1] and the mill.\n\n[^1]: zebra\n", ".md").blocks == (
        Block("The inn^1 and the mill.", "line 1"),
        Block("zebra", "line 3"),
    )


def test_html_in_a_line_parts_words_as_a_browser_does():
    assert texts("one<br>two<BR/>three<hr>four, f<b>i</b>ve ~~six~~ &amp; &#x2764;") == [
        "one\ntwo\nthree\nfour, five six & \u2764"
    ]
    assert texts("| a |\n|---|\n| one<br>two |\n") == ["a\none two"]


def test_hidden_html_is_told():
    document = parse(b"shown\n\n<p hidden>not shown</p>\n", ".md")
    assert document.blocks == (Block("shown", "line 1"),)
    assert document.notes == ("2 words that the page hides were left out",)


def test_lines_may_end_as_on_any_system():
    for end in ("\n", "\r\n", "\r"):
        assert texts(f"# One{end}{end}two{end}{end}    three{end}      four") == [
            *("One", "two", "three\n  four")
        ]
