"""Draw the table of docs/training.md that has each measure after each piece of the training.

    python recipes/default/curves.py -o docs/learning.png

One panel a measure, over the tokens trained on. Dotted lines are what was wanted and what
all-MiniLM-L6-v2 has. The base's figures, at no tokens, would flatten every curve and are left out.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from gritlite.errors import FormatError, GritLiteError
from gritlite.system.files import atomic_write

DOCS = Path(__file__).parents[2] / "docs/training.md"
HEAD = "million tokens"  # of the table's first column
LINES = ("wanted", "all-MiniLM-L6-v2")
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Curve:
    """A measure after so many million tokens, in `points`; `lines` has what it is compared with."""

    measure: str
    points: tuple[tuple[float, float], ...]
    lines: tuple[tuple[str, float], ...]


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="the PNG to write")
    options = parser.parse_args()
    try:
        draw(read_curves(DOCS.read_text(encoding="utf-8")), options.output)
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def read_curves(page: str) -> list[Curve]:
    """Read the page's table. Raises FormatError if it has none."""
    lines = page.splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith(f"| {HEAD} |")]
    if not begins:
        raise FormatError(f"the page has no table whose first column is {HEAD!r}")
    table = takewhile(lambda line: line.startswith("|"), lines[begins[0] :])
    head, _, *rows = map(_cells, table)
    return [
        Curve(measure, tuple(_points(rows, column)), tuple(_lines(rows, column)))
        for column, measure in enumerate(head)
        if column
    ]


def draw(curves: list[Curve], path: Path) -> None:
    """Write the curves to a PNG."""
    from matplotlib.figure import Figure

    rows = -(-len(curves) // 2)
    figure = Figure(figsize=(9, 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, sharex=True).flatten()
    for panel in panels[len(curves) :]:
        panel.remove()
    for panel, curve in zip(panels, curves, strict=False):
        panel.plot(*zip(*curve.points, strict=True), "o-", markersize=4)
        for number, (name, value) in enumerate(curve.lines):
            panel.axhline(value, linestyle=":", color=f"C{number + 1}", label=name)
        panel.set_title(curve.measure, fontsize=9)
        panel.grid(alpha=0.3)
        if curve.lines:
            panel.legend(fontsize=7)
    figure.supxlabel("million tokens", fontsize=9)
    with atomic_write(path, force=True) as file:
        figure.savefig(file, format="png", dpi=110)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("`", "").strip().strip("|").split("|")]


def _points(rows: Iterable[list[str]], column: int) -> Iterator[tuple[float, float]]:
    """The measure after each piece; a row of "the same" model has the tokens of the row before."""
    tokens = 0.0
    for name, *values in rows:
        said, value = _NUMBER.match(name), _NUMBER.match(values[column - 1])
        if name in LINES:
            continue
        tokens = float(said[0]) if said else tokens
        if tokens and value:
            yield tokens, float(value[0])


def _lines(rows: Iterable[list[str]], column: int) -> Iterator[tuple[str, float]]:
    for name, *values in rows:
        value = _NUMBER.fullmatch(values[column - 1])
        if name in LINES and value:
            yield name, float(value[0])


if __name__ == "__main__":
    main()
