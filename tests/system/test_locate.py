"""Finding models by path or name."""

from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.system import cache
from gritlite.system.locate import is_repository, locate


def test_a_name_whose_model_was_deleted_is_unknown(cache_folder):
    path = cache.folder("hub") / "model.gguf"
    path.write_bytes(b"")
    cache.register("org/name:model.gguf", path)
    assert locate("org/name:model.gguf") == path
    path.unlink()
    with pytest.raises(FileError, match=r"gritlite pull org/name:model\.gguf"):
        locate("org/name:model.gguf")


def test_an_existing_path_wins(cache_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("default").write_bytes(b"")
    assert locate("default") == Path("default")


def test_a_mistyped_name_gets_a_suggestion(cache_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = cache.folder("hub") / "model.gguf"
    for file in (path, Path("gritlm.gguf")):
        file.write_bytes(b"")
    cache.register("GritLM/GritLM-7B", path)
    for mistyped, meant in (
        ("defualt", "default"),
        ("GritLM/GritLM-7b", "GritLM/GritLM-7B"),
        ("grtlm.gguf", "gritlm.gguf"),
        (str(tmp_path / "gritlm.ggf"), str(tmp_path / "gritlm.gguf")),
    ):
        with pytest.raises(FileError, match=rf"\(did you mean {meant}\?\): "):
            locate(mistyped)
    with pytest.raises(FileError, match="nothing does not exist: give"):
        locate("nothing")


@pytest.mark.parametrize("name", ["a/b", "GritLM/GritLM-7B", "a/b:c.gguf", "a_1/b.c-d"])
def test_repository_names(name):
    assert is_repository(name)


@pytest.mark.parametrize("name", ["", "a", "/a", "a/", "a/b/c", "../b", "./b", "a/b c", "a/-b"])
def test_other_names(name):
    assert not is_repository(name)
