"""DOCX: what Word shows, each thing once, and what is not read is told."""

import io
import zipfile

import docx
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls

from gritlite.errors import FormatError
from gritlite.rag.document import Block
from gritlite.rag.formats import parse
from tests.rag import documents

_TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_OTHERS = {
    "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
    "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
    "v": "urn:schemas-microsoft-com:vml",
    "o": "urn:schemas-microsoft-com:office:office",
    "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
    "c": "http://schemas.openxmlformats.org/drawingml/2006/chart",
    "dgm": "http://schemas.openxmlformats.org/drawingml/2006/diagram",
}
_SPACES = nsdecls("w", "r", "a", "wp") + "".join(f' xmlns:{k}="{v}"' for k, v in _OTHERS.items())


def xml(markup: str):
    """An element; the first tag gets the declarations of all namespaces."""
    end = min(markup.index(c) for c in " />" if c in markup)
    return parse_xml(f"{markup[:end]} {_SPACES}{markup[end:]}")


def body(*markup: str):
    """A document of these elements."""
    word = docx.Document()
    for each in markup:
        word.element.body.insert_element_before(xml(each), "w:sectPr")
    return word


def paragraph(text: str, more: str = "") -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r>{more}</w:p>"


def add_part(word, kind: str, markup: str | bytes, suffix: str = "xml") -> str:
    """Add a part, and return the id of its relationship."""
    blob = markup if isinstance(markup, bytes) else _declared(markup)
    uri = PackURI(f"/word/{kind}{len(word.part.rels)}.{suffix}")
    return word.part.relate_to(Part(uri, "application/xml", blob), f"{_TYPES}/{kind}")


def _declared(markup: str) -> bytes:
    end = min(markup.index(c) for c in " />" if c in markup)
    return f"{markup[:end]} {_SPACES}{markup[end:]}".encode()


def saved(word) -> bytes:
    out = io.BytesIO()
    word.save(out)
    return out.getvalue()


def texts(word) -> list[str]:
    return [block.text for block in parse(saved(word), ".docx").blocks]


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


def test_footnotes_and_end_notes_follow_their_paragraph():
    word = body(
        paragraph("one", '<w:r><w:footnoteReference w:id="2"/></w:r>'),
        paragraph("two", '<w:r><w:endnoteReference w:id="2"/></w:r>'),
        paragraph("three"),
    )
    for kind in ("footnote", "endnote"):
        separator = f'<w:{kind} w:type="separator" w:id="0">{paragraph("no")}</w:{kind}>'
        note = f'<w:{kind} w:id="2">{paragraph(kind)}{paragraph("and more")}</w:{kind}>'
        add_part(word, f"{kind}s", f"<w:{kind}s>{separator}{note}</w:{kind}s>")
    assert texts(word) == [*("one", "footnote", "and more", "two", "endnote", "and more", "three")]


def test_comments_follow_their_paragraph_with_their_author():
    word = docx.Document()
    run = word.add_paragraph("It burned down.").runs[0]
    word.add_comment(run, text="In which year?", author="Ann")
    word.add_paragraph("Nobody knows.")
    assert texts(word) == ["It burned down.", "Comment by Ann: In which year?", "Nobody knows."]


def test_headers_and_footers_come_once():
    word = docx.Document()
    word.sections[0].header.paragraphs[0].text = "Inns of the north"
    word.sections[0].footer.paragraphs[0].text = "Draft"
    word.add_paragraph("one")
    second = word.add_section()
    second.footer.is_linked_to_previous = False
    second.footer.paragraphs[0].text = "Draft"
    word.add_paragraph("two")
    assert texts(word) == ["Inns of the north", "Draft", "one", "two"]


BOX = f"<w:txbxContent>{paragraph('boxed')}{paragraph('twice')}</w:txbxContent>"
SHAPE = f"<wps:wsp><wps:txbx>{BOX}</wps:txbx></wps:wsp>"
DRAWING = (
    "<w:drawing><wp:inline><a:graphic><a:graphicData>"
    f"{SHAPE}</a:graphicData></a:graphic></wp:inline></w:drawing>"
)
PICTURE = f"<w:pict><v:shape><v:textbox>{BOX}</v:textbox></v:shape></w:pict>"


@pytest.mark.parametrize(
    "box",
    [
        f'<mc:AlternateContent><mc:Choice Requires="wps">{DRAWING}</mc:Choice>'
        f"<mc:Fallback>{PICTURE}</mc:Fallback></mc:AlternateContent>",
        PICTURE,
        DRAWING,
        f"<mc:AlternateContent><mc:Fallback>{PICTURE}</mc:Fallback></mc:AlternateContent>",
    ],
)
def test_text_boxes_are_read_once(box):
    assert texts(body(paragraph("before", f"<w:r>{box}</w:r>"), paragraph("after"))) == [
        *("before", "boxed", "twice", "after")
    ]


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ('<w:fldSimple w:instr="DATE"><w:r><w:t>today</w:t></w:r></w:fldSimple>', "today"),
        (
            '<w:r><w:fldChar w:fldCharType="begin"/></w:r>'
            "<w:r><w:instrText>PAGE</w:instrText></w:r>"
            '<w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>7</w:t></w:r>',
            "7",
        ),
        ('<w:hyperlink r:id="rId1"><w:r><w:t>link</w:t></w:r></w:hyperlink>', "link"),
        ("<w:customXml><w:r><w:t>custom</w:t></w:r></w:customXml>", "custom"),
        ("<m:oMath><m:r><m:t>E=mc</m:t></m:r></m:oMath>", "E=mc"),
        ("<w:r><w:t>co</w:t><w:noBreakHyphen/><w:t>op</w:t></w:r>", "co-op"),
        ("<w:r><w:t>a</w:t><w:softHyphen/><w:t>b</w:t></w:r>", "ab"),
        ("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r>", "a\tb\nc"),
        ("<w:bdo><w:r><w:t>rtl</w:t></w:r></w:bdo>", "rtl"),
        ("<w:r><w:rPr><w:vanish w:val='false'/></w:rPr><w:t>seen</w:t></w:r>", "seen"),
    ],
)
def test_no_wrapper_hides_text(inside, text):
    assert texts(body(f"<w:p>{inside}</w:p>")) == [text]


