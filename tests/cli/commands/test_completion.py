"""Completion by Tab: what is offered, and how shells are set up."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from gritlite.cli.commands import completion
from gritlite.cli.main import COMMANDS, cli
from gritlite.errors import FileError, UsageError
from gritlite.system import cache


def completions(*words):
    """What Tab offers after `gritlite` and these words; the last one has been begun."""
    *before, begun = words
    return [
        (item.type, item.value)
        for item in ShellComplete(cli, {}, "gritlite", "").get_completions(before, begun)
    ]


def plain(*words):
    return [value for kind, value in completions(*words) if kind == "plain"]


@pytest.fixture
def pulled(cache_folder):
    path = cache.folder("hub") / "model.gguf"
    path.write_bytes(b"")
    cache.register("org/name", path)
    return "org/name"


@pytest.fixture
def home(cache_folder, tmp_path, monkeypatch):
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def install(shell):
    result = CliRunner().invoke(
        completion.command, [*shell, "--install"], standalone_mode=False, catch_exceptions=False
    )
    return result.stdout


def test_commands_and_options():
    assert plain("") == list(COMMANDS)
    assert plain("s") == ["search", "store", "serve"]
    assert plain("store", "ver") == ["verify"]
    assert "--model" in plain("chat", "--mo")
    assert plain("index", "--vectors", "i") == ["int8"]


@pytest.mark.parametrize(
    "words",
    [
        ["chat", "-m"],
        ["search", "a question", "--model"],
        ["inspect"],
        ["convert"],
        ["quantize"],
        ["calibrate"],
        ["compare"],
        ["compare", "a.gguf"],
        ["doctor"],
    ],
)
def test_models_are_pulled_ones_and_files(pulled, words):
    assert completions(*words, "or") == [("file", "or"), ("plain", pulled)]
    assert plain(*words, "x") == []


def test_pull_offers_the_catalog(pulled):
    assert completions("pull", "") == [("plain", "default"), ("plain", "base")]


@pytest.mark.parametrize("words", [["embed"], ["index"], ["store", "info"], ["embed", "-o"]])
def test_files(words):
    assert ("file", "no") in completions(*words, "no")


@pytest.mark.parametrize(
    ("shell", "file", "startup"),
    [
        ("bash", ".local/share/bash-completion/completions/gritlite", ".bashrc"),
        ("zsh", ".local/share/zsh/site-functions/_gritlite", ".zshrc"),
        ("fish", ".config/fish/completions/gritlite.fish", None),
    ],
)
def test_an_installation_is_told_and_done_once(home, shell, file, startup):
    if startup:
        (home / startup).write_text("PS1=x")  # without a line end
    first = install([shell])
    assert f"{home / file}: written" in first
    assert "_GRITLITE_COMPLETE" in (home / file).read_text()
    before = sorted((path, path.read_text()) for path in home.rglob("*") if path.is_file())
    second = install([shell])
    assert f"{home / file}: written before" in second
    assert before == sorted((path, path.read_text()) for path in home.rglob("*") if path.is_file())
    if startup:
        assert f"{home / startup}: a line added" in first
        kept, added = (home / startup).read_text().splitlines()
        assert kept == "PS1=x"
        assert str(home / file) in added
        assert "reads it already" in second


def test_the_folders_of_the_environment(home, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("ZDOTDIR", str(tmp_path / "z"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert completion.place_for("zsh").file == tmp_path / "data/zsh/site-functions/_gritlite"
    assert completion.place_for("zsh").startup == tmp_path / "z/.zshrc"
    assert completion.place_for("fish").file == home / ".config/fish/completions/gritlite.fish"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert completion.place_for("bash").startup == home / ".bash_profile"


def test_the_shell_is_the_users(home, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "New fish sessions" in install([])
    monkeypatch.setenv("SHELL", "/usr/bin/tcsh")
    with pytest.raises(UsageError, match=r"the shell is tcsh: name the one .*bash, zsh, fish"):
        install([])


def test_a_home_that_cannot_be_written(home):
    (home / ".config").write_text("a file")
    with pytest.raises(FileError, match=r"cannot create .*completions"):
        install(["fish"])


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_new_shell_completes(home, shell):
    """A child shell that reads its startup file has the completion; a broken script would fail."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    install([shell])
    ask = {
        "bash": "source ~/.bashrc; complete -p gritlite",
        "zsh": "source ~/.zshrc; print -r -- $_comps[gritlite]",
        "fish": "complete -c gritlite",
    }[shell]
    # fish loads a file of its folder when a command is completed
    ask = f"source {completion.place_for('fish').file}; {ask}" if shell == "fish" else ask
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "dumb"}
    done = subprocess.run(
        [shutil.which(shell), "-c", ask], env=environment, capture_output=True, text=True
    )
    assert "gritlite" in done.stdout, done.stderr


def test_bash_offers_what_gritlite_says(home, pulled):
    """The installed script, called as bash calls it at Tab."""
    bin_folder = home / "bin"
    bin_folder.mkdir()
    program = bin_folder / "gritlite"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gritlite "$@"\n')
    program.chmod(0o755)
    install(["bash"])
    ask = """
    source ~/.bashrc
    COMP_WORDS=(gritlite chat --model or)
    COMP_CWORD=3
    compopt() { :; }
    _gritlite_completion gritlite or --model
    echo "${COMPREPLY[@]}"
    """
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    done = subprocess.run(["bash", "-c", ask], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("org/name\n", "")
