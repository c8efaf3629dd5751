"""A document that was read from a file: a title and blocks of text in reading order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A paragraph, or a heading with its `level` from 1; 0 is a paragraph.

    `place` says where in the file it begins ("line 12", "page 3"); it is empty for formats
    without lines or pages.
    """

    text: str
    place: str = ""
    level: int = 0


@dataclass(frozen=True)
class Document:
    """The title, empty if the document has none, and the blocks.

    `warning` says which parts could not be read, if any.
    """

    title: str
    blocks: tuple[Block, ...]
    warning: str = ""
