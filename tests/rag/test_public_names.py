"""The public names of `gritlite.rag`: complete, and imported when they are first used."""

import subprocess
import sys

import pytest

from gritlite import MissingExtraError, rag
from gritlite.rag import extra


def test_every_public_name_can_be_imported():
    assert sorted(rag.__all__) == rag.__all__
    for name in rag.__all__:
        assert getattr(rag, name).__name__ == name
    assert set(rag.__all__) <= set(dir(rag))


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rag.nothing  # noqa: B018


def test_the_import_alone_loads_nothing():
    code = "import gritlite.rag, sys; sys.exit('numpy' in sys.modules or 'sqlite3' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("call", [rag.verify, rag.prune])
def test_what_needs_the_extra_says_so(monkeypatch, tmp_path, call):
    monkeypatch.setattr(extra, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "gritlite\[rag\]"'):
        call(tmp_path / "a.grit")
