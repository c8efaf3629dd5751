"""What a document is once it has been read: a title and blocks of text in reading order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A paragraph, or a heading of a `level` from 1; 0 is no heading.

    `place` says where in the file it begins ("line 12", "page 3"); empty where
    the format has no such places.
    """

    text: str
    place: str = ""
    level: int = 0


@dataclass(frozen=True)
class Document:
    """A document's own title, empty if it has none, and its blocks.

    `warning` says in words what of it could not be read, if anything.
    """

    title: str
    blocks: tuple[Block, ...]
    warning: str = ""
