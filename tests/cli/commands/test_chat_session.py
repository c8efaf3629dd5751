import pytest

from gritlite.cli.commands.chat_session import Session
from gritlite.errors import FormatError, UsageError


def message(role, content):
    return {"role": role, "content": content}


def test_a_conversation():
    session = Session()
    session.ask("Hi")
    session.answer("Hello")
    session.ask("Again")
    session.withdraw()
    assert session.messages == [message("user", "Hi"), message("assistant", "Hello")]


def test_the_system_message_comes_first_and_there_is_one():
    session = Session("Be brief")
    session.ask("Hi")
    assert session.messages == [message("system", "Be brief"), message("user", "Hi")]
    session.system = "Be long"
    assert session.messages == [message("system", "Be long"), message("user", "Hi")]
    session.system = ""
    assert session.messages == [message("user", "Hi")]
    assert session.system == ""
    session.system = "Late"
    assert session.messages[0] == message("system", "Late")


@pytest.mark.parametrize("system", ["", "Be brief"])
def test_reset_keeps_the_system_message_only(system):
    session = Session(system)
    session.ask("Hi")
    session.reset()
    assert session.messages == Session(system).messages
    assert session.system == system


def test_json_brings_everything_back():
    session = Session("Sei kurz: ä €")
    session.ask('quotes " and\nlines')
    other = Session("gone")
    other.load_json(session.to_json())
    assert other.messages == session.messages
    assert "ä €" in session.to_json()
    other.load_json("[]")
    assert other.messages == []


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("", FormatError, "not JSON"),
        ("[" * 100_000, FormatError, "not JSON"),
        ("{}", FormatError, "not a JSON array"),
        ('["a"]', UsageError, "message 1 is not a mapping"),
        ('[{"role": "user", "content": "a"}, {"role": "boss"}]', UsageError, "message 2 has"),
        ('[{"role": "user"}]', UsageError, "message 1 has no text"),
        ('[{"role": "user", "content": 1}]', UsageError, "message 1 has no text"),
    ],
)
def test_what_is_no_chat_changes_nothing(text, kind, said):
    session = Session("Be brief")
    with pytest.raises(kind, match=said):
        session.load_json(text)
    assert session.messages == [message("system", "Be brief")]
