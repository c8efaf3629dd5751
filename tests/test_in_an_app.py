"""What an app may rely on: work with a model prints nothing and connects to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# loads, embeds, chats, cancels, fails and closes, with the model at the first argument
USE = """
import logging, sys, threading, warnings
from gritlite import CancelledError, FormatError, GritLM, prepare_engine
path, broken, engine = sys.argv[1:4]
warnings.simplefilter("ignore")  # Python prints these, if the program lets it
with GritLM(path, threads=1, engine=engine, progress=lambda done, total: None) as model:
    assert model.encode(["a text", "another"]).shape[0] == 2
    assert model.chat([{"role": "user", "content": "hello"}], max_tokens=4, seed=1) is not None
    answer = model.generate("Once", stream=True, max_tokens=500, grammar='root ::= [a-z]{900}')
    next(answer)
    answer.cancel()
    list(answer)
    model.join_states([model.prefix_state("a text")] * 2)
    cancel = threading.Event()
    cancel.set()
    try:
        model.encode("a", cancel=cancel)
    except CancelledError:
        pass
try:
    GritLM(broken, threads=1)
except FormatError:
    pass
else:
    raise AssertionError
assert logging.getLogger().handlers == []
"""

STORE = """
from gritlite import Store
path = sys.argv[4]
with GritLM(sys.argv[1], threads=1) as model, Store.open(path + "/s.grit", model) as store:
    store.add(path + "/notes")
    assert store.search("ferry", 1)
    store.ask("ferry", 1, max_tokens=4)
"""

# records each connection and each look-up of a name that Python makes
GUARD = """
import sys
made = []
sys.addaudithook(
    lambda name, arguments: made.append((name, arguments))
    if name in ("socket.connect", "socket.getaddrinfo", "socket.sendto") else None
)
"""


@pytest.fixture
def broken(tiny_path, tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(tiny_path.read_bytes()[:-64])
    return path


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "ferry.txt").write_text("The ferry leaves at seven.")
    return tmp_path


def run(code, *arguments, before=(), **environment):
    return subprocess.run(
        [*before, sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("engine", ["llama", "onnx"])
def test_nothing_is_printed(tiny_path, broken, cache_folder, engine):
    done = run(USE, tiny_path, broken, engine)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_a_store_prints_nothing(tiny_path, broken, notes, cache_folder):
    done = run(USE + STORE, tiny_path, broken, "llama", notes)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def without_network():
    """The command that runs another in a network namespace without routes; None if none can be."""
    command = ["unshare", "--map-root-user", "--net"]
    try:
        done = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return command if done.returncode == 0 else ()


def test_all_work_with_local_files_needs_no_network(tiny_path, broken, notes, cache_folder):
    """In a network namespace without routes where there can be one, and with none asked for."""
    asked = "assert made == [], made\n"
    done = run(
        GUARD + USE + STORE + asked,
        tiny_path,
        broken,
        "llama",
        notes,
        before=without_network(),
        GRITLITE_OFFLINE="1",
    )
    assert done.returncode == 0, done.stderr


def test_the_guard_notices_a_connection():
    connect = (
        "import socket\ntry: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError: pass\n"
    )
    assert run(GUARD + connect + "sys.exit(len(made))").returncode > 0
