"""PDF, by PDFium: the text layer of each page, its comments and filled-in form fields.

Pages without text and attached files are told.
"""

import contextlib
import ctypes
import re
from collections.abc import Callable, Iterator

import pypdfium2
import pypdfium2.raw as pdfium

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.rag.formats.pdf_page import page_text

# PDFium's characters for a hyphen at a line break, by either of its functions
_BROKEN_WORD = re.compile("[\x02\ufffe]\\s*")
# a line break at the edge of the page; after one of these marks it may end a paragraph
_BROKEN_LINE = re.compile(r"(?<![.!?:])\s*\n")
_PASSWORD = 4  # FPDF_ERR_PASSWORD
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
    """The text of a page, with broken words and most wrapped lines joined, and its comments."""
    with contextlib.closing(pdf[number]) as page:
        text = page_text(pdf, number)
        text = _BROKEN_WORD.sub("", text).replace("\r\n", "\n")
        text = _BROKEN_LINE.sub(" ", text).strip()
        return "\n\n".join(filter(None, [text, *_annotations(pdf.formenv, page)]))


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
