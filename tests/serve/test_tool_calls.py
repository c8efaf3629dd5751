"""What is a call in an answer's text, and what is sent before it is known."""

import json

import pytest

from gritlite.serve.openai.tool_calls import CallReader

NAMES = {"weather", "time"}
CALL = '{"name": "weather", "arguments": {"city": "Zürich"}}'
LLAMA = '{"name": "weather", "parameters": {"city": "Zürich"}}'
TIME = '{"name": "time", "arguments": {}}'


def read(text, names=NAMES, *, size=1, only_one=False):
    """Text and calls, in pieces of a size."""
    reader = CallReader(names, only_one=only_one)
    pieces = [reader.add(text[i : i + size]) for i in range(0, len(text), size)]
    rest, calls = reader.end()
    return "".join(pieces) + rest, [
        (call.function.name, json.loads(call.function.arguments)) for call in calls
    ]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "before", "names"),
    [
        (f"<tool_call>\n{CALL}\n</tool_call>", "", ["weather"]),
        (f"Let me see.\n<tool_call>{CALL}</tool_call>", "Let me see.", ["weather"]),
        (f"<tool_call>{CALL}</tool_call>\n<tool_call>{TIME}</tool_call>", "", ["weather", "time"]),
        (f"<tool_call>{CALL}", "", ["weather"]),  # an end token stood for the rest
        (f"[TOOL_CALLS][{CALL}, {TIME}]", "", ["weather", "time"]),
        (f" [{CALL}]", "", ["weather"]),  # the mark is a control token
        ('[TOOL_CALLS]weather[ARGS]{"city": "Zürich"}', "", ["weather"]),
        ('weather{"city": "Zürich"}time{}', "", ["weather", "time"]),  # its marks are hidden
        ("[TOOL_CALLS]time[CALL_ID]a1b2c3d4e[ARGS]{}[TOOL_CALLS]time[ARGS]{}", "", ["time"] * 2),
        (LLAMA, "", ["weather"]),
        (f"<|python_tag|>{LLAMA}; {TIME}", "", ["weather", "time"]),
        (f"{LLAMA}\n{TIME}\n", "", ["weather", "time"]),
        ('<tool_call>{"name": "time"}</tool_call>', "", ["time"]),
    ],
)
def test_calls(text, before, names, size):
    found, calls = read(text, size=size)
    assert found == before
    assert [name for name, _ in calls] == names
    assert all(arguments == {"city": "Zürich"} for name, arguments in calls if name == "weather")


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "It is warm.",
        "",
        " ",
        "a < b and <tool",
        "Use <tool_call> to call.",
        "<tool_call>{",
        '<tool_call>{"name": 5}</tool_call>',
        '<tool_call>{"name": "time", "arguments": [1]}</tool_call>',
        '{"name": "unknown", "arguments": {}}',
        '{"name": "time", "arguments": {"x": NaN}}',
        '{"name": "Ada", "age": 3}',
        f"{CALL} is what I would call.",
        f"The call is {CALL}",
        "[1] says so",
        "time is money",
        "weather[1]",
        "weather {city}",
        "{{{{",
        "[" * 5000,
    ],
)
def test_what_is_no_call_stays_text(text, size):
    assert read(text, size=size) == (text, [])


def test_text_is_sent_at_once():
    reader = CallReader(NAMES)
    assert reader.add("It is") == "It is"
    assert reader.add(" warm <too") == " warm"
    assert reader.add("l.") == " <tool."


def test_without_tools_nothing_is_held_back():
    reader = CallReader(())
    assert reader.add(CALL) == CALL
    assert reader.end() == ("", [])


def test_only_one():
    assert len(read(f"[{CALL}, {TIME}]", only_one=True)[1]) == 1


def test_identifiers_are_what_mistral_accepts():
    reader = CallReader(NAMES)
    reader.add(f"[{CALL}, {TIME}]")
    identifiers = {call.id for call in reader.end()[1]}
    assert len(identifiers) == 2
    assert all(len(each) == 9 and each.isalnum() for each in identifiers)
