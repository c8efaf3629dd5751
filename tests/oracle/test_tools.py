"""Chats with tools have the tokens that transformers gives them."""

from transformers import AutoTokenizer

from tests.runtime.test_tools import QUESTION, TEMPLATE, load

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city, <b>now</b>.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "such as Zürich"}},
            "required": ["city"],
        },
    },
}
CALL = {
    "id": "abc123def",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Zürich", "days": [1, None, 2.5]}},
}


def test_tools_calls_and_results(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "21 degrees", "tool_call_id": "abc123def"},
    ]
    with load(tmp_path, TEMPLATE) as model:
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
        for tools in ([WEATHER], [WEATHER, WEATHER], None):
            expected = tokenizer.apply_chat_template(
                messages, tools=tools, add_generation_prompt=True, return_dict=False
            )
            assert model.chat_tokens(messages, tools or ()) == expected
