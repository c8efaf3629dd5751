"""Plain text: paragraphs between blank lines."""

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document

_WRAPPED = 40  # characters; if all lines but the last are longer, an editor wrapped them


def parse(data: bytes) -> Document:
    """The paragraphs of a text. Raises FormatError for bytes that are not UTF-8."""
    blocks: list[Block] = []
    lines: list[str] = []
    start = 1
    for number, line in enumerate([*decode(data).splitlines(), ""], 1):
        if line.strip():
            if not lines:
                start = number
            lines.append(line.rstrip())
        elif lines:
            wrapped = all(len(each) > _WRAPPED for each in lines[:-1])
            text = " ".join(map(str.strip, lines)) if wrapped else "\n".join(lines)
            blocks.append(Block(text, f"line {start}"))
            lines = []
    return Document("", tuple(blocks))


def decode(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 if the bytes start with its byte order mark. Raises FormatError."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(f"line {line} is not valid UTF-8: save it as UTF-8") from error
