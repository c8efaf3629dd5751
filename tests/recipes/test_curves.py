"""The table of the default model's training, as it is drawn."""

import pytest
from curves import DOCS, Curve, read_curves

from gritlite import FormatError

PAGE = """
| other | table |
|---|---|
| 1 | 2 |

| million tokens | STS, Spearman | exact match (`doc`) |
|---|---|---|
| 0 | 0.166 | 0.001 |
| 1.08 | 0.811 | 0.374 |
| 5.22, the mean | 0.815 | |
| the same, with its projection | 0.817 | 0.447 of 300 |
| all-MiniLM-L6-v2 | 0.820 | |
| wanted | 0.83 | within 3 points |

| 7 | 0.9 | 0.9 |
"""


def test_a_table_gives_a_curve_for_each_measure() -> None:
    assert read_curves(PAGE) == [
        Curve(
            "STS, Spearman",
            ((1.08, 0.811), (5.22, 0.815), (5.22, 0.817)),
            (("all-MiniLM-L6-v2", 0.820), ("wanted", 0.83)),
        ),
        Curve("exact match (doc)", ((1.08, 0.374), (5.22, 0.447)), ()),
    ]


def test_the_table_of_the_docs_is_read() -> None:
    curves = read_curves(DOCS.read_text(encoding="utf-8"))
    assert len(curves) == 7
    assert all(curve.points[0][0] == 1.08 and len(curve.points) >= 4 for curve in curves)


def test_a_page_without_the_table_is_refused() -> None:
    with pytest.raises(FormatError, match="million tokens"):
        read_curves("| other |\n|---|\n| 1 |\n")
