"""No text vanishes: every word that a format's own reader shows is in some chunk.

The references are not ours: Python's decoder, markdown-it's HTML and Beautiful Soup's text of
it, the words that a page of a PDF draws, and the XML of a DOCX.
"""

import io
import re
import zipfile
from xml.etree import ElementTree

import docx
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gritlite.rag.chunking import cut
from gritlite.rag.formats import parse
from tests.rag import documents
from tests.rag.test_docx import BOX, DRAWING, PICTURE, add_part, paragraph, saved, xml

CHUNK_WORDS = 24
some = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = [f"word{number}" for number in range(100)]
A_WORD = st.sampled_from(WORDS)


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text))


def in_chunks(data: bytes, suffix: str) -> set[str]:
    """The words of all chunks and their headings, which word search reads both."""
    chunks = cut(parse(data, suffix), lambda text: len(text.split()), CHUNK_WORDS)
    return {word for chunk in chunks for word in words(f"{chunk.heading}\n{chunk.text}")}


def numbered(parts: list[str]) -> str:
    """The parts, with a word of its own in place of each `@`."""
    text, number = "", 0
    for part in parts:
        text += part.replace("@", f"word{number} ")
        number += part.count("@")
    return text


def mixed(pieces: list[str]) -> st.SearchStrategy[str]:
    """A text of these pieces, in any order, with many numbered words."""
    choice = st.one_of(st.just("@"), st.sampled_from(pieces))
    return st.lists(choice, max_size=60).map(numbered)


@some
@given(mixed(["\n", "\n\n", "\r\n", "\t", "    ", "\x0c", "- ", "# ", "\u00a0", "é", "首都"]))
def test_plain_text(text):
    assert words(text) <= in_chunks(text.encode(), ".txt")


MARKS = ["*", "**", "_", "`", "~~", "[", "]", "](to)", "![", "&amp;", "&#64;", "\\", "<b>", "</b>"]
STARTS = ["\n", "\n\n", "\n# ", "\n> ", "\n- ", "\n  - ", "\n1. ", "\n    ", "\n```\n", "\n---\n"]
MARKUP = ["<br>", "\n<div>\n", "</div>\n\n", "\n<pre>\n", "</pre>\n\n", "\n@\n===\n", "| "]
TABLE = "\n|@|@|\n|-|-|\n"


def rendered(text: str) -> str:
    """The text of what markdown-it renders, at any depth."""
    renderer = MarkdownIt("commonmark", {"maxNesting": 10_000})
    page = renderer.enable(["table", "strikethrough"]).render(text)
    return BeautifulSoup(page, "html.parser").get_text()


@some
@given(mixed([*MARKS, *STARTS, *STARTS, *MARKUP, TABLE]))
def test_markdown(text):
    assert words(rendered(text)) <= in_chunks(text.encode(), ".md")


@some
@given(st.lists(st.sampled_from(["> ", "- ", "1. ", "* "]), max_size=70))
def test_markdown_at_any_depth(marks):
    text = "".join(marks) + "deep\n"
    assert words(rendered(text)) <= in_chunks(text.encode(), ".md")


BLOCKS = ["p", "div", "h1", "h2", "ul", "li", "table", "tr", "td", "th", "pre", "section", "nav"]
INLINE = ["b", "span", "code", "a href='#x'", "q", "sub", "x-y", "ruby", "rt", "button", "select"]
TAGS = [f"<{name}>" for name in (*BLOCKS, *INLINE)]
TAGS += [f"</{name.split()[0]}>" for name in (*BLOCKS, *INLINE)]
OTHER = ["<br>", "<hr>", "<!-- no -->", "<script>no</script>", "&amp;", "\n", "<p class=a id=b>"]


@some
@given(mixed([*TAGS, *OTHER]))
def test_html(text):
    assert words(BeautifulSoup(text, "html.parser").get_text()) <= in_chunks(
        f"<body>{text}".encode(), ".html"
    )


# the direction of a line, and where it stands `along` and `across` that direction
DIRECTIONS = {
    "1 0 0 1": lambda along, across: (along, 792 - across),
    "0 1 -1 0": lambda along, across: (across, along),
    "-1 0 0 -1": lambda along, across: (612 - along, across),
    "0 -1 1 0": lambda along, across: (612 - across, 792 - along),
}


