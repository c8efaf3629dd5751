"""`gritlite index` and `gritlite search`, from folders to passages on the screen."""

import json
import re
from typing import get_args

import click
import pytest
from click.testing import CliRunner

from gritlite import GritLM
from gritlite.cli.commands import ask, chat, index, search, store
from gritlite.cli.commands.index import described
from gritlite.errors import FileError, UsageError
from gritlite.prompt import cached_question
from gritlite.rag.indexing import Pending
from gritlite.rag.layouts import Layout
from gritlite.rag.store import Plan, Store
from tests.cli.in_process import invoke
from tests.rag.documents import notes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return notes(tmp_path / "notes")


def indexed(model, *arguments):
    return invoke(index.command, model, *arguments)


def found(model, *arguments):
    return invoke(search.command, model, *arguments)


def test_the_summary_goes_to_standard_output_and_the_rest_to_the_other(tiny_path, folder):
    (folder / "photo.jpg").write_bytes(b"x")
    (folder / "empty.txt").write_text("")
    first = indexed(tiny_path, "notes", "--store", "a.grit")
    assert first.stdout == "a.grit: 4 added\n"
    assert "no text in" in first.stderr
    assert "files of other kinds were left out: 1 of .jpg" in first.stderr
    assert "embedding 4 chunks of " in first.stderr
    (folder / "boats.txt").unlink()
    (folder / "inn.md").write_text("# The inn\n\nSold.\n")
    again = indexed(tiny_path, "notes", "--store", "a.grit")
    assert again.stdout == "a.grit: 1 changed, 2 unchanged, 1 removed\n"
    assert "embedding 1 chunks" in again.stderr
    assert "embedding" not in indexed(tiny_path, "notes", "--store", "a.grit").stderr


def test_passages_are_shown_with_their_places(tiny_path, folder):
    indexed(tiny_path, "notes", "--store", "a.grit")
    result = found(tiny_path, "who founded the inn?", "--store", "a.grit", "--by", "words", "-k", 1)
    assert result.stdout == (
        "1. notes/inn.md, line 3  (The inn)\n   Mary Smith founded the inn in 1850.\n\n"
    )
    line = found(tiny_path, "inn", "--store", "a.grit", "--by", "words", "--json", "-k", 1).stdout
    passage = json.loads(line)
    assert passage.pop("score") > 0
    assert passage == {
        "source": str(folder / "inn.md"),
        "place": "line 3",
        "heading": "The inn",
        "text": "Mary Smith founded the inn in 1850.",
    }


def test_nothing_found_is_told(tiny_path, folder):
    indexed(tiny_path, "notes", "--store", "a.grit")
    result = found(tiny_path, "zebra", "--store", "a.grit", "--by", "words")
    assert result.stdout == ""
    assert "nothing found in a.grit" in result.stderr


def test_a_text_cannot_drive_the_terminal(tiny_path, folder):
    (folder / "evil.txt").write_text("red \x1b[2J alert")
    indexed(tiny_path, "notes", "--store", "a.grit")
    assert "\x1b" not in found(tiny_path, "alert", "--store", "a.grit").stdout


def test_a_damaged_file_is_told_and_the_exit_code_says_so(gritlite, folder, tmp_path):
    (folder / "a.pdf").write_bytes(b"%PDF broken")
    status, out, err = gritlite("index", folder, "--store", tmp_path / "a.grit")
    assert status == 2
    assert "3 added, 1 not read" in out
    assert f"not read: {folder / 'a.pdf'} is damaged" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        (("none", "--store", "a.grit"), FileError, "none does not exist"),
        (("notes", "--store", "none/a.grit"), FileError, "the folder none does not exist"),
        (("notes", "--store", "a.grit", "--chunk-tokens", 4), UsageError, "expected 32 to"),
    ],
)
def test_calls_that_cannot_be_right(tiny_path, folder, arguments, error, problem):
    with pytest.raises(error, match=problem):
        indexed(tiny_path, *arguments)


def test_a_search_does_not_make_a_store(tiny_path, folder):
    with pytest.raises(FileError, match="does not exist: make it with `gritlite index`"):
        found(tiny_path, "inn", "--store", "a.grit")
    assert not (folder.parent / "a.grit").exists()


