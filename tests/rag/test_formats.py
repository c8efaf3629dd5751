"""Every format yields its whole text in order, and bad files raise clear errors."""

import io
import unicodedata
import zipfile

import docx
import pytest
from docx.oxml import OxmlElement

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document
from gritlite.rag.formats import FORMATS, clean, parse
from tests.rag import documents


def test_text_is_cut_at_blank_lines():
    data = b"\xef\xbb\xbfOne line\nanother\n\n  \nlast\n"
    assert parse(data, ".txt").blocks == (
        Block("One line\nanother", "line 1"),
        Block("last", "line 5"),
    )


def test_lines_that_an_editor_broke_are_joined():
    data = b"This sentence goes on for more than forty characters\nand on. The end.\n"
    (block,) = parse(data, ".txt").blocks
    assert block.text == ("This sentence goes on for more than forty characters and on. The end.")


def test_utf16_is_read_where_its_mark_says_so():
    assert parse("Grüße".encode("utf-16"), ".txt").blocks == (Block("Grüße", "line 1"),)


@pytest.mark.parametrize("suffix", [".txt", ".md"])
def test_other_encodings_are_refused(suffix):
    with pytest.raises(FormatError, match="line 2 is not valid UTF-8"):
        parse(b"one\nGr\xfc\xdfe", suffix)


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


def test_html_is_read_as_a_browser_shows_it():
    page = (
        "<html><head><title> Old\n mills </title><style>p{}</style></head><body>"
        "<script>no()</script><h2>Cats</h2><p>Seven <b>grey</b>\n cats.<!-- no --></p>"
        "<ul><li>one<li>two</ul><pre>a\n  b</pre><table><tr><td>1</td><td>2</td></tr></table>tail"
    )
    document = parse(page.encode(), ".html")
    assert document.title == "Old mills"
    assert [(block.text, block.level) for block in document.blocks] == [
        ("Cats", 2),
        ("Seven grey cats.", 0),
        ("one", 0),
        ("two", 0),
        ("a\nb", 0),
        ("1 | 2", 0),
        ("tail", 0),
    ]


def test_html_takes_the_encoding_that_it_names():
    page = '<meta charset="iso-8859-1"><p>Gr\xfc\xdfe'.encode("latin-1")
    assert parse(page, ".htm").blocks == (Block("Grüße"),)


def test_html_may_leave_out_where_its_head_ends():
    page = b"<html><head><title>T</title><meta charset=utf-8><body><p>Hello"
    assert parse(page, ".html") == Document("T", (Block("Hello"),))


def test_html_may_be_nested_deeply():
    page = b"<div>" * 20_000 + b"deep" + b"</div>" * 20_000
    assert parse(page, ".html").blocks == (Block("deep"),)


def test_pdf_has_its_pages():
    document = parse(
        documents.pdf(["The inn was\nfounded early.", "It burned down."], "Inns"), ".pdf"
    )
    assert document.title == "Inns"
    assert document.blocks == (
        Block("The inn was founded early.", "page 1"),
        Block("It burned down.", "page 2"),
    )


def test_a_word_that_a_pdf_breaks_is_one_word():
    document = parse(documents.pdf(["Plants live by photo-\nsynthesis every day."]), ".pdf")
    assert document.blocks == (Block("Plants live by photosynthesis every day.", "page 1"),)


BROKEN = "photo\u00adsynthesis co\u00ad\noperate\x00\x02\x1b[31m\x7f\x9f\tred\u2028end"
WHOLE = "photosynthesis cooperate[31m\tred\nend"


def test_no_control_character_comes_out_of_a_format():
    assert clean(BROKEN) == WHOLE
    for suffix, data in (
        (".txt", BROKEN.encode()),
        (".md", f"# {BROKEN}\n\n{BROKEN}".encode()),
        (".html", f"<title>{BROKEN}</title><h1>{BROKEN}</h1><p>{BROKEN}".encode()),
        (".docx", documents.word("photo\u00adsynthesis")),
    ):
        document = parse(data, suffix)
        text = "".join([document.title, *(block.text for block in document.blocks)])
        assert "photosynthesis" in text
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\t\n"]


def test_docx_has_headings_and_tables():
    document = parse(documents.word("Inns"), ".docx")
    assert document.title == "Inns"
    assert document.blocks == (
        Block("The inn", level=1),
        Block("The inn was founded by Mary Smith."),
        Block("Rooms", level=2),
        Block("Room | Beds\nBlue | 3"),
        Block("It burned down in 1887."),
    )


def test_pages_without_text_are_told():
    document = parse(documents.pdf(["one", "", "three", ""]), ".pdf")
    assert [block.place for block in document.blocks] == ["page 1", "page 3"]
    assert document.warning == "no text on page 2, 4"


def test_nothing_in_a_docx_is_lost():
    """Equal cells, spanning cells, tables in cells, content controls, insertions."""
    word = docx.Document()
    table = word.add_table(rows=2, cols=3)
    for cell, text in zip(table.rows[0].cells, ("Blue", "3", "3"), strict=True):
        cell.text = text
    table.cell(1, 0).merge(table.cell(1, 1)).text = "wide"
    inner = table.cell(1, 2).add_table(rows=1, cols=2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "in", "side"
    for name, text in (("sdt", "controlled"), ("ins", "inserted"), ("moveTo", "moved")):
        paragraph = word.add_paragraph("It is ")
        run = paragraph.add_run(text)._r
        wrapper = OxmlElement(f"w:{name}")
        run.addprevious(wrapper)
        if name == "sdt":
            wrapper.append(OxmlElement("w:sdtPr"))
            content = OxmlElement("w:sdtContent")
            wrapper.append(content)
            content.append(run)
        else:
            wrapper.append(run)
    control, content = OxmlElement("w:sdt"), OxmlElement("w:sdtContent")
    word.element.body.insert(0, control)
    control.append(content)
    content.append(word.add_paragraph("first of all")._p)
    out = io.BytesIO()
    word.save(out)
    assert [block.text for block in parse(out.getvalue(), ".docx").blocks] == [
        "first of all",
        "Blue | 3 | 3\nwide | in | side",
        "It is controlled",
        "It is inserted",
        "It is moved",
    ]


def bomb() -> bytes:
    """A DOCX that declares an excessive unpacked size."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(300 << 20))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "suffix", "problem"),
    [
        (documents.encrypted_pdf(), ".pdf", "is encrypted"),
        (documents.pdf(["text"])[200:], ".pdf", "is damaged"),
        (b"", ".pdf", "is damaged"),
        (documents.pdf([""]), ".pdf", "has no text in its 1 pages"),
        (documents.word()[:5000], ".docx", "is damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".docx", "is encrypted, or a .doc"),
        (b"", ".docx", "is damaged"),
        (bomb(), ".docx", "unpacks to 300 MiB"),
    ],
)
def test_bad_files_are_told(data, suffix, problem):
    with pytest.raises(FormatError, match=problem):
        parse(data, suffix)


@pytest.mark.parametrize("suffix", sorted(set(FORMATS) - {".pdf", ".docx"}))
def test_an_empty_file_has_no_blocks(suffix):
    assert parse(b"", suffix).blocks == ()
