"""`gritlite train` without torch; tests/oracle/test_train_command.py trains."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from gritlite.cli.commands.train import command
from gritlite.cli.shared.advice import advised_message
from gritlite.errors import MissingExtraError, OutputExistsError


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("gritlite.train.run")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = CliRunner().invoke(command, ["recipe.toml", "-o", str(tmp_path / "run")])
    assert isinstance(result.exception, MissingExtraError)
    assert 'pip install "gritlite[train]"' in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_a_run_that_exists_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object, **__: object) -> None:
        raise OutputExistsError("run holds a run already")

    monkeypatch.setitem(sys.modules, "gritlite.train.run", SimpleNamespace(train=train))
    result = CliRunner().invoke(command, ["recipe.toml", "-o", str(tmp_path / "run")])
    assert isinstance(result.exception, OutputExistsError)
    assert advised_message(result.exception) == (
        "run holds a run already; pass --resume to continue it, or name another folder"
    )
