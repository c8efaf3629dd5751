"""PDF: words, reading order, comments and titles of files written by hand."""

import io

import pypdf
import pytest

from gritlite.rag.document import Block
from gritlite.rag.document_reader import DocumentReader
from gritlite.rag.formats import parse
from tests.rag import documents

LEFT = [f"the inn on the left has {number} rooms and" for number in range(6)]
RIGHT = [f"the mill on the right has {number} cats but" for number in range(6)]


def line(x: float, y: float, text: str) -> str:
    return f"BT /F1 10 Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n"


def text(content: str, **entries: str) -> str:
    (block,) = parse(documents.pdf_page(content, **entries), ".pdf").blocks
    return block.text


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


def test_pages_without_text_are_told():
    document = parse(documents.pdf(["one", "", "three", ""]), ".pdf")
    assert [block.place for block in document.blocks] == ["page 1", "page 3"]
    assert document.notes == ("no text on page 2, 4",)


def test_columns_that_are_drawn_line_by_line_are_read_one_after_the_other():
    heading = line(72, 750, "A heading that stands above both of the columns and is as wide")
    rows = "".join(
        line(72, 700 - 14 * number, left) + line(320, 700 - 14 * number, right)
        for number, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True))
    )
    footer = line(72, 50, "A line that stands below both of the columns and is as wide as both")
    words = text(heading + rows + footer)
    assert words.startswith("A heading")
    assert words.endswith("wide as both")
    assert " ".join([*LEFT, *RIGHT]) in words


def test_columns_that_are_drawn_one_after_the_other_stay():
    columns = "".join(line(72, 700 - 14 * number, left) for number, left in enumerate(LEFT))
    columns += "".join(line(320, 700 - 14 * number, right) for number, right in enumerate(RIGHT))
    assert text(columns) == " ".join([*LEFT, *RIGHT])


def test_the_rows_of_a_table_stay_together():
    table = "".join(
        line(72, 700 - 14 * row, f"Room {row}") + line(320, 700 - 14 * row, f"{row} beds")
        for row in range(8)
    )
    assert text(table) == " ".join(f"Room {row} {row} beds" for row in range(8))


@pytest.mark.parametrize("shown", [0, 90, 180, 270])
@pytest.mark.parametrize("matrix", ["1 0 0 1", "0 1 -1 0", "-1 0 0 -1", "0 -1 1 0", ".7 .7 -.7 .7"])
def test_a_turned_page_keeps_its_lines(shown, matrix):
    content = f"BT /F1 12 Tf 14 TL {matrix} 300 400 Tm (The inn was) Tj T* (founded early.) Tj ET"
    assert text(content, Rotate=str(shown)) == "The inn was founded early."


def test_ligatures_become_letters():
    map_to_ligature = "1 beginbfchar <01> <FB01> endbfchar 1 beginbfchar <02> <FB04> endbfchar"
    page = documents.pdf_page(
        "BT /F1 12 Tf 72 720 Td (o\\001cers sni\\002ed) Tj ET", to_unicode=map_to_ligature
    )
    assert parse(page, ".pdf").blocks == (Block("oficers sniffled", "page 1"),)
    assert parse("oﬃce ﬁsh ﬂat ﬅ".encode(), ".txt").blocks[0].text == "office fish flat st"


@pytest.mark.parametrize(
    "title",
    [
        *("untitled", "Untitled Document", "Microsoft Word - inn.doc", "inn_final.docx"),
        *("Document1", "PowerPoint Presentation", "paper.dvi", "Slide 1", "C:\\\\tmp\\\\inn.indd"),
    ],
)
def test_a_title_that_a_program_made_up_is_none(title, tmp_path):
    page = documents.pdf(["text"], title)
    assert parse(page, ".pdf").title == ""
    with DocumentReader() as reader:
        assert reader.read(page, tmp_path / "The inn.pdf").title == "The inn"


@pytest.mark.parametrize(
    "title",
    [
        "The inn",
        "Untitled love songs",
        "How to use robots.txt",
        "Document retrieval",
        "Microsoft Word tips",
    ],
)
def test_a_title_that_only_looks_made_up_stays(title):
    assert parse(documents.pdf(["text"], title), ".pdf").title == title


def test_comments_and_form_fields_are_read():
    annotations = (
        "[<< /Subtype /Text /Rect [9 9 30 30] /Contents (A sticky note) >>"
        " << /Subtype /Highlight /Rect [9 9 30 30] /Contents (Check this) >>"
        " << /Subtype /Popup /Rect [9 9 30 30] >>"
        " << /Subtype /Widget /Rect [9 9 90 30] /FT /Tx /T (name) /V (Mary Smith) >>"
        " << /Subtype /Widget /Rect [9 9 90 30] /FT /Btn /T (ok) /V /Yes >>]"
    )
    assert text("BT /F1 12 Tf 72 720 Td (Hello) Tj ET", Annots=annotations) == (
        "Hello\n\nA sticky note\n\nCheck this\n\nMary Smith"
    )


def test_attached_files_are_told():
    writer = pypdf.PdfWriter(io.BytesIO(documents.pdf(["Hello"])))
    writer.add_attachment("data.csv", b"1,2")
    out = io.BytesIO()
    writer.write(out)
    assert parse(out.getvalue(), ".pdf").notes == ("1 attached files were not read",)


@pytest.mark.parametrize("matrix", ["0 1 -1 0", "-1 0 0 -1", "0 -1 1 0"])
def test_lines_in_another_direction_follow_the_others(matrix):
    upright = "".join(line(72, 700 - 20 * row, f"line{row} goes on") for row in range(6))
    step = -20 if matrix == "0 -1 1 0" else 20
    across = (0, step) if matrix.startswith("-1") else (step, 0)
    places = [(400 + row * across[0], 400 + row * across[1]) for row in range(4)]
    turned = "".join(
        f"BT /F1 10 Tf {matrix} {x} {y} Tm (turned{row}) Tj ET\n"
        for row, (x, y) in enumerate(places)
    )
    assert text(turned + upright).split() == [
        *(word for row in range(6) for word in (f"line{row}", "goes", "on")),
        *(f"turned{row}" for row in range(4)),
    ]