@st.composite
def lines(draw) -> str:
    """The content of a page: lines in any order, in one or two columns, in one direction."""
    matrix = draw(st.sampled_from(sorted(DIRECTIONS)))
    size = draw(st.integers(4, 12))
    places = [(60 + 260 * column, 60 + 20 * row) for row in range(25) for column in range(2)]
    content = ""
    for place in draw(st.lists(st.sampled_from(places), min_size=1, max_size=30, unique=True)):
        x, y = DIRECTIONS[matrix](*place)
        text = " ".join(draw(st.lists(A_WORD, min_size=1, max_size=4)))
        content += f"BT /F1 {size} Tf {matrix} {x} {y} Tm ({text}) Tj ET\n"
    return content


@some
@given(lines(), st.sampled_from(["0", "90", "180", "270"]))
def test_pdf(content, rotation):
    data = documents.pdf_page(content, Rotate=rotation)
    assert words(content) & set(WORDS) <= in_chunks(data, ".pdf")


SHAPES = [
    paragraph("@"),
    paragraph("@", f"<w:r>{PICTURE.replace('boxed', '@').replace('twice', '@')}</w:r>"),
    paragraph("@", f"<w:r>{DRAWING.replace('boxed', '@')}</w:r>"),
    "<w:p><w:ins><w:r><w:t>@</w:t></w:r></w:ins></w:p>",
    f"<w:sdt><w:sdtContent>{paragraph('@')}</w:sdtContent></w:sdt>",
    "<w:p><w:fldSimple w:instr='DATE'><w:r><w:t>@</w:t></w:r></w:fldSimple></w:p>",
    "<w:p><w:pPr><w:pStyle w:val='Heading1'/></w:pPr><w:r><w:t>@</w:t></w:r></w:p>",
    "<w:p><w:pPr><w:pStyle w:val='Heading3'/></w:pPr><w:r><w:t>@</w:t></w:r></w:p>",
    f"<w:tbl><w:tr><w:tc>{paragraph('@')}</w:tc><w:tc><w:tbl><w:tr><w:tc>{paragraph('@')}</w:tc>"
    f"</w:tr></w:tbl>{paragraph('@')}</w:tc></w:tr></w:tbl>",
    f"<w:customXml>{paragraph('@')}</w:customXml>",
    "<w:p><m:oMath><m:r><m:t>@</m:t></m:r></m:oMath></w:p>",
    paragraph("@", '<w:r><w:footnoteReference w:id="2"/></w:r>'),
    f"<mc:AlternateContent><mc:Choice Requires='wps'>{paragraph('@')}</mc:Choice>"
    f"<mc:Fallback>{paragraph('lost')}</mc:Fallback></mc:AlternateContent>",
]


@some
@given(st.lists(st.sampled_from(SHAPES), max_size=20), A_WORD, A_WORD)
def test_docx(shapes, header, footer):
    word = docx.Document()
    text = numbered([f"{shape}\n" for shape in shapes])
    for element in filter(None, text.split("\n")):
        word.element.body.insert_element_before(xml(element), "w:sectPr")
    word.sections[0].header.paragraphs[0].text = header
    word.sections[0].footer.paragraphs[0].text = footer
    if "footnoteReference" in text:
        add_part(
            word, "footnotes", f'<w:footnotes><w:footnote w:id="2">{BOX}</w:footnote></w:footnotes>'
        )
    data = saved(word)
    assert xml_text(data) <= in_chunks(data, ".docx")


def xml_text(data: bytes) -> set[str]:
    """The words of all text elements of all parts, but those of fallbacks."""
    found: set[str] = set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if re.search(r"word/(?:document|header|footer|footnotes)\d*\.xml", name):
                root = ElementTree.fromstring(archive.read(name))
                for parent in root.iter():
                    for child in [each for each in parent if each.tag.endswith("}Fallback")]:
                        parent.remove(child)
                texts = (each.text or "" for each in root.iter() if each.tag.endswith("}t"))
                found |= words(" ".join(texts))
    return found
