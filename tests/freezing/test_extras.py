"""The packages of an extra."""

import pytest

from gritlite.cli.commands.doctor_extras import EXTRAS
from gritlite.freezing.extras import packages


@pytest.mark.parametrize("extra", ["rag", "serve"])
def test_they_are_those_that_doctor_looks_up(extra):
    assert packages(extra) == [each.partition(">=")[0] for each in EXTRAS[extra]]


def test_no_extra_has_those_that_are_always_installed():
    assert "numpy" not in packages("rag")
    assert packages("nonsense") == []
