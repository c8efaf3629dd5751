"""Plain aligned text for people: labels on the left, facts on the right."""

from collections.abc import Sequence


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """One line a row, the second column aligned."""
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {printable(text)}" for label, text in rows)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of as many cells each: the first column aligned left, the others right."""
    cells = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if number else f"{cell:<{width}}"
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def size(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def printable(text: str) -> str:
    """The text with control characters escaped: a file's name must not drive the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
