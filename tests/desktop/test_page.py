"""examples/desktop/page_webview.py: its window shows the page, which has the key."""

import json
import os
import signal
import sys
import time

import pytest

from tests.desktop.conftest import EXAMPLES, ROOT, processes_of

pytestmark = pytest.mark.real
DRIVER = ROOT / "tests" / "desktop" / "drive_page.py"
SECONDS = 60


def test_the_page_answers_in_the_window(start, default_model):
    program = start(sys.executable, DRIVER, EXAMPLES, "answer", default_model)
    output, _ = program.communicate(timeout=SECONDS)
    found = json.loads(output)
    assert found["address"].endswith("/")  # the key is gone from it
    assert "#" not in found["address"]
    assert found["state"] == "ready"
    assert found["questions"] == ["Why do leaves look green?"]
    assert len(found["answers"]) == 1
    assert found["answers"][0]
    assert found["failures"] == []
    assert program.returncode == 0


def test_closing_while_the_model_loads_ends_the_server(start, default_model):
    program = start(sys.executable, DRIVER, EXAMPLES, "close", default_model)
    program.communicate(timeout=SECONDS)
    assert program.returncode == 0


def test_a_model_that_cannot_be_loaded_is_told(start):
    program = start(sys.executable, DRIVER, EXAMPLES, "text", "nowhere.gguf")
    output, messages = program.communicate(timeout=SECONDS)
    assert json.loads(output) == "The server has ended."
    assert "nowhere.gguf" in messages
    assert program.returncode == 0


def test_the_server_ends_when_the_program_is_killed(start, default_model):
    program = start(sys.executable, DRIVER, EXAMPLES, "hold", default_model)
    assert program.stdout.readline() == '"ready"\n'
    assert any("gritlite serve" in each for each in processes_of(program.pid).values())
    os.kill(program.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while left := processes_of(program.pid):
        assert time.monotonic() < end, left
        time.sleep(0.02)
