"""The formats of documents: bytes in, a `Document` out, one module for each format.

The libraries that parse them see files from anywhere, so only the child process
`gritlite.rag.reader_child` calls them.
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
    """Parse the bytes of a file; `suffix` is a key of FORMATS.

    Raises FormatError for bytes that are not of that format, and MissingExtraError.
    """
    parser = importlib.import_module(f"{__name__}.{FORMATS[suffix]}")
    document: Document = parser.parse(data)
    return document
