"""Plain text: paragraphs between blank lines."""

from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.rag.formats.encoding import decode

_WRAPPED = 40  # characters; if all lines but the last are longer, an editor wrapped them


def parse(data: bytes, options: ReadingOptions) -> Document:
    """The paragraphs of a text. Raises FormatError for bytes in no known encoding."""
    decoded = decode(data, options.encoding)
    blocks: list[Block] = []
    lines: list[str] = []
    start = 1
    for number, line in enumerate([*decoded.text.splitlines(), ""], 1):
        if line.strip():
            if not lines:
                start = number
            lines.append(line.rstrip())
        elif lines:
            text = " ".join(map(str.strip, lines)) if _is_wrapped(lines) else "\n".join(lines)
            blocks.append(Block(text, f"line {start}"))
            lines = []
    return Document("", tuple(blocks), (decoded.note,) if decoded.note else ())


def _is_wrapped(lines: list[str]) -> bool:
    """Whether they are one paragraph. Lines that are indented differently are code or a list."""
    indentations = {len(line) - len(line.lstrip()) for line in lines[1:]}
    return len(indentations) < 2 and all(len(line) > _WRAPPED for line in lines[:-1])
