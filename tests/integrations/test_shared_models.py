"""One loaded model for each file, whoever asks for it."""

import gc
import shutil

import pytest

from gritlite import FileError, GritLM
from gritlite.integrations.shared_models import shared_model


def test_a_file_is_loaded_once(tiny_path, tmp_path, monkeypatch):
    first = shared_model(tiny_path)
    assert shared_model(str(tiny_path)) is first
    monkeypatch.chdir(tiny_path.parent)
    assert shared_model(tiny_path.name) is first
    (tmp_path / "link.gguf").symlink_to(tiny_path)
    assert shared_model(tmp_path / "link.gguf") is first
    shutil.copy(tiny_path, tmp_path / "copy.gguf")
    assert shared_model(tmp_path / "copy.gguf") is not first


def test_a_closed_model_is_loaded_again(tiny_path):
    first = shared_model(tiny_path)
    assert not first.is_closed
    first.close()
    assert first.is_closed
    assert shared_model(tiny_path).encode("a").shape == (first.dimension,)


def test_a_given_model_is_that_of_its_file(tiny_path, tmp_path):
    path = shutil.copy(tiny_path, tmp_path / "model.gguf")
    with GritLM(path, threads=1) as model:
        assert shared_model(model) is model
        assert shared_model(path) is model
        path.unlink()
        assert shared_model(model) is model
    assert shared_model(model) is model  # its use raises ClosedError


def test_a_file_that_was_replaced_is_loaded(tiny_path, tiny_file, tmp_path):
    path = shutil.copy(tiny_path, tmp_path / "model.gguf")
    first = shared_model(path)
    shutil.copy(tiny_file("qwen2"), tmp_path / "new.gguf").replace(path)
    assert shared_model(path).dimension is not None
    assert shared_model(path) is not first


def test_a_model_that_nobody_holds_is_freed(tiny_path, tmp_path):
    path = shutil.copy(tiny_path, tmp_path / "model.gguf")
    identity = id(shared_model(path).identity)
    del identity
    gc.collect()
    from gritlite.integrations import shared_models

    assert path not in {model.path for model in shared_models._models.values()}


def test_a_missing_model():
    with pytest.raises(FileError, match="does not exist"):
        shared_model("missing.gguf")
