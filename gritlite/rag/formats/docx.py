"""DOCX, by python-docx: paragraphs, headings by their styles, and tables, a line for each row."""

import io
import zipfile
from collections.abc import Iterator

import docx
from docx.document import Document as WordDocument
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from docx.table import Table, _Cell, _Row

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document

_MAX_UNPACKED = 256 << 20
_CONTROL, _CONTENT = "w:sdt", "w:sdtContent"
_WRAPPERS = (_CONTROL, "w:ins", "w:moveTo", "w:smartTag")
_HEADING = "Heading "
_TITLE = "Title"
_OLE = b"\xd0\xcf\x11\xe0"  # the container format of encrypted files and of old .doc files


def parse(data: bytes) -> Document:
    """The paragraphs in reading order. Raises FormatError for a damaged or encrypted file."""
    if data.startswith(_OLE):
        raise FormatError("is encrypted, or a .doc file under another name: save it as plain .docx")
    try:
        _check_size(data)
        word = docx.Document(io.BytesIO(data))
        _unwrap(word)
        blocks = [block for block in _blocks(word) if block.text]
        title = (word.core_properties.title or "").strip()
    except (OpcError, zipfile.BadZipFile, KeyError, ValueError, SyntaxError) as error:
        raise FormatError(f"is damaged: {error}") from error
    return Document(title, tuple(blocks))


def _check_size(data: bytes) -> None:
    """Raise FormatError for an archive that declares an excessive unpacked size."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _MAX_UNPACKED:
        raise FormatError(
            f"unpacks to {size >> 20:,} MiB, more than the {_MAX_UNPACKED >> 20} MiB that are read"
        )


def _unwrap(word: WordDocument) -> None:
    """Replace content controls, insertions and smart tags by their contents.

    python-docx does not look into them.
    """
    for wrapper in list(word.element.body.iter(*map(qn, _WRAPPERS))):
        contents = wrapper.find(qn(_CONTENT)) if wrapper.tag == qn(_CONTROL) else wrapper
        for child in list(contents) if contents is not None else ():
            wrapper.addprevious(child)
        wrapper.getparent().remove(wrapper)


def _blocks(word: WordDocument) -> Iterator[Block]:
    for part in word.iter_inner_content():
        if isinstance(part, Table):
            yield Block(_lines(part))
        else:
            style = part.style.name if part.style is not None and part.style.name else ""
            yield Block(part.text.strip(), level=_level(style))


def _lines(table: Table) -> str:
    return "\n".join(filter(None, map(_line, table.rows)))


def _line(row: _Row) -> str:
    """A row of a table; a cell that spans several columns, and is listed for each, appears once."""
    cells = {cell._tc: cell for cell in row.cells}.values()
    return " | ".join(filter(None, map(_text, cells)))


def _text(cell: _Cell) -> str:
    parts = cell.iter_inner_content()
    texts = (_lines(part) if isinstance(part, Table) else part.text.strip() for part in parts)
    return "\n".join(filter(None, texts))


def _level(style: str) -> int:
    if style == _TITLE:
        return 1
    number = style.removeprefix(_HEADING)
    return int(number) if style.startswith(_HEADING) and number.isdecimal() else 0
