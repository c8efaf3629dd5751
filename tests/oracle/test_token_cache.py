"""Tokens that are kept: the same examples as tokenizing gives, and never those of other rows."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gritlite.convert.pretrained import load_tokenizer
from gritlite.errors import FormatError
from gritlite.prompt import EmbedFormat
from gritlite.train.examples import Examples
from gritlite.train.recipe import Recipe
from gritlite.train.sources import read_sources, read_texts
from gritlite.train.tokens import Formatter
from tests.oracle.test_train import recipe_file
from tests.tiny import make_trainable

pytestmark = pytest.mark.torch


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    base = make_trainable(tmp_path / "base")
    return recipe_file(tmp_path, base, 2)


def read(recipe: Path, kept: Path | None) -> list[tuple[Any, ...]]:
    written = Recipe.read(recipe)
    return list(map(whole, read_sources(written, Path(written.base), recipe.parent, kept)))


def whole(examples: Examples) -> tuple[Any, ...]:
    return examples.source, tuple(examples.rows), examples.left_out


def test_every_source_comes_back(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read(recipe, None)
    assert read(recipe, tmp_path / "kept") == plain
    assert len(list((tmp_path / "kept").iterdir())) == len(plain) == 4
    monkeypatch.setattr(Formatter, "_plain", None)  # nothing is tokenized again
    monkeypatch.setattr(Formatter, "_control", None)
    assert read(recipe, tmp_path / "kept") == plain


def test_the_number_of_rows_left_out_comes_back(recipe: Path, tmp_path: Path) -> None:
    source = dataclasses.replace(Recipe.read(recipe).source[2], max_tokens=46)
    formatter = Formatter(load_tokenizer(tmp_path / "base"), EmbedFormat())
    first, again = (
        read_texts(recipe.parent / source.file, source, formatter, tmp_path / "kept")
        for _ in range(2)
    )
    assert whole(first) == whole(again)
    assert 0 < again.left_out < 20


def test_other_rows_or_lengths_are_tokenized(recipe: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = read(recipe, kept)
    pairs = recipe.parent / "pairs.jsonl"
    pairs.write_text("".join(pairs.read_text("utf-8").splitlines(True)[:19]), "utf-8")
    assert read(recipe, kept) == read(recipe, None) != first
    shorter = recipe.read_text("utf-8").replace("max_tokens = 512", "max_tokens = 500")
    recipe.write_text(shorter, "utf-8")
    assert read(recipe, kept) == read(recipe, None)


def test_a_damaged_file_is_named(recipe: Path, tmp_path: Path) -> None:
    read(recipe, tmp_path / "kept")
    (pairs,) = (tmp_path / "kept").glob("pairs-*")
    (pairs / "ids.npy").write_bytes((pairs / "ids.npy").read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"remove .*pairs-.*, and it is made again"):
        read(recipe, tmp_path / "kept")


def test_a_folder_that_lacks_a_file_is_named(recipe: Path, tmp_path: Path) -> None:
    read(recipe, tmp_path / "kept")
    (pairs,) = (tmp_path / "kept").glob("pairs-*")
    (pairs / "starts.npy").unlink()
    with pytest.raises(FormatError, match=r"pairs-.* holds no 'starts'.* remove "):
        read(recipe, tmp_path / "kept")
