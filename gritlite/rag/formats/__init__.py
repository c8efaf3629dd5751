"""The formats of documents: bytes in, a `Document` out, one module for each format.

The libraries that parse them see files from anywhere, so only the child process
`gritlite.rag.reader_child` calls them.
"""

import importlib
import re
from dataclasses import replace

from gritlite.rag.document import Document

FORMATS = {
    ".txt": "plain",
    ".text": "plain",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
}

_SOFT_HYPHEN = re.compile("\u00ad(?:[ \t]*\n[ \t]*)?")
_LINE_ENDS = "\x0b\x0c\r\x85\u2028\u2029"
_CONTROL: dict[int, str | None] = {
    **{code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"},
    **dict.fromkeys(map(ord, _LINE_ENDS), "\n"),
}


def parse(data: bytes, suffix: str) -> Document:
    """Parse the bytes of a file; `suffix` is a key of FORMATS.

    Raises FormatError for bytes that are not of that format, and MissingExtraError.
    """
    parser = importlib.import_module(f"{__name__}.{FORMATS[suffix]}")
    document: Document = parser.parse(data)
    blocks = (replace(block, text=clean(block.text)) for block in document.blocks)
    return replace(
        document,
        title=clean(document.title),
        blocks=tuple(block for block in blocks if block.text.strip()),
    )


def clean(text: str) -> str:
    """Join words at soft hyphens, and remove control characters but tabs and newlines."""
    return _SOFT_HYPHEN.sub("", text).translate(_CONTROL)
