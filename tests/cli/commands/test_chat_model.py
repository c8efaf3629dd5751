"""Exchanging the model of a session."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

from gritlite.cli.commands.chat_model import ChatModel
from gritlite.errors import FileError, FormatError, OutOfMemoryError


@pytest.fixture
def log():
    return []


@pytest.fixture
def make(log):
    """A `ChatModel` whose models only tell when they are opened and closed."""

    def make(name, fails=()):
        @contextmanager
        def load(name):
            log.append(f"open {name}")
            if name in fails:
                raise OutOfMemoryError("too large")
            yield SimpleNamespace(name=name, context_length=4096)
            log.append(f"close {name}")

        return ChatModel(name, load, lambda model: nullcontext(f"respondent of {model.name}"))

    return make


def test_one_model_is_open_at_a_time(make, log, model, tmp_path):
    other = tmp_path / "other.gguf"
    other.symlink_to(model)
    with make(str(model)) as chat_model:
        assert chat_model.title == "tiny.gguf, 4,096 tokens of context"
        chat_model.exchange(str(other))
        assert chat_model.respondent == f"respondent of {other}"
        assert chat_model.title.startswith("other.gguf, ")
    assert log == [f"open {model}", f"close {model}", f"open {other}", f"close {other}"]


def test_a_model_that_cannot_be_loaded_brings_the_old_one_back(make, log, model, tmp_path):
    large = tmp_path / "large.gguf"
    large.symlink_to(model)
    with make(str(model), fails=[str(large)]) as chat_model:
        with pytest.raises(OutOfMemoryError):
            chat_model.exchange(str(large))
        assert chat_model.name == str(model)
    assert log[-3:] == [f"open {large}", f"open {model}", f"close {model}"]


def test_what_is_no_model_leaves_the_old_one_open(make, log, model, tmp_path):
    (tmp_path / "text.gguf").write_text("text")
    with make(str(model)) as chat_model:
        with pytest.raises(FormatError):
            chat_model.exchange(str(tmp_path / "text.gguf"))
        with pytest.raises(FileError, match="does not exist"):
            chat_model.exchange("missing.gguf")
        assert log == [f"open {model}"]
