"""The environment holds what requirements/clients.txt says, and nothing that fills a disk."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "clients.txt"
PINS = re.findall(r"^([\w-]+)==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("package", "pinned"), PINS)
def test_the_pinned_version_is_installed(package, pinned):
    assert version(package) == pinned


def test_torch_is_not_installed():
    with pytest.raises(PackageNotFoundError):
        version("torch")
