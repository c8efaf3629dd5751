"""A tiny model in a process of its own, shared by the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gritlite import IsolatedGritLM


@pytest.fixture(scope="module")
def isolated(tiny_path: Path) -> Iterator[IsolatedGritLM]:
    """`tiny_path` loaded in another process, on one thread."""
    with IsolatedGritLM(tiny_path, threads=1) as model:
        yield model
