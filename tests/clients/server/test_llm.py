"""Simon Willison's `llm`, whose models are configured in a file."""

import json
import subprocess
import sys

import pytest

from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TOO_LONG, TOO_LONG_TO_ANSWER


@pytest.fixture
def llm(server: Server, tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    (tmp_path / "keys.json").write_text(json.dumps({"gritlite": server.key}))
    entry = f"model_name: {NAME}\n  api_base: {server.openai}\n  api_key_name: gritlite\n"
    local = f"- model_id: local\n  supports_schema: true\n  {entry}"
    unknown = f"- model_id: unknown\n  {entry.replace(NAME, 'gpt-9', 1)}"
    (tmp_path / "extra-openai-models.yaml").write_text(local + unknown)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "llm", *arguments], capture_output=True, text=True, check=False
        )

    return run


def test_a_chat_whole_and_streamed(llm, model):
    messages = [{"role": "user", "content": "Who sells bread?"}]
    expected = model.chat(messages, temperature=0, max_tokens=10).strip()
    options = ("-m", "local", "-o", "temperature", "0", "-o", "max_tokens", "10", "-n")
    for streams in ((), ("--no-stream",)):
        done = llm(*options, *streams, "Who sells bread?")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == expected


def test_a_schema(llm):
    done = llm("-m", "local", "-n", "-o", "temperature", "0", "--schema", "sells bool", "bread?")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout)["sells"], bool)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("unknown", "Who?", "no model 'gpt-9'"), ("local", TOO_LONG, TOO_LONG_TO_ANSWER)],
)
def test_errors(llm, name, text, message):
    done = llm("-m", name, "-n", text)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
