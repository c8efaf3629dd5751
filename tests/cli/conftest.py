import subprocess
import sys

import pytest

from tests.rag.documents import notes
from tests.sample_gguf import write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny random model with a byte-level BPE tokenizer and a context of 128 tokens."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf", trained=True)


@pytest.fixture
def gritlite(model):
    """Run the command line in a child process, with the tiny model if the command takes one."""

    def run(command, *arguments, stdin=b""):
        chosen = () if command == "doctor" else ("--model", model, "--threads", 1)
        line = [sys.executable, "-m", "gritlite", command, *chosen, *arguments]
        done = subprocess.run(list(map(str, line)), input=stdin, capture_output=True, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `notes` of documents, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return notes(tmp_path / "notes")
