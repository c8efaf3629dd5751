"""PDF, by PDFium: the text layer of each page, its comments and filled-in form fields.

Pages without text and attached files are told.
"""

import contextlib
import ctypes
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pypdfium2
import pypdfium2.raw as pdfium

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.rag.formats.pdf_columns import Box, regions

# PDFium's characters for a hyphen at a line break, by either of its functions
_BROKEN_WORD = re.compile("[\x02\ufffe]\\s*")
# a line break at the edge of the page; after one of these marks it may end a paragraph
_BROKEN_LINE = re.compile(r"(?<![.!?:])\s*\n")
_PASSWORD = 4  # FPDF_ERR_PASSWORD
_MARGIN = 1.0  # points around a region of a page
_SAMPLE = 100  # characters of a page
_MAX_BOXES = 5000  # of a page whose columns are looked for
_WRITTEN_FIELDS = (
    pdfium.FPDF_FORMFIELD_TEXTFIELD,
    pdfium.FPDF_FORMFIELD_COMBOBOX,
    pdfium.FPDF_FORMFIELD_LISTBOX,
)


def parse(data: bytes, _options: ReadingOptions) -> Document:
    """A block for each page. Raises FormatError for a damaged, encrypted or textless file."""
    try:
        with pypdfium2.PdfDocument(data) as pdf:
            pdf.init_forms()
            title = pdf.get_metadata_value("Title").strip()
            pages = [_text(pdf, number) for number in range(len(pdf))]
            attached = pdf.count_attachments()
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD:
            raise FormatError("is encrypted: save a copy without a password") from error
        raise FormatError(f"is damaged: {error}") from error
    blocks = tuple(Block(text, f"page {number}") for number, text in enumerate(pages, 1) if text)
    if not blocks:
        raise FormatError(
            f"has no text in its {len(pages)} pages: if they are scanned, run text "
            "recognition (such as ocrmypdf) on it first"
        )
    empty = [str(number) for number, text in enumerate(pages, 1) if not text]
    notes = [f"no text on page {', '.join(empty)}"] if empty else []
    notes += [f"{attached} attached files were not read"] if attached else []
    return Document(title, blocks, tuple(notes))


def _text(pdf: pypdfium2.PdfDocument, number: int) -> str:
    """The text of a page, with broken words and most wrapped lines joined."""
    with contextlib.closing(pdf[number]) as page:
        page.set_rotation(0)
        box = _turn_upright(page)
        text = _in_reading_order(page.get_textpage(), box)
        text = _BROKEN_WORD.sub("", text).replace("\r\n", "\n")
        text = _BROKEN_LINE.sub(" ", text).strip()
        return "\n\n".join(filter(None, [text, *_annotations(pdf.formenv, page)]))


def _turn_upright(page: pypdfium2.PdfPage) -> Box:
    """Turn the contents so that most text is horizontal; return the box they are then in.

    PDFium would put turned lines in the wrong order, and join the words of two lines.
    """
    left, bottom, right, top = page.get_bbox()
    turns = -_quarter_turns(page.get_textpage())
    if turns:
        x, y = (left + right) / 2, (bottom + top) / 2
        matrix = pypdfium2.PdfMatrix().translate(-x, -y).rotate(90 * turns).translate(x, y)
        for item in page.get_objects(max_depth=1):
            item.transform(matrix)
        left, bottom, right, top = matrix.on_rect(left, bottom, right, top)
    return Box(left, bottom, right, top)


def _quarter_turns(page: pypdfium2.PdfTextPage) -> int:
    """By how many quarters most of the text is turned clockwise, 0 to 3."""
    count = page.count_chars()
    turns = Counter(
        round(pdfium.FPDFText_GetCharAngle(page, index) / (math.pi / 2)) % 4
        for index in range(0, count, count // _SAMPLE + 1)
    )
    return turns.most_common(1)[0][0] if turns else 0


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


def _annotations(forms: pypdfium2.PdfFormEnv | None, page: pypdfium2.PdfPage) -> Iterator[str]:
    """The comments of a page, and the values of its form fields."""
    for index in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, index)
        try:
            if pdfium.FPDFAnnot_GetSubtype(annotation) != pdfium.FPDF_ANNOT_WIDGET:
                yield _string(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents")
            elif forms and pdfium.FPDFAnnot_GetFormFieldType(forms, annotation) in _WRITTEN_FIELDS:
                yield _string(pdfium.FPDFAnnot_GetFormFieldValue, forms, annotation)
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _string(function: Callable[..., int], *arguments: object) -> str:
    """The string that a function of PDFium writes into a buffer, as UTF-16 with a final NUL."""
    size = function(*arguments, None, 0)
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    function(*arguments, buffer, size)
    return bytes(buffer)[:size].decode("utf-16-le", "replace").rstrip("\0").strip()
