import sys
from pathlib import Path

import pytest

from gritlite.errors import FileError, UsageError
from gritlite.pull.models import pull
from gritlite.system import cache
from gritlite.system.locate import is_repository, locate


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/gritlite"),
        ("linux", {"XDG_CACHE_HOME": "/elsewhere"}, "/elsewhere/gritlite"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/gritlite"),
        ("darwin", {}, "home/Library/Caches/gritlite"),
        ("win32", {"LOCALAPPDATA": "/appdata"}, "/appdata/gritlite"),
        ("win32", {}, "home/AppData/Local/gritlite"),
        ("linux", {"GRITLITE_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_folder_follows_the_conventions(tmp_path, monkeypatch, platform, variables, expected):
    for name in ("GRITLITE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.root() == tmp_path / expected


def test_no_home_is_reported_plainly(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GRITLITE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(FileError, match="set GRITLITE_CACHE"):
        cache.root()


def test_a_home_of_nobody_is_reported_plainly(monkeypatch):
    monkeypatch.setenv("GRITLITE_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(FileError, match="set GRITLITE_CACHE"):
        cache.root()


def test_a_folder_that_cannot_be(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileError, match="set GRITLITE_CACHE"):
        cache.folder("models")


def test_a_name_whose_model_was_deleted_stands_for_nothing(cache_folder):
    path = cache.folder("hub") / "model.gguf"
    path.write_bytes(b"")
    cache.assign("org/name:model.gguf", path)
    assert locate("org/name:model.gguf") == path
    path.unlink()
    with pytest.raises(FileError, match=r"gritlite pull org/name:model\.gguf"):
        locate("org/name:model.gguf")


def test_an_existing_path_wins(cache_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("default").write_bytes(b"")
    assert locate("default") == Path("default")


def test_a_name_that_is_nothing(cache_folder):
    with pytest.raises(FileError, match="nothing does not exist"):
        locate("nothing")
    with pytest.raises(UsageError, match="nothing is no model to pull"):
        pull("nothing")


def test_a_model_of_the_catalog_has_no_revision(cache_folder):
    with pytest.raises(UsageError, match="the model default has only one revision"):
        pull("default", revision="main")


@pytest.mark.parametrize("name", ["a/b", "GritLM/GritLM-7B", "a/b:c.gguf", "a_1/b.c-d"])
def test_names_of_repositories(name):
    assert is_repository(name)


@pytest.mark.parametrize("name", ["", "a", "/a", "a/", "a/b/c", "../b", "./b", "a/b c", "a/-b"])
def test_other_names(name):
    assert not is_repository(name)
