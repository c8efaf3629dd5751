"""DOCX: what Word shows of a document, of the package that python-docx opens.

Headers and footers come first, once; footnotes, comments and text boxes after the
paragraph that they belong to. The numbers of lists and headings are not text in the file.
"""

import io
import zipfile
from collections.abc import Iterator

import docx
from docx.document import Document as WordDocument
from docx.opc.exceptions import OpcError
from docx.opc.part import Part
from docx.oxml.ns import qn
from lxml import etree

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.rag.formats.docx_styles import heading_levels
from gritlite.rag.formats.docx_text import MARGINS, TextReader, vanishes

_MAX_UNPACKED = 256 << 20
_OLE = b"\xd0\xcf\x11\xe0"  # the container format of encrypted files and of old .doc files
_STRICT = b"http://purl.oclc.org/ooxml/"  # its namespaces, which python-docx does not know
_RELATION = qn("r:id")
# ends of relationship types, which Word writes with two different beginnings
_NOTES = {"/footnotes": "w:footnote", "/endnotes": "w:endnote", "/comments": "w:comment"}
_DRAWINGS = ("/diagramData", "/chart")
_EMBEDDED = ("/aFChunk", "/oleObject", "/package")


def parse(data: bytes, _options: ReadingOptions) -> Document:
    """The paragraphs in reading order. Raises FormatError for a damaged or encrypted file."""
    if data.startswith(_OLE):
        raise FormatError("is encrypted, or a .doc file under another name: save it as plain .docx")
    try:
        _check_archive(data)
        word = docx.Document(io.BytesIO(data))
        title = (word.core_properties.title or "").strip()
        blocks = tuple(_blocks(word))
    except (OpcError, zipfile.BadZipFile, KeyError, ValueError, SyntaxError) as error:
        raise FormatError(f"is damaged: {error}") from error
    return Document(title, blocks, tuple(_notes(word.part)))


def _notes(part: Part) -> Iterator[str]:
    """What is left out, and what is not read."""
    runs = filter(vanishes, _xml(part).iter(qn("w:r")))
    texts = ("".join(text.text or "" for text in run.iter(qn("w:t"))) for run in runs)
    if hidden := sum(len(text.split()) for text in texts):
        yield f"{hidden:,} words of hidden text were left out"
    if embedded := len(list(_related(part, *_EMBEDDED))):
        yield f"{embedded} embedded files were not read"


def _check_archive(data: bytes) -> None:
    """Raise FormatError for an excessive unpacked size, and for the other kind of DOCX."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size <= _MAX_UNPACKED and _STRICT in archive.read("_rels/.rels"):
            raise FormatError(
                'is a "Strict Open XML" document: save it as an ordinary .docx document'
            )
    if size > _MAX_UNPACKED:
        raise FormatError(
            f"unpacks to {size >> 20:,} MiB, more than the {_MAX_UNPACKED >> 20} MiB that are read"
        )


def _blocks(word: WordDocument) -> Iterator[Block]:
    body = _xml(word.part)
    notes = {
        (tag, note.get(qn("w:id"), "")): note
        for end, tag in _NOTES.items()
        for _, part in _related(word.part, end)
        for note in _xml(part).iter(qn(tag))
    }
    drawings = {name: _xml(part) for name, part in _related(word.part, *_DRAWINGS)}
    levels = heading_levels(_without_entities(word.styles.element))
    reader = TextReader(levels, notes, drawings)
    margins = (
        "\n".join(block.text for block in reader.blocks(_xml(part)))
        for part in _headers_and_footers(word.part, body)
    )
    yield from (Block(text) for text in dict.fromkeys(margins) if text)
    yield from reader.blocks(body)


def _headers_and_footers(part: Part, body: etree._Element) -> Iterator[Part]:
    """Those of all sections, in order; several sections may share one."""
    names = (each.get(_RELATION) for each in body.iter(*map(qn, MARGINS)))
    return (part.rels[name].target_part for name in dict.fromkeys(names))


def _related(part: Part, *ends: str) -> Iterator[tuple[str, Part]]:
    """The id and part of each relationship within the file whose type has one of these ends."""
    for name, relation in part.rels.items():
        if relation.reltype.endswith(ends) and not relation.is_external:
            yield name, relation.target_part


def _xml(part: Part) -> etree._Element:
    """The root element of a part, which python-docx has parsed or not."""
    root = getattr(part, "element", None)
    if root is None:
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        root = etree.fromstring(part.blob, parser)
    return _without_entities(root)


def _without_entities(root: etree._Element) -> etree._Element:
    """Raise FormatError for XML that may hold entities; return the others' root.

    The Open Packaging Conventions (ECMA-376 part 2) forbid document type declarations. Text
    behind an entity would be lost, or expand without bounds.
    """
    if root.getroottree().docinfo.doctype:
        raise FormatError(
            "declares XML entities, which DOCX does not allow: save it again with a word processor"
        )
    return root
