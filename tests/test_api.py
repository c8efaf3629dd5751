"""docs/api.md lists what is public, all of it and nothing else, and its examples run."""

import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gritlite
import gritlite.rag

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PACKAGES = {"gritlite": gritlite, "gritlite.rag": gritlite.rag}


def sections(page, level):
    """The parts of a page under its headings of a level, by heading; code is not looked into."""
    code = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    hidden = code.sub(lambda block: re.sub(r"(?m)^#", "\0", block[0]), page)
    parts = re.split(rf"(?m)^{'#' * level} (.*)$", hidden)[1:]
    return {
        heading: text.replace("\0", "#")
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


LISTS = {name: text for name, text in sections(PAGE, 1).items() if name != "Python API"}
ROWS = re.findall(r"(?m)^\| `(\w+)` \| (.*?) \| (.*?) \|$", PAGE)


def listed(package):
    """The names that the page gives to a package, in headings and in tables' first columns."""
    text = LISTS[package]
    return re.findall(r"(?m)^## `(\w+)`$", text) + re.findall(r"(?m)^\| `(\w+)` \|", text)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_lists_what_is_public(package):
    names = listed(package)
    assert len(names) == len(set(names))
    assert set(names) == set(PACKAGES[package].__all__)


def test_the_page_has_a_part_for_each_package():
    assert set(LISTS) == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_has_an_example(package):
    for heading, text in sections(LISTS[package], 2).items():
        examples = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
        assert heading == "Errors" or heading.strip("`") in examples, heading


@pytest.fixture
def clone(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


@pytest.mark.real
def test_the_examples_run_in_order(clone):
    script = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    command = [sys.executable, "-W", "error", "-X", "utf8", "-c", script]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Margaret Bell" in done.stdout


# examples that depend on the machine, or take files that are not here
IN_WORDS = {
    *(
        "OutputExistsError",
        "RequantizationError",
        "DocumentError",
        "ArchitectureError",
        "TokenizerError",
        "EngineWarning",
    ),
    *(
        "NotFiniteError",
        "OutOfMemoryError",
        "MissingExtraError",
        "DeviceError",
        "LibraryError",
        "ModelProcessError",
        "DownloadError",
    ),
}


@pytest.mark.real
def test_the_errors_are_raised_as_the_page_says(clone, monkeypatch):
    monkeypatch.chdir(clone)
    cancelled = threading.Event()
    cancelled.set()
    closed = gritlite.GritLM("default")
    closed.close()
    in_words = set()
    with gritlite.GritLM("default") as model:
        known = {**vars(gritlite), "model": model, "cancelled": cancelled, "closed": closed}
        known |= {"GritLM": gritlite.GritLM}
        for name, _, example in ROWS:
            code = re.fullmatch(r"`([^`]*)`", example)
            if code is None:
                in_words.add(name)
            elif name == "TruncationWarning":
                with pytest.warns(gritlite.TruncationWarning):
                    eval(code[1], known)
            else:
                with pytest.raises(getattr(gritlite, name)):
                    eval(code[1], known)
    assert in_words == IN_WORDS