@pytest.mark.parametrize(
    "inside",
    [
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>",
        "<w:moveFrom><w:r><w:t>gone</w:t></w:r></w:moveFrom>",
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r>",
    ],
)
def test_what_word_does_not_show_is_not_read(inside):
    assert texts(body(f"<w:p>{inside}</w:p>", paragraph("seen"))) == ["seen"]


def test_hidden_text_is_told():
    word = body("<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>not shown</w:t></w:r></w:p>")
    assert parse(saved(word), ".docx").notes == ("2 words of hidden text were left out",)


def test_charts_and_diagrams_are_read():
    word = docx.Document()
    labels = (
        "<c:cat><c:strRef><c:strCache><c:pt><c:v>Inns</c:v></c:pt></c:strCache></c:strRef></c:cat>"
    )
    numbers = (
        "<c:val><c:numRef><c:numCache><c:pt><c:v>17.5</c:v></c:pt></c:numCache></c:numRef></c:val>"
    )
    title = (
        "<c:title><a:p><a:r><a:t>Beds by </a:t></a:r><a:r><a:t>house</a:t></a:r></a:p></c:title>"
    )
    chart = add_part(word, "chart", f"<c:chartSpace>{title}{labels}{numbers}</c:chartSpace>")
    points = "".join(f"<dgm:pt><a:p><a:r><a:t>{name}</a:t></a:r></a:p></dgm:pt>" for name in "AB")
    diagram = add_part(word, "diagramData", f"<dgm:dataModel>{points}</dgm:dataModel>")
    graphics = (f'<c:chart r:id="{chart}"/>', f'<dgm:relIds r:dm="{diagram}"/>')
    for graphic in graphics:
        drawing = f"<w:drawing><a:graphicData>{graphic}</a:graphicData></w:drawing>"
        markup = paragraph("See:", f"<w:r>{drawing}</w:r>")
        word.element.body.insert_element_before(xml(markup), "w:sectPr")
    assert texts(word) == ["See:", "Beds by house\nInns", "See:", "A\nB"]


def test_embedded_files_are_told():
    word = body(paragraph("seen"))
    add_part(word, "package", b"PK", "xlsx")
    add_part(word, "aFChunk", b"<p>html", "html")
    assert parse(saved(word), ".docx").notes == ("2 embedded files were not read",)


def test_headings_are_known_by_their_style_in_any_language():
    word = docx.Document()
    own = word.styles.add_style("Meine Überschrift", 1)
    own.base_style = word.styles["Heading 2"]
    outline = word.styles.add_style("Kapitel", 1)
    outline.element.get_or_add_pPr().append(xml('<w:outlineLvl w:val="0"/>'))
    for style in ("Title", "Heading 3", "Meine Überschrift", "Kapitel", "Normal"):
        word.add_paragraph(style, style)
    levels = [block.level for block in parse(saved(word), ".docx").blocks]
    assert levels == [1, 3, 2, 1, 0]


def test_code_keeps_its_indentation():
    word = docx.Document()
    word.add_paragraph("if x:")
    word.add_paragraph("    return 1")
    assert texts(word) == ["if x:", "    return 1"]


DTD = b'<!DOCTYPE w:document [<!ENTITY x "secret">]>'
BOMB = b"<!DOCTYPE w:document [<!ENTITY a0 'ha'>%s]>" % b"".join(
    b"<!ENTITY a%d '%s'>" % (level + 1, b"&a%d;" % level * 10) for level in range(12)
)
EXTERNAL = b'<!DOCTYPE w:document [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("dtd", "reference"),
    [(DTD, b"&x;"), (BOMB, b"&a12;"), (EXTERNAL, b"&x;"), (DTD, b"text")],
)
@pytest.mark.parametrize("part", ["word/document.xml", "word/styles.xml", "word/footnotes0.xml"])
def test_entities_are_refused(dtd, reference, part):
    """Neither lost, nor expanded without bounds, nor read from other files."""
    word = body(paragraph("seen"))
    add_part(word, "footnotes", "<w:footnotes/>")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(word))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if part.replace("0", "") in name.translate({ord(c): None for c in "0123456789"}):
                start = data.index(b"?>") + 2 if data.startswith(b"<?xml") else 0
                data = data[:start] + dtd + data[start:].replace(b"seen", reference)
            new.writestr(name, data)
    problem = "declares XML entities, which DOCX does not allow|Maximum entity amplification"
    with pytest.raises(FormatError, match=problem):
        parse(out.getvalue(), ".docx")


def test_a_strict_document_is_told():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        strict = b"http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument"
        archive.writestr("_rels/.rels", b'<Relationships><Relationship Type="%s"/>' % strict)
    with pytest.raises(FormatError, match=r"save it as an ordinary \.docx"):
        parse(out.getvalue(), ".docx")


def test_a_reference_to_nothing_is_told():
    word = saved(body(paragraph("seen")))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"seen", b"seen &x; &amp;"))
    with pytest.raises(FormatError, match="is damaged: Entity 'x' not defined"):
        parse(out.getvalue(), ".docx")
