"""Where a PDF draws two columns line by line, the order in which people read them.

PDFium gives text in the order in which the page draws it, which is mostly the reading order.
It is not where both columns' lines are drawn in turn. Tables are drawn so too: columns are
told from them by their lines, which are long and fill the column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median

_MIN_ROWS = 4  # with text in both columns
_MIN_LINE = 8  # widths of a line, in heights
_FILLED = 0.6  # of the widest line of a column, by the median line
_MIN_GUTTER = 0.5  # of the height of a line


@dataclass(frozen=True)
class Box:
    """A rectangle on a page, in points: y grows upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def widened(self, margin: float) -> "Box":
        """The box with a margin on all sides."""
        return Box(self.left - margin, self.bottom - margin, self.right + margin, self.top + margin)


def regions(boxes: Sequence[Box]) -> list[Box]:
    """The parts of a page in reading order, from the boxes of its text as they are drawn.

    One region, unless columns are drawn line by line.
    """
    return list(map(_around, _ordered(boxes)))


def _ordered(boxes: Sequence[Box]) -> Iterator[Sequence[Box]]:
    rows = _rows(boxes)
    gutter = _gutter(rows)
    if gutter is None:
        if boxes:
            yield boxes
        return
    for crosses, group in groupby(rows, lambda row: _crosses(row, gutter)):
        part = [box for row in group for box in row]
        if crosses:
            yield part
        else:
            yield from _ordered([box for box in part if box.right <= gutter])
            yield from _ordered([box for box in part if box.left >= gutter])


def _rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes that are drawn one after another at the same height."""
    rows: list[list[Box]] = []
    for box in boxes:
        middle = (box.bottom + box.top) / 2
        if rows and rows[-1][-1].bottom < middle < rows[-1][-1].top:
            rows[-1].append(box)
        else:
            rows.append([box])
    return rows


def _gutter(rows: Sequence[Sequence[Box]]) -> float | None:
    """The middle of the space between two columns that are drawn line by line, if any."""
    candidates = sorted(
        (before.right + after.left) / 2
        for row in rows
        for before, after in pairwise(row)
        if after.left - before.right > _MIN_GUTTER * (after.top - after.bottom)
    )
    found = median(candidates) if candidates else 0.0
    nearest = sorted(set(candidates), key=lambda each: abs(each - found))
    return next((each for each in nearest[:16] if _is_gutter(each, rows)), None)


def _is_gutter(x: float, rows: Sequence[Sequence[Box]]) -> bool:
    sides = [
        ([box for box in row if box.right <= x], [box for box in row if box.left >= x])
        for row in rows
        if not _crosses(row, x)
    ]
    both = [(_around(left), _around(right)) for left, right in sides if left and right]
    if len(both) < _MIN_ROWS:
        return False
    return all(_is_column([pair[side] for pair in both]) for side in (0, 1))


def _is_column(lines: Sequence[Box]) -> bool:
    widths = [line.right - line.left for line in lines]
    height = median(line.top - line.bottom for line in lines)
    return median(widths) > max(_FILLED * max(widths), _MIN_LINE * height)


def _crosses(row: Sequence[Box], x: float) -> bool:
    return any(box.left < x < box.right for box in row)


def _around(boxes: Sequence[Box]) -> Box:
    return Box(
        min(box.left for box in boxes),
        min(box.bottom for box in boxes),
        max(box.right for box in boxes),
        max(box.top for box in boxes),
    )
