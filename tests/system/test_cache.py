"""The folder of pulled models."""

import os
import sys

import pytest

from gritlite.errors import FileError
from gritlite.system import cache


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "home/.cache/gritlite"),
        ({"XDG_CACHE_HOME": "/elsewhere"}, "/elsewhere/gritlite"),
        ({"XDG_CACHE_HOME": "relative"}, "home/.cache/gritlite"),
        ({"GRITLITE_CACHE": "/mine"}, "/mine"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="another convention holds")
def test_the_folder_follows_the_conventions(tmp_path, monkeypatch, variables, expected):
    for name in ("GRITLITE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    assert cache.root() == tmp_path / expected


def test_no_home_is_reported_plainly(monkeypatch):
    monkeypatch.delenv("GRITLITE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
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


def test_of_many_records_the_oldest_are_removed(cache_folder):
    for number in range(5):
        cache.keep_record(number, "kept", f"{number}.json", most=5)
        os.utime(cache_folder / "kept" / f"{number}.json", ns=(number, number))
    cache.keep_record(5, "kept", "1.json", most=5)
    cache.keep_record(6, "kept", "6.json", most=5)
    found = {path.name for path in (cache_folder / "kept").iterdir()}
    assert found == {"1.json", "2.json", "3.json", "4.json", "6.json"}
    assert cache.read_record("kept", "1.json") == 5
    cache.keep_record(7, "record.json")
    assert {path.name for path in cache_folder.iterdir()} == {"kept", "record.json"}
