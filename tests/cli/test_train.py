"""`gritlite train` where it cannot run; where it can, see tests/oracle/test_train_command.py."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gritlite.cli.commands.train import command
from gritlite.errors import MissingExtraError


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("gritlite.train.run")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = CliRunner().invoke(command, ["recipe.toml", "-o", str(tmp_path / "run")])
    assert isinstance(result.exception, MissingExtraError)
    assert 'pip install "gritlite[train]"' in str(result.exception)
    assert not (tmp_path / "run").exists()
