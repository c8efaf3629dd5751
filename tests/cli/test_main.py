"""The table of commands: fast, and in agreement with the commands."""

import importlib
import json
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gritlite import __version__
from gritlite.cli import commands
from gritlite.cli.main import COMMANDS, cli

HEAVY = (
    "numpy",
    "llama_cpp",
    "gguf",
    "jinja2",
    "tqdm",
    "huggingface_hub",
    "sentencepiece",
    "prompt_toolkit",
    "wcwidth",
)
MEASURED = """
import json, resource, sys
sys.argv = ["gritlite", "--help"]
from gritlite.cli.main import main
try:
    main()
except SystemExit as end:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([end.code, used.ru_utime + used.ru_stime, list(sys.modules)]), file=sys.stderr)
"""


def measure():
    child = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True
    )
    return json.loads(child.stderr)


def test_help_is_quick_and_imports_nothing_heavy():
    runs = [measure() for _ in range(5)]
    assert {status for status, _, _ in runs} == {0}
    assert statistics.median(seconds for _, seconds, _ in runs) < 0.2
    loaded = {module.partition(".")[0] for module in runs[0][2]}
    assert loaded.isdisjoint(HEAVY)
    commands = {f"gritlite.cli.commands.{name}" for name in COMMANDS}
    assert commands.isdisjoint(runs[0][2])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name):
    command = importlib.import_module(f"gritlite.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200) == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(name):
    code = (
        f"import sys, gritlite.cli.commands.{name} as module\n"
        f"sys.exit(repr([name for name in {HEAVY!r} if name in sys.modules] or ''))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert child.stderr.strip() == "''"


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        (["quantise"], "quantize"),
        (["store", "inof"], "info"),
        (["chat", "--modle", "x"], "--model"),
    ],
)
def test_a_mistyped_name_gets_a_suggestion(mistyped, meant):
    with pytest.raises(click.UsageError) as caught:
        cli.main(mistyped, prog_name="gritlite", standalone_mode=False)
    assert f"Did you mean '{meant}'?" in caught.value.format_message()


@pytest.mark.parametrize(
    ("mistyped", "said"),
    [
        (["quantize", "a", "b", "--type", "q4_km"], "Did you mean 'q4_k_m'?"),
        (["index", "a", "--store", "b", "--vectors", "flat32"], "Did you mean 'float32'?"),
        (["search", "a", "--store", "b", "--by", "xyz"], "is not one of 'hybrid', 'vectors'"),
    ],
)
def test_a_mistyped_value_gets_a_suggestion(mistyped, said):
    with pytest.raises(click.BadParameter) as caught:
        cli.main(mistyped, prog_name="gritlite", standalone_mode=False)
    assert said in caught.value.format_message()


def test_no_command_uses_a_choice_that_suggests_nothing():
    for path in Path(commands.__file__).parent.parent.rglob("*.py"):
        if path.name != "choice.py":
            assert "click.Choice" not in path.read_text(encoding="utf-8"), path


def test_version():
    assert __version__ in CliRunner().invoke(cli, ["--version"]).stdout


def test_python_dash_m():
    command = [sys.executable, "-m", "gritlite", "--version"]
    assert __version__ in subprocess.run(command, capture_output=True, text=True, check=True).stdout


INTERRUPTED = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupt())
from gritlite.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module",
    ["gritlite.cli.main", "click", "gritlite.cli.commands.inspect", "gritlite.modelfile", "numpy"],
)
def test_ctrl_c_during_any_import_is_one_line(module, model):
    command = [sys.executable, "-c", INTERRUPTED, module, "inspect", str(model)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (130, "\ngritlite: interrupted\n")


def test_an_ignored_ctrl_c_stays_ignored(model):
    """As in a shell's background job."""
    child = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "click", "inspect", str(model)],
        capture_output=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert child.returncode == 0
