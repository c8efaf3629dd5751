"""Write a comparison as a self-contained HTML page: verdicts, a table, and plots in SVG."""

import html
import math
from collections.abc import Sequence
from pathlib import Path

from gritlite.eval.fidelity.results import MEASURES, Comparison
from gritlite.system.files import atomic_write
from gritlite.system.wording import counted
from gritlite.version import __version__

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 12, 28  # margins
_SMALLEST_LOSS = 1e-7  # of a plot: zero has no logarithm
_COLOURS = ("#0b6e99", "#b5460f", "#3a7d34", "#7b4a9e", "#a07900", "#ad2d5c", "#3d5a80", "#6b6b6b")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem;
    padding: 0 1rem; color: #222; background: #fff }
h1, .box th, td:first-child, figure div { overflow-wrap: anywhere }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
.verdicts { font-size: 1.1em }
.box { overflow-x: auto; border: 1px solid #ddd }
.box td + td { white-space: nowrap }
.box th { min-width: 6rem; max-width: 9rem; vertical-align: bottom }
.box th:first-child, .box td:first-child { position: sticky; left: 0; background: #fff }
figure { display: inline-block; margin: 1rem 1rem 0 0; max-width: 100% }
svg { max-width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: #444 }
"""


def write_html(comparison: Comparison, path: Path, *, force: bool) -> None:
    """Write the page. Raises FileError if it cannot be written, OutputExistsError."""
    with atomic_write(path, force=force) as file:
        file.write(_page(comparison).encode("utf-8"))


def _page(comparison: Comparison) -> str:
    candidates = comparison.candidates
    names = [row.file for row in candidates]
    sizes = [(row.values["bytes"] or 0) / 2**20 for row in candidates]
    embed = [1 - (row.values["cosine"] or 0) for row in candidates]
    generate = [row.values["kl"] or 0 for row in candidates]
    title = f"Files beside {html.escape(comparison.reference.file)}"
    return "\n".join(
        (
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            _verdicts(comparison),
            f"<p>Measured by gritlite {__version__} on {counted(comparison.documents, 'text')} to "
            f"embed and {counted(comparison.tokens, 'token')} to predict. Speeds are of one run on "
            "one machine.</p>",
            f'<div class="box">{_table(comparison)}</div>',
            _points("Embedding: 1 - cosine by size in MiB", sizes, embed, names),
            _points("Generation: KL divergence by size in MiB", sizes, generate, names),
            _lines("Embedding: 1 - cosine by layer", [r.embed_layers for r in candidates], names),
            _lines(
                "Generation: 1 - cosine by layer", [r.generate_layers for r in candidates], names
            ),
            "</body></html>\n",
        )
    )


def _verdicts(comparison: Comparison) -> str:
    lines = [_cells("th", ["file", "embedding", "generation"])]
    for row in comparison.candidates:
        lines.append(_cells("td", [row.file, row.embed_verdict, row.generate_verdict]))
    return f'<table class="verdicts">{"".join(lines)}</table>'


def _table(comparison: Comparison) -> str:
    """A column for each file and a row for each measure."""
    rows = comparison.rows
    lines = [_cells("th", ["", *(row.file for row in rows)])]
    lines += [_cells("td", [each.label, *map(each.text, rows)]) for each in MEASURES]
    for task in comparison.reference.scores:
        lines.append(_cells("td", [task, *(f"{row.scores[task]:.4f}" for row in rows)]))
    return f"<table>{''.join(lines)}</table>"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"


def _points(
    title: str, sizes: Sequence[float], losses: Sequence[float], names: Sequence[str]
) -> str:
    """Plot one point per file: loss, on a logarithmic axis, against size."""
    room = 0.25 * (max(sizes) - min(sizes)) or 1.0  # for the names, on the right
    frame = _Frame((min(sizes) - room / 2, max(sizes) + 2 * room), losses)
    marks = []
    for number, (size, loss, name) in enumerate(zip(sizes, losses, names, strict=True)):
        x, y = frame.place(size, loss)
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_colour(number)}">'
            f"<title>{loss:.3g}</title></circle>"
            f'<text x="{x + 8:.1f}" y="{y + 4:.1f}">{html.escape(name)}</text>'
        )
    return _figure(title, [*frame.axes(), *marks])


def _lines(title: str, series: Sequence[Sequence[float]], names: Sequence[str]) -> str:
    """Plot one line per file: loss, on a logarithmic axis, against layer."""
    layers = max(len(losses) for losses in series)
    frame = _Frame((0, max(1, layers - 1)), [loss for losses in series for loss in losses])
    marks, keys = [], []
    for number, (losses, name) in enumerate(zip(series, names, strict=True)):
        places = [frame.place(layer, loss) for layer, loss in enumerate(losses)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        colour = _colour(number)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        keys.append(f'<span style="color:{colour}">&#9632; {html.escape(name)}</span>')
    return _figure(title, [*frame.axes(), *marks], " ".join(keys))


class _Frame:
    """A plot's area: x linear over `x_range`, y logarithmic over whole decades."""

    def __init__(self, x_range: tuple[float, float], ys: Sequence[float]) -> None:
        self._x_range = x_range
        exponents = [self._exponent(y) for y in ys]
        self._decades = (math.floor(min(exponents)), math.floor(max(exponents)) + 1)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Convert values to pixels."""
        low, high = self._x_range
        bottom, top = self._decades
        across = (x - low) / (high - low)
        up = (self._exponent(y) - bottom) / (top - bottom)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _BOTTOM - _TOP),
        )

    def axes(self) -> list[str]:
        """Draw a line and a label per decade, and label the ends of the x axis."""
        low, high = self._x_range
        marks = []
        for decade in range(self._decades[0], self._decades[1] + 1):
            x, y = self.place(low, 10.0**decade)
            marks.append(
                f'<line x1="{x:.1f}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                'stroke="#ddd"/>'
                f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>'
            )
        for value, anchor in ((low, "start"), (high, "end")):
            x, _ = self.place(value, 1.0)
            marks.append(
                f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{value:,.0f}</text>'
            )
        return marks

    @staticmethod
    def _exponent(y: float) -> float:
        return math.log10(max(y, _SMALLEST_LOSS))


def _figure(title: str, marks: Sequence[str], below: str = "") -> str:
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img">{"".join(marks)}</svg>'
        f"<div>{below}</div></figure>"
    )


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
