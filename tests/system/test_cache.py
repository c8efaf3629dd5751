"""The folder of pulled models."""

import sys
from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.system import cache


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
