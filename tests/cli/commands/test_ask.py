"""`gritlite ask`: answers and their sources."""

import json
from typing import get_args

import click
import pytest

from gritlite.cli.commands import ask
from gritlite.rag.layouts import Layout
from tests.cli.in_process import index, invoke, search


def test_an_answer_and_its_sources(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    options = ("--store", "a.grit", "-k", 2, "--by", "words", "--max-tokens", 5)
    shown = invoke(ask.command, tiny_path, "who founded the inn?", *options)
    assert shown.stdout.endswith(
        "\n\n[1] notes/inn.md:3  (The inn)\n[2] notes/inn.md:7  (The inn > Rooms)\n"
    )
    line = invoke(ask.command, tiny_path, "who founded the inn?", *options, "--json").stdout
    report = json.loads(line)
    assert shown.stdout.startswith(report["answer"])
    assert [each["place"] for each in report["passages"]] == ["line 3", "line 7"]
    assert report["layout"] == "document-then-query"
    assert set(report["seconds"]) == {"found", "prepared", "first_token", "ended"}


def test_passages_have_one_form_in_json(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    options = ("--store", "a.grit", "-k", 1, "--by", "words", "--json")
    searched = json.loads(search(tiny_path, "who founded the inn?", *options).stdout)
    asked = invoke(ask.command, tiny_path, "who founded the inn?", *options, "--max-tokens", 2)
    assert json.loads(asked.stdout)["passages"] == [searched]


def test_the_cheapest_layout_of_passages_that_were_read_again(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit", "--states", "q8_0")
    options = ("--store", "a.grit", "-k", 2, "--max-tokens", 5, "--json")
    how = ("--cache", "auto", "--recompute", "all", "--rerank", 3)
    report = json.loads(invoke(ask.command, tiny_path, "who?", *options, *how).stdout)
    assert (report["layout"], report["states_computed"]) == ("exact", 2)
    scores = [passage["score"] for passage in report["passages"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0  # a mean log-probability
    with pytest.raises(click.BadParameter, match="'-1' is neither a number of tokens nor 'all'"):
        invoke(ask.command, tiny_path, "who?", *options, "--recompute", -1)


def test_a_question_that_no_passage_can_answer(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    options = ("--store", "a.grit", "--min-score", 0.99)
    result = invoke(ask.command, tiny_path, "who founded the inn?", *options)
    assert result.stdout == "The documents do not tell.\n"
    assert "the best passage has a score of 0." in result.stderr
    assert "--min-score 0 answers from any" in result.stderr
    report = json.loads(invoke(ask.command, tiny_path, "who?", *options, "--json").stdout)
    assert (report["answer"], report["passages"]) == ("The documents do not tell.", [])
    assert 0 < report["best_score"] < 0.99
    words = invoke(ask.command, tiny_path, "zebra", "--store", "a.grit", "--by", "words")
    assert "no passage holds a word of the question" in words.stderr


def test_the_layouts_of_the_command_are_those_of_the_library():
    (option,) = (each for each in ask.command.params if each.name == "layout")
    assert tuple(option.type.choices) == (*get_args(Layout), "auto")
