"""The picture of the default model's training."""

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch  # matplotlib comes with it
sys.path.append(str(Path(__file__).parents[2] / "recipes" / "default"))


def test_curves_are_drawn(tmp_path: Path) -> None:
    from curves import Curve, draw
    from matplotlib.image import imread

    rising = Curve("a measure", ((1.0, 0.5), (2.0, 0.6)), (("wanted", 0.7),))
    flat = Curve("another", ((1.0, 0.5),), ())
    draw([rising, flat, rising], tmp_path / "curves.png")
    image = imread(tmp_path / "curves.png")
    assert image[..., :3].std() > 0.05  # an empty picture is white
