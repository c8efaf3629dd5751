"""A document that was read from a file: a title and blocks of text in reading order."""

from dataclasses import dataclass

from gritlite.errors import UsageError


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

    `notes` say what the file holds that was not read, and what was guessed.
    """

    title: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadingOptions:
    """How documents are read.

    `encoding` is that of text files that are not Unicode and do not declare one; empty, it is
    detected. `main_text` leaves out the navigation, headers and footers of web pages.
    """

    encoding: str = ""
    main_text: bool = False


def check_encoding(name: str) -> None:
    """Raise UsageError unless a name is empty or Python's for an encoding of text."""
    try:
        b"text".decode(name or "utf-8")
    except UnicodeDecodeError:
        return  # an encoding that has no such bytes
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"the encoding {name!r} is unknown: expected a name such as cp1252, shift_jis or koi8-r"
        ) from error
