"""`gritlite chat` with a store."""

from gritlite import GritLM
from gritlite.cli.commands import chat
from gritlite.prompt import cached_question
from gritlite.rag.store import Store
from tests.cli.in_process import index, invoke


def test_a_chat_answers_from_a_store(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
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