@pytest.mark.parametrize(
    ("seconds", "time"), [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h 1 min")]
)
def test_times_are_told_in_their_unit(seconds, time):
    assert described(Plan(Pending(5, 1000), seconds, 0)) == (
        f"embedding 5 chunks of 1,000 tokens: about {time}"
    )


def test_a_store_with_states_from_its_making_to_its_pruning(tiny_path, folder):
    options = ("--states", "q8_0", "--states-budget", "1GiB")
    made = indexed(tiny_path, "notes", "--store", "a.grit", *options)
    assert re.search(r"about 1 s, 0\.\d MiB of states", made.stderr)
    shown = dict(line.split("  ", 1) for line in looked_after("info", "a.grit").splitlines())
    shown = {label: text.strip() for label, text in shown.items()}
    assert shown["documents"] == "3"
    assert shown["chunks"].startswith("4, ")
    assert shown["vectors"] == "float32"
    assert re.fullmatch(r"4, q8_0, 0\.\d MiB of 1\.00 GiB", shown["states"])
    assert looked_after("verify", "a.grit") == "a.grit: whole\n"
    next((folder.parent / "a.grit.states").rglob("*.kv")).unlink()
    result = CliRunner().invoke(store.command, ["verify", "a.grit"])
    assert (result.exit_code, result.stdout.count("missing")) == (1, 1)
    assert looked_after("prune", "a.grit", "--states", "0") == "a.grit: 4 states removed\n"
    with pytest.raises(FileError, match="does not exist"):
        looked_after("info", "none.grit")


def test_what_is_not_embedded_yet_is_told(tiny_path, folder):
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as opened:
        opened.scan(folder)
    assert "3 documents: run `gritlite index` again" in looked_after("info", "a.grit")


def looked_after(*arguments):
    result = CliRunner().invoke(store.command, list(arguments), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.stdout


def test_an_answer_and_its_sources(tiny_path, folder):
    indexed(tiny_path, "notes", "--store", "a.grit")
    options = ("--store", "a.grit", "-k", 2, "--by", "words", "--max-tokens", 5)
    shown = invoke(ask.command, tiny_path, "who founded the inn?", *options)
    assert shown.stdout.endswith(
        "\n\n[1] notes/inn.md, line 3  (The inn)\n[2] notes/inn.md, line 7  (The inn > Rooms)\n"
    )
    line = invoke(ask.command, tiny_path, "who founded the inn?", *options, "--json").stdout
    report = json.loads(line)
    assert shown.stdout.startswith(report["answer"])
    assert [each["place"] for each in report["passages"]] == ["line 3", "line 7"]
    assert report["layout"] == "document-then-query"
    assert set(report["seconds"]) == {"found", "prepared", "first_token", "ended"}


def test_passages_have_one_form_in_json(tiny_path, folder):
    indexed(tiny_path, "notes", "--store", "a.grit")
    options = ("--store", "a.grit", "-k", 1, "--by", "words", "--json")
    searched = json.loads(found(tiny_path, "who founded the inn?", *options).stdout)
    asked = invoke(ask.command, tiny_path, "who founded the inn?", *options, "--max-tokens", 2)
    assert json.loads(asked.stdout)["passages"] == [searched]


def test_the_cheapest_layout_of_passages_that_were_read_again(tiny_path, folder):
    indexed(tiny_path, "notes", "--store", "a.grit", "--states", "q8_0")
    options = ("--store", "a.grit", "-k", 2, "--max-tokens", 5, "--json")
    how = ("--cache", "auto", "--recompute", "all", "--rerank", 3)
    report = json.loads(invoke(ask.command, tiny_path, "who?", *options, *how).stdout)
    assert (report["layout"], report["states_computed"]) == ("exact", 2)
    scores = [passage["score"] for passage in report["passages"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0  # a mean log-probability
    with pytest.raises(click.BadParameter, match="'-1' is neither a number of tokens nor 'all'"):
        invoke(ask.command, tiny_path, "who?", *options, "--recompute", -1)


def test_the_layouts_of_the_command_are_those_of_the_library():
    (option,) = (each for each in ask.command.params if each.name == "layout")
    assert tuple(option.type.choices) == (*get_args(Layout), "auto")


def test_a_chat_answers_from_a_store(tiny_path, folder):
    indexed(tiny_path, "notes", "--store", "a.grit")
    options = ("--max-tokens", 5, "--temperature", 0, "--prompt", "who founded the inn?")
    plain = invoke(chat.command, tiny_path, *options).stdout
    result = invoke(chat.command, tiny_path, *options, "--store", "a.grit")
    answer, sources = result.stdout.split("\n\n[1] ", 1)
    assert sources.startswith("notes/inn.md, line 3  (The inn)\n[2] ")
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as opened:
        asked = opened.ask("who founded the inn?", max_tokens=5)
        assert answer.rstrip("\n") == asked.text.rstrip("\n")
    assert plain != result.stdout


def test_a_chat_has_a_past_before_its_passages(tiny_path, folder):
    indexed(tiny_path, "notes", "--store", "a.grit")
    past = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"}]
    with (
        GritLM(tiny_path, threads=1) as model,
        Store.open("a.grit", model) as opened,
        opened.ask("who?", 1, history=past, mode="vectors", max_tokens=3) as answer,
    ):
        (passage,) = answer.passages
        asked = f"{passage.embedded}\n\n{cached_question('who?')}"
        wanted = model.chat_tokens([*past, {"role": "user", "content": asked}])
        assert answer.answer.tokens[: answer.answer.prompt_tokens] == wanted
