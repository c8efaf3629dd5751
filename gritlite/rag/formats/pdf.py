"""PDF, by PDFium: the text layer of each page, and a warning about pages without one."""

import re

import pypdfium2

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document

# PDFium's characters for a hyphen at a line break, by either of its functions
_BROKEN_WORD = re.compile("[\x02\ufffe]\\s*")
# a line break at the edge of the page; after one of these marks it may end a paragraph
_BROKEN_LINE = re.compile(r"(?<![.!?:])\s*\n")
_PASSWORD = 4  # FPDF_ERR_PASSWORD


def parse(data: bytes) -> Document:
    """A block for each page. Raises FormatError for a damaged, encrypted or textless file."""
    try:
        with pypdfium2.PdfDocument(data) as pdf:
            title = pdf.get_metadata_value("Title").strip()
            pages = [_text(page) for page in pdf]
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD:
            raise FormatError("is encrypted: save a copy without a password") from error
        raise FormatError(f"is damaged: {error}") from error
    blocks = tuple(
        Block(text, f"page {number}") for number, text in enumerate(pages, 1) if text.strip()
    )
    if not blocks:
        raise FormatError(
            f"has no text in its {len(pages)} pages: if they are scanned, run text "
            "recognition (such as ocrmypdf) on it first"
        )
    empty = [str(number) for number, text in enumerate(pages, 1) if not text.strip()]
    return Document(title, blocks, f"no text on page {', '.join(empty)}" if empty else "")


def _text(page: pypdfium2.PdfPage) -> str:
    """The text of a page, with broken words and most wrapped lines joined."""
    text = page.get_textpage().get_text_bounded()
    page.close()
    text = _BROKEN_WORD.sub("", text).replace("\r\n", "\n")
    return _BROKEN_LINE.sub(" ", text).strip()
