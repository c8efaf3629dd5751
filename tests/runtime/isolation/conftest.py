"""A tiny model in a process of its own, shared by the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gritlite import IsolatedGritLM


@pytest.fixture(scope="module")
def shared_process(tiny_path: Path) -> Iterator[IsolatedGritLM]:
    """`tiny_path` loaded in another process, on one thread."""
    with IsolatedGritLM(tiny_path, threads=1) as model:
        yield model


@pytest.fixture
def isolated(shared_process: IsolatedGritLM) -> IsolatedGritLM:
    """The shared model without the chats of earlier tests.

    A prompt whose beginning is cached is read in other batches, which round in another way.
    """
    shared_process.clear_cache()
    return shared_process
