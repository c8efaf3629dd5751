"""The text of a PDF's page in reading order: lines in every direction, and columns.

PDFium orders horizontal lines as they are drawn. It puts turned lines in the wrong order and
joins the last word of one to the first of the next, so they are turned upright first.
"""

import contextlib
import math
from collections import Counter

import pypdfium2
import pypdfium2.raw as pdfium

from gritlite.rag.formats.pdf_columns import Box, regions

_MARGIN = 1.0  # points around a region of a page
_SAMPLE = 100  # characters of a page
_MAX_BOXES = 5000  # of a page whose columns are looked for


def page_text(pdf: pypdfium2.PdfDocument, number: int) -> str:
    """The text in the direction of most of it, then that in each other direction."""
    with contextlib.closing(pdf[number]) as page:
        page.set_rotation(0)
        main = _main_direction(page.get_textpage())
        drawn = Counter(map(_direction, _texts(page)))
        whole = _upright_text(page, main)
    others = [direction for direction, _ in drawn.most_common() if direction != main]
    if not others:
        return whole
    parts = [_text_in_direction(pdf, number, each, main) for each in (main, *others)]
    text = "\r\n".join(parts)
    return text if _letters(text) == _letters(whole) else whole


def _main_direction(page: pypdfium2.PdfTextPage) -> int:
    """By how many quarters most of the text is turned clockwise, 0 to 3."""
    count = page.count_chars()
    turns = Counter(
        round(pdfium.FPDFText_GetCharAngle(page, index) / (math.pi / 2)) % 4
        for index in range(0, count, count // _SAMPLE + 1)
    )
    return turns.most_common(1)[0][0] if turns else 0


def _texts(page: pypdfium2.PdfPage) -> list[pypdfium2.PdfObject]:
    return list(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_TEXT], max_depth=1))


def _direction(text: pypdfium2.PdfObject) -> int:
    matrix = text.get_matrix()
    return -round(math.atan2(matrix.b, matrix.a) / (math.pi / 2)) % 4


def _text_in_direction(pdf: pypdfium2.PdfDocument, number: int, direction: int, main: int) -> str:
    """The text that is drawn in a direction; what is not plain text belongs to the main one."""
    with contextlib.closing(pdf[number]) as page:
        page.set_rotation(0)
        for item in list(page.get_objects(max_depth=1)):
            if (_direction(item) if item.type == pdfium.FPDF_PAGEOBJ_TEXT else main) != direction:
                page.remove_obj(item)
        return _upright_text(page, direction)


def _upright_text(page: pypdfium2.PdfPage, direction: int) -> str:
    """Turn the contents so that a direction is horizontal, and read them."""
    left, bottom, right, top = page.get_bbox()
    if direction:
        x, y = (left + right) / 2, (bottom + top) / 2
        matrix = pypdfium2.PdfMatrix().translate(-x, -y).rotate(-90 * direction).translate(x, y)
        for item in page.get_objects(max_depth=1):
            item.transform(matrix)
        left, bottom, right, top = matrix.on_rect(left, bottom, right, top)
    return _in_reading_order(page.get_textpage(), Box(left, bottom, right, top))


def _in_reading_order(page: pypdfium2.PdfTextPage, whole: Box) -> str:
    text = _text_in(page, whole)
    count = page.count_rects()
    boxes = [Box(*page.get_rect(index)) for index in range(min(count, _MAX_BOXES))]
    parts = regions(boxes) if count <= _MAX_BOXES else []
    if len(parts) < 2:
        return text
    ordered = "\r\n".join(_text_in(page, part.widened(_MARGIN)) for part in parts)
    # letters between or in two regions would be lost or doubled
    return ordered if _letters(ordered) == _letters(text) else text


def _text_in(page: pypdfium2.PdfTextPage, box: Box) -> str:
    text: str = page.get_text_bounded(box.left, box.bottom, box.right, box.top)
    return text


def _letters(text: str) -> list[str]:
    return sorted("".join(text.split()))
