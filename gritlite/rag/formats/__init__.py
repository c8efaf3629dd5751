"""The formats of documents: bytes in, a `Document` out, one module for each format.

The libraries that parse them see files from anywhere, so only the child process
`gritlite.rag.reader_child` calls them.
"""

import importlib
import re
import unicodedata
from dataclasses import replace

from gritlite.rag.document import Document, ReadingOptions

READER = 2  # raised when any format is read, or documents are cut, differently

FORMATS = {
    ".txt": "plain",
    ".text": "plain",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "xhtml",
    ".pdf": "pdf",
    ".docx": "docx",
}
TEXT_FORMATS = [suffix for suffix, name in FORMATS.items() if name not in ("pdf", "docx")]

_DEFAULT = ReadingOptions()

_SOFT_HYPHEN = re.compile("\u00ad(?:[ \t]*\n[ \t]*)?")
_LINE_ENDS = "\x0b\x0c\r\x85\u2028\u2029"
_INVISIBLE = "\u2060\ufeff"  # they only forbid a line break
_REMOVED: dict[int, str | None] = {
    **{code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"},
    **dict.fromkeys(map(ord, _INVISIBLE)),
    **dict.fromkeys(map(ord, _LINE_ENDS), "\n"),
}
_LIGATURES = re.compile("[\ufb00-\ufdff\ufe70-\ufefc]+")  # and shapes of Hebrew and Arabic letters

# titles that programs make up, and names of files
_NO_TITLE = re.compile(
    r"(?:untitled|unnamed|no title)(?:[ _-]?(?:document|page|presentation|spreadsheet)?[ _-]?\d*)?"
    r"|(?:new page|document|slide|presentation) ?\d*|powerpoint presentation"
    r"|microsoft (?:word|powerpoint|excel) - .*"
    r"|\S+\.(?:txt|html?|pdf|tex|ps|eps)|.*\.(?:docx?|dotx?|odt|rtf|pptx?|xlsx?|dvi|indd|qxd)",
    re.IGNORECASE,
)


def parse(data: bytes, suffix: str, options: ReadingOptions = _DEFAULT) -> Document:
    """Parse the bytes of a file; `suffix` is a key of FORMATS.

    Raises FormatError for bytes that are not of that format, and MissingExtraError.
    """
    parser = importlib.import_module(f"{__name__}.{FORMATS[suffix]}")
    document: Document = parser.parse(data, options)
    blocks = (replace(block, text=clean(block.text)) for block in document.blocks)
    return replace(
        document,
        title=_clean_title(document.title),
        blocks=tuple(block for block in blocks if block.text.strip()),
    )


def clean(text: str) -> str:
    """Make words findable as they are typed, and remove control characters.

    Soft hyphens join their word, ligatures become letters (\ufb01: fi), and a letter and its
    accent one character (Unicode NFC). Tabs and newlines stay.
    """
    text = _SOFT_HYPHEN.sub("", text).translate(_REMOVED)
    text = _LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return unicodedata.normalize("NFC", text)


def _clean_title(title: str) -> str:
    """The title in one line; empty where a program made it up ("Microsoft Word - x.doc")."""
    title = " ".join(clean(title).split())
    return "" if _NO_TITLE.fullmatch(title) else title
