"""The process of an isolated model: how it ends, and what it says before."""

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from gritlite import IsolatedGritLM, ModelProcessError, UsageError
from gritlite.runtime.isolation import calls, process
from gritlite.runtime.isolation.child import _Forward
from gritlite.runtime.isolation.messages import Channel, Message
from gritlite.runtime.isolation.values import error_fields
from tests.sent_signals import signal_in

PARENT = """
import os, sys
from gritlite import IsolatedGritLM

model = IsolatedGritLM({path!r}, threads=1)
if {forks}:
    if os.fork() == 0:
        import time
        time.sleep(60)
print(model.process_id, flush=True)
model.encode(["word " * 100] * 100_000)
"""


def is_gone(number: int) -> bool:
    """Whether a process has ended; one that nobody waits for yet has ended too."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state in "ZX"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("forks", [False, True])
def test_it_ends_with_the_program_however_that_ends(tiny_path, number, forks):
    script = PARENT.format(path=str(tiny_path), forks=forks)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as parent:
        child = int(parent.stdout.readline())
        assert not is_gone(child)
        parent.send_signal(number)
        end = time.monotonic() + 2
        while not is_gone(child) and time.monotonic() < end:
            time.sleep(0.02)
        assert is_gone(child)
        if forks:
            os.killpg(parent.pid, signal.SIGKILL)


FORKED = """
import os, sys
from gritlite import IsolatedGritLM, UsageError

model = IsolatedGritLM({path!r}, threads=1)
before = model.encode(["a text"])
answer = model.generate("words", stream=True, temperature=1.0, seed=1)
stream = model.encode_stream(["word"] * 1000)
attempts = [
    lambda: model.encode(["a text"]), lambda: model.generate("words"), lambda: next(answer),
    lambda: next(stream), lambda: model.tokenize("a"), lambda: model.clear_cache(),
]
child = os.fork()
if child == 0:
    for attempt in attempts:
        try:
            attempt()
        except UsageError as error:
            print(str(error).split(":")[0].replace(str(os.getppid()), "PARENT"))
    model.close()
    del model, answer, stream, attempts
    sys.exit(0)
_, status = os.waitpid(child, 0)
print(status, (model.encode(["a text"]) == before).all(), bool(next(answer)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_program_is_refused_and_does_no_harm(tiny_path):
    script = FORKED.format(path=str(tiny_path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
    )
    refused = "the model was loaded in process PARENT, of which this one is a fork"
    assert done.stdout.splitlines() == [refused] * 6 + ["0 True True"], done.stderr


def test_ctrl_c_ends_the_call_and_not_the_process(isolated):
    expected = isolated.encode("a")
    number = isolated.process_id
    with pytest.raises(KeyboardInterrupt), signal_in(0.2):
        isolated.encode(["word " * 100] * 20_000)
    answer = isolated.generate("word " * 200, stream=True, temperature=1.0, seed=1, max_tokens=150)
    with pytest.raises(KeyboardInterrupt), signal_in(0.1):
        for _ in answer:
            pass
    interrupted = [*answer]  # it goes on
    assert interrupted
    whole = isolated.generate("word " * 200, temperature=1.0, seed=1, max_tokens=150)
    assert answer.text == whole
    assert (isolated.encode("a") == expected).all()
    assert isolated.process_id == number


def test_the_process_hears_nothing_of_the_terminal_and_prints_nothing(tiny_path):
    script = f"""
import os
from gritlite import IsolatedGritLM
model = IsolatedGritLM({str(tiny_path)!r}, threads=1)
for number in (2, 3, 1):
    os.kill(model.process_id, number)
model.encode("a")
model.chat([{{"role": "user", "content": "a"}}], max_tokens=3)
os.kill(model.process_id, 6)
try:
    while True:
        model.encode("a")
except Exception as error:
    assert "signal 6, SIGABRT" in str(error), error
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("child", ["gritlite.no_such_module", "this"])
def test_a_process_that_cannot_begin_is_told_with_its_last_line(
    tiny_path, monkeypatch, caplog, child
):
    """`this` writes what is no message."""
    monkeypatch.setattr(process, "_CHILD", child)
    with caplog.at_level(logging.DEBUG), pytest.raises(ModelProcessError) as caught:
        IsolatedGritLM(tiny_path)
    if child != "this":
        assert "ended (exit code 1; " in str(caught.value)
        assert "No module named gritlite.no_such_module): the next" in str(caught.value)
        assert "No module named gritlite.no_such_module" in caplog.text


def test_what_is_logged_there_is_logged_here(caplog):
    written = io.BytesIO()
    record = logging.makeLogRecord(
        {"name": "gritlite.some", "levelno": logging.INFO, "msg": "a %s", "args": ("graph",)}
    )
    _Forward(Channel(io.BytesIO(), written)).emit(record)
    message = Channel(io.BytesIO(written.getvalue()), io.BytesIO()).receive()
    assert message.kind == "log"
    with caplog.at_level(logging.WARNING, logger="gritlite.some"):
        process._log(message.fields)
    assert caplog.records == []
    with caplog.at_level(logging.INFO, logger="gritlite.some"):
        process._log(message.fields)
    (found,) = caplog.records
    assert (found.name, found.levelno, found.getMessage()) == ("gritlite.some", 20, "a graph")


class FakeProcess:
    """A process whose one call gets the messages that are given."""

    def __init__(self, *messages):
        self.inbox = process.Inbox()
        self.sent = []
        for message in messages:
            self.inbox.put(message)

    def add(self):
        return 1, self.inbox

    def send(self, kind, job, fields, arrays=()):
        self.sent.append(kind)

    def forget(self, number):
        self.sent.append("forgotten")

    def error(self):
        return ModelProcessError("it ended")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (Message("error", 1, error_fields(UsageError("no token fits"))), UsageError),
        (None, ModelProcessError),
    ],
)
def test_a_call_that_failed_fails_again_and_is_not_stopped(message, kind):
    fake = FakeProcess(message)
    with calls.Call(fake, "answer", {}) as call:
        for _ in range(3):
            with pytest.raises(kind):
                call.receive()
    assert fake.sent == ["answer", "forgotten"]


def test_a_call_that_is_left_is_stopped_once():
    fake = FakeProcess()
    call = calls.Call(fake, "answer", {})
    call.close()
    call.close()
    assert fake.sent == ["answer", "stop", "forgotten", "forgotten"]


def test_warnings_there_are_warnings_here():
    from gritlite import EngineWarning

    for category, kind in (
        ("EngineWarning", EngineWarning),
        ("DeprecationWarning", DeprecationWarning),
        ("SomeWarning", UserWarning),
        ("UsageError", UserWarning),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            calls._warn(category, "no graph")
        assert (caught[0].category, str(caught[0].message)) == (kind, "no graph")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_system_ends_it_before_the_program_when_memory_runs_out(isolated):
    isolated.encode("a")
    own = int(Path("/proc/self/oom_score_adj").read_text())
    its = int(Path(f"/proc/{isolated.process_id}/oom_score_adj").read_text())
    assert its >= max(own, 500)


def test_many_threads_start_one_process(tiny_path):
    with IsolatedGritLM(tiny_path, threads=1) as model:
        os.kill(model.process_id, signal.SIGKILL)
        while model.process_id is not None:
            time.sleep(0.01)
        seen = []
        threads = [
            threading.Thread(target=lambda: seen.append((model.tokenize("a"), model.process_id)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 4
        assert len({number for _, number in seen}) == 1
