"""`gritlite chat` without a terminal: one answer on standard output, nothing else."""

import json
import re

import click
import pytest
from click.testing import CliRunner

from gritlite.cli.commands import chat as chat_command
from gritlite.errors import (
    FileError,
    FormatError,
    InputError,
    InputTooLongError,
    OutOfMemoryError,
    UsageError,
)
from gritlite.runtime.model import GritLM

GREEDY = ("--temperature", "0", "--max-tokens", "12")


def chat(model, *arguments, stdin=""):
    """Run in this process; errors are raised in the test."""
    line = ["--model", str(model), "--threads", "1", *map(str, arguments)]
    result = CliRunner().invoke(chat_command.command, line, input=stdin, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


@pytest.fixture
def answer(tiny_path):
    """The library's answer to the same messages."""

    def answer(*contents, **options):
        roles = ("user",) if len(contents) == 1 else ("system", "user")
        messages = [
            {"role": role, "content": content}
            for role, content in zip(roles, contents, strict=True)
        ]
        with GritLM(tiny_path, threads=1) as loaded:
            return loaded.chat(messages, **{"temperature": 0, "max_tokens": 12, **options})

    return answer


@pytest.mark.parametrize(
    ("arguments", "stdin", "contents"),
    [
        (["--prompt", "Hello there"], "", ["Hello there"]),
        ([], "Hello there\n", ["Hello there"]),
        (["--prompt", "Sum up:"], "Hello\nthere\n", ["Sum up:\n\nHello\nthere"]),
        (["--system", "Be brief", "--prompt", "Hi"], "", ["Be brief", "Hi"]),
    ],
)
def test_one_answer(tiny_path, answer, arguments, stdin, contents):
    expected = answer(*contents)
    assert expected
    assert chat(tiny_path, *GREEDY, *arguments, stdin=stdin).stdout == expected + "\n"


def test_the_child_process_says_the_same_and_nothing_else(gritlite, model):
    status, out, err = gritlite("chat", *GREEDY, stdin=b"hello a hello")
    with GritLM(model, threads=1) as loaded:
        message = {"role": "user", "content": "hello a hello"}
        expected = loaded.chat([message], temperature=0, max_tokens=12)
    assert (status, out) == (0, expected + "\n")
    assert err == ("gritlite: the answer was cut at 12 tokens, the limit of --max-tokens\n")


def test_sampling_options_reach_the_sampler(tiny_path, answer):
    options = {
        "temperature": 1.5,
        "top_k": 50,
        "top_p": 0.9,
        "min_p": 0.01,
        "repeat_penalty": 1.3,
        "seed": 7,
        "max_tokens": 9,
    }
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    said = chat(tiny_path, "--prompt", "Hi", *arguments).stdout
    assert said == answer("Hi", **options) + "\n"
    assert said != answer("Hi", **{**options, "seed": 8}) + "\n"


def test_stop_texts_end_the_answer(tiny_path, answer):
    whole = answer("Hello there")
    first, second = whole[4], whole[2:5]
    said = chat(tiny_path, *GREEDY, "--prompt", "Hello there", "--stop", first, "--stop", second)
    assert said.stdout == answer("Hello there", stop=[first, second]) + "\n"
    assert len(said.stdout) <= len(whole)


def test_a_grammar_binds_the_answer(tiny_path, tmp_path):
    grammar = tmp_path / "g.gbnf"
    grammar.write_text('root ::= "yes" | "no"')
    assert chat(tiny_path, "--prompt", "Well?", "--grammar", grammar).stdout in ("yes\n", "no\n")


def test_a_json_schema_binds_the_answer(tiny_path, tmp_path):
    schema = tmp_path / "s.json"
    schema.write_text(
        '{"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}'
    )
    out = chat(tiny_path, "--prompt", "Well?", "--json-schema", schema, "--temperature", 0).stdout
    assert json.loads(out)["a"] in (1, 2)


def test_an_answer_that_fills_the_context_says_so(tiny_path):
    result = chat(tiny_path, "--prompt", "Hi", "--temperature", 0, "--context-length", 64)
    assert "the context of 64 tokens is full" in result.stderr


def test_a_prompt_that_does_not_fit_is_an_error(tiny_path):
    with pytest.raises(InputTooLongError, match="the context holds 64") as caught:
        chat(tiny_path, "--prompt", "word " * 100, "--context-length", 64)
    (note,) = caught.value.__notes__
    assert re.fullmatch(r"--context-length makes it longer, up to [0-9,]+ tokens", note)


def test_an_option_is_advised_only_where_it_helps(model):
    with pytest.raises(InputTooLongError) as caught:
        chat(model, "--prompt", "word " * 200, "--context-length", 128)
    assert caught.value.__notes__ == ["it cannot be longer: the model computes at most 128 tokens"]
    result = chat(model, "--prompt", "Hi", "--temperature", 0)
    assert "is full; it cannot be longer: the model computes at most 128" in result.stderr


def test_a_context_too_large_for_the_memory_names_the_option(tiny_path):
    with pytest.raises(OutOfMemoryError) as caught:
        chat(tiny_path, "--prompt", "Hi", "--context-length", 2**31 - 256)
    assert "--context-length sets its size" in caught.value.__notes__


@pytest.mark.parametrize(
    ("arguments", "stdin", "kind", "said"),
    [
        ([], "", click.UsageError, "nothing to answer"),
        (["--prompt", ""], "\n", click.UsageError, "nothing to answer"),
        ([], b"a\xff", FormatError, "standard input is not valid UTF-8: byte 0xff at position 2"),
        (["--grammar", "nowhere.gbnf"], "x", FileError, "cannot read nowhere.gbnf"),
        (["--grammar", "a", "--json-schema", "b"], "x", click.UsageError, "exclude each other"),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(tmp_path, arguments, stdin, kind, said):
    (tmp_path / "empty.gguf").write_bytes(b"")
    with pytest.raises(kind, match=said):
        chat(tmp_path / "empty.gguf", *arguments, stdin=stdin)


def test_a_missing_model_is_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(chat_command, "_read_standard_input", lambda: pytest.fail("it was read"))
    with pytest.raises(FileError, match=r"no\.gguf does not exist"):
        chat(tmp_path / "no.gguf")


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["--temperature=-1"], UsageError, "temperature is -1.0"),
        (["--top-p=2"], UsageError, "top_p is 2.0"),
        (["--stop="], UsageError, "a stop string is empty"),
        (["--prompt=\udcff"], InputError, "half of a surrogate pair"),
    ],
)
def test_values_out_of_range(tiny_path, arguments, kind, said):
    with pytest.raises(kind, match=said):
        chat(tiny_path, "--prompt", "Hi", *arguments)


def test_a_bad_grammar_or_schema(tiny_path, tmp_path):
    path = tmp_path / "bad"
    path.write_text("root ::= (")
    with pytest.raises(UsageError, match=r"grammar.s line 1 is wrong"):
        chat(tiny_path, "--prompt", "Hi", "--grammar", path)
    with pytest.raises(UsageError, match="JSON schema"):
        chat(tiny_path, "--prompt", "Hi", "--json-schema", path)
