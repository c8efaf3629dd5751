"""The formats of documents: bytes in, a `Document` out, each format in a module of its own.

The libraries that read them see files from anywhere, so this package is used in
the process of `gritlite.rag.reader_child` only.
"""

import importlib

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


def parse(data: bytes, suffix: str) -> Document:
    """The document of a file's bytes; `suffix` is a key of FORMATS.

    Raises FormatError for bytes that are not of that format, and MissingExtraError.
    """
    parser = importlib.import_module(f"{__name__}.{FORMATS[suffix]}")
    document: Document = parser.parse(data)
    return document
