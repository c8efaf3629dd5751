"""Aligned plain text for people."""

from collections.abc import Sequence

from gritlite.system.wording import printable

# a 7B model in 4 bits is a file of 4 GiB, and a system's monitor shows 8 GiB for it
MEMORY_NOTE = (
    "beside these",
    "the file's pages, which the system drops when it needs the memory: llama.cpp computes with a "
    "repacked copy of most weights, so a monitor may show them twice",
)


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """One line for each label and text, with the texts aligned."""
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {printable(text)}" for label, text in rows)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """A table of lines with the same number of cells.

    The first column is aligned left, the others right.
    """
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
    """A number of bytes in MiB or GiB."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
