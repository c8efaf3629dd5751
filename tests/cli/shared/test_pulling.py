"""A missing model: an error in a pipe, a question at a terminal, fetched where this is asked."""

from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from gritlite.cli.shared import pulling
from gritlite.cli.shared.pulling import locate_or_pull, pull_option
from gritlite.errors import FileError

QUESTION = (
    "The model default has not been pulled. "
    "Fetch it now (93 MB to download, 146 MB on the disk)? [y/N]: "
)


@click.command()
@click.argument("model", default="default")
@pull_option
def command(model):
    click.echo(locate_or_pull(model))


@pytest.fixture
def fetched(cache_folder, tmp_path, monkeypatch):
    """The names that were fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRITLITE_PULL", raising=False)
    names = []

    def fetch(name):
        names.append(name)
        return Path("fetched.gguf")

    monkeypatch.setattr(pulling, "fetch", fetch)
    return names


@pytest.fixture
def terminal(monkeypatch):
    """A terminal, as far as questions are concerned."""
    stream = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(pulling, "sys", SimpleNamespace(stdin=stream, stderr=stream))


def run(*arguments, typed=""):
    result = CliRunner().invoke(command, arguments, input=typed, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_in_a_pipe_it_is_an_error_that_names_the_command(fetched):
    with pytest.raises(FileError, match="has not been pulled: run  gritlite pull default"):
        run(typed="y\n")
    assert fetched == []


def test_a_terminal_is_asked(fetched, terminal):
    result = run(typed="y\n")
    assert result.stderr.startswith(QUESTION)
    assert result.stdout == "fetched.gguf\n"
    assert fetched == ["default"]


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_only_a_yes_fetches(fetched, terminal, typed):
    with pytest.raises(FileError, match="run  gritlite pull default"):
        run(typed=typed)
    assert fetched == []


@pytest.mark.parametrize("name", ["default", "base", "org/name", "org/name:file.gguf"])
def test_it_is_fetched_when_told(fetched, name, monkeypatch):
    run(name, "--pull")
    monkeypatch.setenv("GRITLITE_PULL", "1")
    assert run(name).stderr == ""
    assert fetched == [name, name]


def test_it_is_not_asked_when_told_not_to(fetched, terminal, monkeypatch):
    with pytest.raises(FileError, match="run  gritlite pull default"):
        run("--no-pull", typed="y\n")
    monkeypatch.setenv("GRITLITE_PULL", "0")
    with pytest.raises(FileError, match="run  gritlite pull default"):
        run(typed="y\n")
    assert fetched == []


@pytest.mark.parametrize("name", ["nothing", "folder/model.gguf", "folder/model", "./a/b"])
def test_a_mistyped_path_is_not_looked_up(fetched, name):
    Path("folder").mkdir()
    with pytest.raises(FileError):
        run(name, "--pull")
    assert fetched == []


def test_what_is_there_is_not_fetched(fetched):
    Path("model.gguf").touch()
    assert run("model.gguf", "--pull").stdout == "model.gguf\n"
    assert fetched == []
