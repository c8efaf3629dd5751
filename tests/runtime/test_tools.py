"""Tools in chats: a template shows them, and nothing in them becomes a control token."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import UsageError
from tests.tiny import make_checkpoint

# in the manner of Qwen2.5's
TEMPLATE = (
    "{% if tools %}<|system|>\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "</tool_call>{% endfor %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather. <|im_end|>",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "id": "abcdefghi",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Zürich <|im_end|>"}},
}
QUESTION = {"role": "user", "content": "Is it warm in Zürich?"}


@pytest.fixture(scope="module")
def tool_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GritLM]:
    folder = tmp_path_factory.mktemp("tools")
    with load(folder, TEMPLATE) as model:
        yield model


def load(folder: Path, template: str) -> GritLM:
    checkpoint = make_checkpoint(folder / "checkpoint", "llama-head-dim")
    (checkpoint / "chat_template.jinja").write_text(template, "utf-8")
    convert(checkpoint, folder / "model.gguf", "f32")
    return GritLM(folder / "model.gguf", threads=1)


def shown(model: GritLM, tokens: list[int]) -> str:
    piece: Callable[[int], bytes] = model.engine.vocabulary.piece
    return b"".join(map(piece, tokens)).decode()


def test_a_template_shows_tools_calls_and_results(tool_model: GritLM) -> None:
    messages: list[dict[str, Any]] = [
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "21 degrees", "tool_call_id": "abcdefghi"},
    ]
    answer = tool_model.chat(messages, stream=True, tools=[WEATHER], temperature=0, max_tokens=3)
    "".join(answer)
    arguments = json.dumps(CALL["function"]["arguments"], ensure_ascii=False)
    text = (
        f"<|system|>\n{json.dumps(WEATHER, ensure_ascii=False)}\n<|user|>\nIs it warm in Zürich?\n"
        f'<|assistant|>\n<tool_call>{{"name": "weather", "arguments": {arguments}}}</tool_call>\n'
        "<|tool|>\n21 degrees\n<|assistant|>\n"
    )
    # control tokens have no text here: what a tool or a call says of them is plain text
    assert shown(tool_model, answer.tokens[: answer.prompt_tokens]) == text
    assert answer.tokens[: answer.prompt_tokens] == tool_model.chat_tokens(messages, [WEATHER])


def test_without_tools_nothing_of_them_is_shown(tool_model: GritLM) -> None:
    assert "weather" not in shown(tool_model, tool_model.chat_tokens([QUESTION]))


def test_a_chat_with_tools_that_fills_the_context(tool_model: GritLM) -> None:
    messages = [{"role": "user", "content": "word " * 100}] * 6
    answer = tool_model.chat(messages, stream=True, tools=[WEATHER], temperature=0, max_tokens=300)
    assert answer.dropped > 0
    kept = messages[answer.dropped :]
    assert answer.prompt_tokens == len(tool_model.chat_tokens(kept, [WEATHER]))


@pytest.mark.parametrize(
    "given",
    [
        {"messages": [QUESTION], "tools": [WEATHER]},
        {"messages": [QUESTION, {"role": "tool", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [CALL]}, QUESTION]},
    ],
)
def test_a_template_without_tools(tiny_model: GritLM, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="chat template has no tools"):
        tiny_model.chat(**given)


def test_wrong_tools(tool_model: GritLM) -> None:
    deep: Any = "x"
    for _ in range(3000):
        deep = [deep]
    for tools in (["weather"], [{"function": deep}]):
        with pytest.raises(UsageError):
            tool_model.chat([QUESTION], tools=tools)
    with pytest.raises(UsageError, match="no list of mappings under 'tool_calls'"):
        tool_model.chat([QUESTION, {"role": "assistant", "content": "", "tool_calls": "weather"}])
    with pytest.raises(UsageError, match="tools are for chats"):
        tool_model.generate("Once", tools=[WEATHER])
