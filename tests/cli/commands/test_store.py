"""`gritlite store`: info, verify and prune."""

import json
import re

import pytest
from click.testing import CliRunner

from gritlite import GritLM
from gritlite.cli.commands import store
from gritlite.errors import FileError
from gritlite.rag import maintenance
from gritlite.rag.store import Store
from tests.cli.in_process import index, search


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
    told = search(tiny_path, "inn", "--store", "a.grit")
    assert "3 documents of a.grit are not embedded yet and will not be found" in told.stderr
    assert "nothing found" in told.stderr
    assert run("list", "a.grit").count("not embedded yet") == 3


def test_documents_are_listed_under_their_roots(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    head, *lines = run("list", "a.grit").splitlines()
    assert head == f"{folder}: 3 documents, 0.2 KiB"
    assert [line.split()[0] for line in lines] == ["boats.txt", "inn.md", "more/cats.html"]
    assert re.fullmatch(r"  inn\.md +0\.1 KiB  \d{4}-\d\d-\d\d \d\d:\d\d +2 chunks", lines[1])


def test_ghosts_of_a_renamed_folder(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    folder.rename("moved")
    found = search(tiny_path, "ferry", "--store", "a.grit", "--json")
    assert [json.loads(line)["gone"] for line in found.stdout.splitlines()] == [True] * 4
    assert search(tiny_path, "ferry", "--store", "a.grit").stdout.count("[the file is gone]") == 4
    index(tiny_path, "moved", "--store", "a.grit")
    assert re.search(rf"gone +{folder}, 3 documents", run("info", "a.grit"))
    assert f"{folder}: 3 documents, 0.2 KiB; it does not exist now" in run("list", "a.grit")
    assert run("list", "a.grit").count("chunk  gone") == 2
    told = search(tiny_path, "ferry", "--store", "a.grit", "-k", 20, "--json")
    files = sorted(json.loads(line)["source"] for line in told.stdout.splitlines())
    assert len(files) == 4
    assert all("moved" in file for file in files)
    assert told.stderr.count(f"`gritlite store remove a.grit {folder}`") == 1
    assert run("remove", "a.grit", "notes") == f"a.grit: 3 documents removed: {folder}\n"
    assert "gone" not in run("info", "a.grit")
    assert "gone" not in search(tiny_path, "ferry", "--store", "a.grit").stderr
    assert run("remove", "a.grit", "moved/inn.md").startswith("a.grit: 1 document removed: ")
    assert run("verify", "a.grit") == "a.grit: intact\n"
    with pytest.raises(FileError, match=r"and no document .*none, and none inside it"):
        run("remove", "a.grit", "moved", "none")
    assert maintenance.info("a.grit").sources == 2


def test_nothing_is_said_of_a_store_in_order(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    assert search(tiny_path, "ferry", "--store", "a.grit").stderr == ""


def test_texts_are_listed_after_files_and_removed_by_their_ids(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit", "--metadata", "kind=note")
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as opened:
        opened.add_texts(["A zebra."], ids=["zoo/1"], metadata={"title": "Zoo", "year": 1850})
    head, line = run("list", "a.grit").splitlines()[-2:]
    assert head == "texts that are no files: 1 document, 0.0 KiB"
    assert re.fullmatch(r"  zoo/1 +0\.0 KiB  \d{4}-\d\d-\d\d \d\d:\d\d +1 chunk", line)
    *_, last = run("list", "a.grit", "--json").splitlines()
    document = json.loads(last)
    assert re.fullmatch(r"\d{4}-.*\+00:00", document.pop("modified"))
    assert document.pop("read").startswith("20")
    assert document == {
        "id": "zoo/1",
        "title": "Zoo",
        "metadata": {"title": "Zoo", "year": 1850},
        "is_file": False,
        "bytes": 8,
        "chunks": 1,
        "complete": True,
        "gone": False,
    }
    assert run("list", "a.grit", "--where", "kind=note", "--json").count("\n") == 3
    assert run("list", "a.grit", "--where", "kind=none") == ""
    assert run("remove", "a.grit", "zoo/1") == "a.grit: 1 document removed: zoo/1\n"
    assert "no files" not in run("list", "a.grit")
