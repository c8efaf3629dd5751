"""The text in the XML of a DOCX: paragraphs, tables, and what is attached to them.

It looks into every element that is not known to be invisible, so that no wrapper (content
controls, insertions, fields, custom XML) hides text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from docx.oxml.ns import nsmap, qn
from lxml import etree

from gritlite.rag.document import Block
from gritlite.rag.formats.docx_styles import outline_level

_CHOICES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_WORD = f"{{{nsmap['w']}}}"

_PARAGRAPH, _TABLE, _ROW, _CELL = map(qn, ("w:p", "w:tbl", "w:tr", "w:tc"))
_TEXTS = (qn("w:t"), f"{_MATH}t")
_SIGNS = {qn("w:tab"): "\t", qn("w:ptab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n"}
_SIGNS |= {qn("w:noBreakHyphen"): "-"}
_INVISIBLE = {
    *map(qn, ("w:del", "w:moveFrom", "w:delText", "w:instrText", "w:delInstrText", "w:tblGrid")),
    f"{_CHOICES}Fallback",
}
_ALTERNATIVES = f"{_CHOICES}AlternateContent"
_TEXT_BOX = qn("w:txbxContent")
_VANISH = f"{qn('w:rPr')}/{qn('w:vanish')}"
_DELETED_ROW = f"{qn('w:trPr')}/{qn('w:del')}"
_OFF = ("0", "false", "off")

MARGINS = ("w:headerReference", "w:footerReference")
_NOTES = {
    qn("w:footnoteReference"): "w:footnote",
    qn("w:endnoteReference"): "w:endnote",
    qn("w:commentReference"): "w:comment",
}
_DRAWINGS = {f"{_CHART}chart": qn("r:id"), f"{_DIAGRAM}relIds": qn("r:dm")}
_DRAWN = (qn("a:p"), f"{_CHART}v")
_NUMBERS = f"{_CHART}numCache"


@dataclass
class _Run:
    """The text of a paragraph, and the elements that follow it."""

    parts: list[str] = field(default_factory=list)
    attached: list[etree._Element] = field(default_factory=list)


class TextReader:
    """Reads the elements of one document.

    `levels` are those of heading styles by id, `notes` the footnotes, end notes and comments
    by tag and id, and `drawings` the charts and diagrams by the id of their relationship.
    """

    def __init__(
        self,
        levels: Mapping[str, int],
        notes: Mapping[tuple[str, str], etree._Element],
        drawings: Mapping[str, etree._Element],
    ) -> None:
        self._levels = levels
        self._notes = notes
        self._drawings = drawings

    def blocks(self, container: etree._Element) -> Iterator[Block]:
        """The paragraphs and tables of a body, a header, a cell, a note or a drawing."""
        for child in _visible(container):
            if child.tag == _PARAGRAPH:
                yield from self._paragraph(child)
            elif child.tag == _TABLE:
                yield Block("\n".join(self._rows(child)))
            else:
                yield from self.blocks(child)

    def _paragraph(self, paragraph: etree._Element) -> Iterator[Block]:
        run = _Run()
        self._collect(paragraph, run)
        text = "".join(run.parts).strip("\n").rstrip()  # code keeps its indentation
        if text.strip():
            yield Block(text, level=self._level(paragraph))
        for element in run.attached:
            yield from self._attached(element)

    def _level(self, paragraph: etree._Element) -> int:
        own = outline_level(paragraph)
        style = paragraph.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
        if own is not None or style is None:
            return own or 0
        return self._levels.get(style.get(qn("w:val"), ""), 0)

    def _collect(self, element: etree._Element, run: _Run) -> None:
        for child in _visible(element):
            tag = child.tag
            if tag in _TEXTS:
                run.parts.append(child.text or "")
            elif tag in _SIGNS:
                run.parts.append(_SIGNS[tag])
            elif tag in _NOTES:
                note = self._notes.get((_NOTES[tag], child.get(qn("w:id"), "")))
                run.attached += [] if note is None else [note]
            elif tag in _DRAWINGS:
                drawing = self._drawings.get(child.get(_DRAWINGS[tag], ""))
                run.attached += [] if drawing is None else [drawing]
            elif tag == _TEXT_BOX:
                run.attached.append(child)
            else:
                self._collect(child, run)

    def _attached(self, element: etree._Element) -> Iterator[Block]:
        if not element.tag.startswith(_WORD):
            yield Block("\n".join(_drawn(element)))
        elif author := element.get(qn("w:author"), ""):
            text = "\n".join(block.text for block in self.blocks(element))
            yield Block(f"Comment by {author}: {text}")
        else:
            yield from self.blocks(element)

    def _rows(self, table: etree._Element) -> Iterator[str]:
        """A line for each row."""
        for row in _inside(table, _ROW):
            if row.find(_DELETED_ROW) is None:
                line = " | ".join(filter(None, map(self._cell, _inside(row, _CELL))))
                yield from [line] if line else []

    def _cell(self, cell: etree._Element) -> str:
        return "\n".join(block.text for block in self.blocks(cell)).strip()


def _visible(element: etree._Element) -> Iterator[etree._Element]:
    """The children that may hold text; of alternatives, those of the first."""
    for child in element:
        tag = child.tag
        if not isinstance(tag, str) or tag in _INVISIBLE or tag.endswith("Pr"):
            continue
        if tag == _ALTERNATIVES:
            yield from child[:1]
        elif not vanishes(child):
            yield child


def vanishes(run: etree._Element) -> bool:
    """Whether Word does not show a run: its font is "hidden"."""
    vanish = run.find(_VANISH)
    return vanish is not None and vanish.get(qn("w:val"), "1") not in _OFF


def _inside(element: etree._Element, tag: str) -> Iterator[etree._Element]:
    """The rows of a table or the cells of a row, also within wrappers."""
    for child in _visible(element):
        if child.tag == tag:
            yield child
        else:
            yield from _inside(child, tag)


def _drawn(drawing: etree._Element) -> Iterator[str]:
    """The paragraphs of a diagram, and the titles and labels of a chart."""
    for element in drawing.iter(*_DRAWN):
        numbers = element.tag == f"{_CHART}v" and element.getparent().getparent().tag == _NUMBERS
        text = element.text if element.tag == f"{_CHART}v" else _letters(element)
        if text and text.strip() and not numbers:
            yield text.strip()


def _letters(paragraph: etree._Element) -> str:
    return "".join(text.text or "" for text in paragraph.iter(qn("a:t")))
