"""What `convert` and `quantize` share."""

import sys
import time

from gritlite.cli.shared.conversion import TYPES
from gritlite.cli.shared.progress import conversion_bar
from gritlite.convert import ConversionProgress
from gritlite.quant.types import TARGETS


def test_types_are_the_targets():
    assert tuple(TARGETS) == TYPES


def test_a_conversion_counts_tensors_and_bytes(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with conversion_bar() as show:
        show(ConversionProgress("a", 1, 2, 1 << 20, 4 << 20))
        time.sleep(0.2)  # tqdm draws ten times a second
        show(ConversionProgress("b", 2, 2, 4 << 20, 4 << 20))
    err = capsys.readouterr().err
    assert "tensor 2/2" in err
    assert "4.00M/4.00M" in err
