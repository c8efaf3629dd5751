"""npm's `openai`, and the adapters of Continue, an extension of editors."""

import json
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from tests.clients.running_server import NAME, Server

FOLDER = Path(__file__).parents[1] / "node"
TEXT = "Who sells bread?"


@pytest.fixture(scope="module")
def found(server: Server):
    node = Path(sysconfig.get_path("scripts")) / "node"
    command = [node, "clients.mjs", server.openai, server.key, NAME, TEXT]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("client", ["openai", "continuedev"])
def test_a_chat_and_a_vector(found, client, model):
    messages = [{"role": "user", "content": TEXT}]
    expected = model.chat(messages, temperature=0, max_tokens=10)
    assert found[client]["whole"] == expected
    assert found[client]["streamed"] == expected
    vector = np.asarray(found[client]["vector"], np.float32)
    np.testing.assert_array_equal(vector, model.encode([TEXT])[0])


def test_an_error(found):
    assert found["openai"]["error"] == {"status": 404, "code": "model_not_found"}


def test_errors_are_readable_in_continue(found):
    assert "no model 'gpt-9'" in found["continuedev"]["error"]
    assert "maximum context length is 1024" in found["continuedev"]["tooLong"]
