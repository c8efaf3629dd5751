"""Plain text: paragraphs between blank lines."""

from gritlite.rag.document import Document, ReadingOptions
from gritlite.rag.formats.encoding import decode
from gritlite.rag.formats.paragraphs import paragraphs


def parse(data: bytes, options: ReadingOptions) -> Document:
    """The paragraphs of a text. Raises FormatError for bytes in no known encoding."""
    decoded = decode(data, options.encoding)
    blocks = tuple(paragraphs(decoded.text))
    return Document("", blocks, (decoded.note,) if decoded.note else ())
