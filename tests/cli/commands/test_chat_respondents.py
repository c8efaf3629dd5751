"""`gritlite chat` with a store."""

import click
import pytest

from gritlite import GritLM
from gritlite.cli.commands import chat
from gritlite.cli.commands.chat_respondents import StoreRespondent
from gritlite.prompt import cached_question
from gritlite.rag import min_scores
from gritlite.rag.store import Store
from tests.cli.in_process import index, invoke


def test_a_chat_answers_from_a_store(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    options = ("--max-tokens", 5, "--temperature", 0, "--prompt", "who founded the inn?")
    plain = invoke(chat.command, tiny_path, *options).stdout
    result = invoke(chat.command, tiny_path, *options, "--store", "a.grit")
    answer, sources = result.stdout.split("\n\n[1] ", 1)
    assert sources.startswith("notes/inn.md:3  (The inn)\n[2] ")
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as opened:
        asked = opened.ask("who founded the inn?", max_tokens=5)
        assert answer.rstrip("\n") == asked.text.rstrip("\n")
    assert plain != result.stdout


def test_a_message_that_no_passage_has_to_do_with_is_only_chat(tiny_path, folder, monkeypatch):
    index(tiny_path, "notes", "--store", "a.grit")
    options = ("--max-tokens", 5, "--temperature", 0, "--prompt", "Hello!")
    plain = invoke(chat.command, tiny_path, *options).stdout
    assert invoke(chat.command, tiny_path, *options, "--store", "a.grit").stdout != plain
    with_store = (*options, "--store", "a.grit")
    assert invoke(chat.command, tiny_path, *with_store, "--min-score", 0.99).stdout == plain
    monkeypatch.setitem(min_scores._MEASURED, (tiny_path.name, "hybrid"), 0.99)
    assert invoke(chat.command, tiny_path, *with_store).stdout == plain
    with pytest.raises(click.UsageError, match="add --store"):
        invoke(chat.command, tiny_path, *options, "--min-score", 0.5)


def test_answers_of_a_chat_with_a_store_are_limited(tiny_path, folder, monkeypatch):
    index(tiny_path, "notes", "--store", "a.grit")
    least = {(tiny_path.name, "hybrid"): 0.99}
    for known in ({}, least):
        monkeypatch.setattr(min_scores, "_MEASURED", known)
        with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as opened:
            respondent = StoreRespondent(opened, {})
            with respondent.answer([{"role": "user", "content": "Hello!"}]) as answer:
                runtime = getattr(answer, "answer", answer)
                assert runtime._options.max_tokens == 512
                assert runtime._options.stop_loops
            assert bool(respondent.sources()) == (not known)
            assert ("answered without any" in respondent.remark()) == bool(known)


def test_a_chat_has_a_past_before_its_passages(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
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
