"""A training that begins from an earlier adapter: it computes what that does, whatever its rank."""

import dataclasses
from pathlib import Path

import pytest
import torch

from gritlite.errors import FileError, FormatError
from gritlite.train.recipe import Adapter, Recipe
from gritlite.train.run import save_adapter
from gritlite.train.trainer import Trainer
from tests.oracle.test_train import recipe_file, texts, trained
from tests.tiny import make_trainable

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("float32")]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe whose run of two steps left an adapter beside it, of rank 4 and scale 8."""
    base = make_trainable(tmp_path / "base")
    written = recipe_file(tmp_path, base, 2)
    save_adapter(trained(written, 2), tmp_path / "adapter")
    return written


def begun(recipe: Path, adapter: Adapter) -> Trainer:
    read = dataclasses.replace(Recipe.read(recipe), adapter=adapter)
    return Trainer(read, recipe.parent / read.base, recipe.parent)


@pytest.mark.parametrize(("rank", "alpha"), [(4, 32), (6, 24)])
def test_it_computes_what_the_adapter_does(recipe: Path, rank: int, alpha: float) -> None:
    earlier = trained(recipe, 2)
    later = begun(recipe, Adapter(rank, alpha, "adapter"))
    with torch.no_grad():
        for parameter in earlier.model.parameters.values():
            parameter.copy_(parameter.half())  # as the file keeps it
        expected, found = (each.model.vectors(texts()) for each in (earlier, later))
        plain = begun(recipe, Adapter(rank, alpha)).model.vectors(texts())
    torch.testing.assert_close(found, expected)
    assert (plain - expected).abs().max() > 1e-3


def test_a_smaller_rank_is_refused(recipe: Path) -> None:
    with pytest.raises(FormatError, match=r"give adapter\.rank at least its rank"):
        begun(recipe, Adapter(3, 24, "adapter"))


def test_a_folder_without_an_adapter_is_refused(recipe: Path) -> None:
    with pytest.raises(FileError, match="name the folder of a PEFT adapter"):
        begun(recipe, Adapter(4, 32, "base"))
