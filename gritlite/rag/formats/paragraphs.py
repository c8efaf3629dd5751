"""The paragraphs of a plain text, between blank lines."""

from collections.abc import Iterator

from gritlite.rag.document import Block

_WRAPPED = 40  # characters; if all lines but the last are longer, an editor wrapped them


def paragraphs(text: str) -> Iterator[Block]:
    """The paragraphs of a text, and the line at which each begins."""
    lines: list[str] = []
    start = 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            if not lines:
                start = number
            lines.append(line.rstrip())
        elif lines:
            joined = " ".join(map(str.strip, lines)) if _is_wrapped(lines) else "\n".join(lines)
            yield Block(joined, f"line {start}")
            lines = []


def _is_wrapped(lines: list[str]) -> bool:
    """Whether they are one paragraph. Lines that are indented differently are code or a list."""
    indentations = {len(line) - len(line.lstrip()) for line in lines[1:]}
    return len(indentations) < 2 and all(len(line) > _WRAPPED for line in lines[:-1])
