"""`gritlite store`: info, verify and prune."""

import re

import pytest
from click.testing import CliRunner

from gritlite import GritLM
from gritlite.cli.commands import store
from gritlite.errors import FileError
from gritlite.rag.store import Store
from tests.cli.in_process import index


def run(*arguments):
    """Run `gritlite store` in this process; errors are raised here."""
    result = CliRunner().invoke(store.command, list(arguments), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.stdout


def test_a_store_with_states_from_its_making_to_its_pruning(tiny_path, folder):
    options = ("--states", "q8_0", "--states-budget", "1GiB")
    made = index(tiny_path, "notes", "--store", "a.grit", *options)
    assert re.search(r"about 1 s, 0\.\d MiB of states", made.stderr)
    shown = dict(line.split("  ", 1) for line in run("info", "a.grit").splitlines())
    shown = {label: text.strip() for label, text in shown.items()}
    assert shown["documents"] == "3"
    assert re.fullmatch(r"4, \d+ tokens \(limit \d+ each\)", shown["chunks"])
    assert shown["vectors"] == "float32"
    assert re.fullmatch(r"4, q8_0, 0\.\d MiB of 1\.00 GiB", shown["states"])
    assert run("verify", "a.grit") == "a.grit: intact\n"
    next((folder.parent / "a.grit.states").rglob("*.kv")).unlink()
    result = CliRunner().invoke(store.command, ["verify", "a.grit"])
    assert (result.exit_code, result.stdout.count("missing")) == (1, 1)
    assert run("prune", "a.grit", "--states", "0") == "a.grit: 4 states removed\n"
    with pytest.raises(FileError, match="does not exist"):
        run("info", "none.grit")


def test_what_is_not_embedded_yet_is_reported(tiny_path, folder):
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as opened:
        opened.scan(folder)
    assert "3 documents: run `gritlite index` again" in run("info", "a.grit")
