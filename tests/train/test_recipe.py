"""Recipes: read whole, and refused with the name of what is wrong."""

from pathlib import Path

import pytest

from gritlite import FileError, FormatError
from gritlite.train.recipe import Recipe

SOURCE = '[[source]]\nfile = "a.jsonl"\nobjectives = ["contrastive"]\nbatch = 4\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_is_read_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    text = 'base = "base"\nsteps = 10\n[schedule]\nlearning_rate = 1\n' + SOURCE
    recipe = Recipe.read(written(tmp_path, text))
    assert (recipe.base, recipe.steps, recipe.attention) == ("base", 10, "bbcc")
    assert recipe.schedule.learning_rate == 1.0
    assert recipe.source[0].objectives == ("contrastive",)
    assert recipe.source[0].embeds
    assert recipe.embed.teacher == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps = ", "is not TOML"),
        ("steps = 3\n" + SOURCE, "base is missing"),
        ('base = "b"\nsteps = 3\n', "source is missing"),
        ('base = "b"\nsteps = 3\nsource = []\n', r"no \[\[source\]\]"),
        ('base = "b"\nsteps = "3"\n' + SOURCE, "steps is '3': expected int"),
        ('base = "b"\nsteps = true\n' + SOURCE, "steps is True: expected int"),
        ('base = "b"\nsteps = 0\n' + SOURCE, "steps is 0"),
        ('base = "b"\nsteps = 1\npace = 2\n' + SOURCE, "pace is not known"),
        ('base = "b"\nsteps = 1\nadapter = 2\n' + SOURCE, "adapter is not a table"),
        ('base = "b"\nsteps = 1\n[adapter]\nsize = 2\n' + SOURCE, "adapter.size is not known"),
        ('base = "b"\nsteps = 1\nattention = "ccbb"\n' + SOURCE, "attention is 'ccbb'"),
        (
            'base = "b"\nsteps = 1\n' + SOURCE.replace("contrastive", "guessing"),
            "an objective of a.jsonl is 'guessing'",
        ),
        (
            'base = "b"\nsteps = 1\n' + SOURCE.replace('"contrastive"', '"cached", "ranking"'),
            "'cached' cannot be combined with other objectives",
        ),
        (
            'base = "b"\nsteps = 1\n' + SOURCE.replace("contrastive", "distillation"),
            "embed.teacher is missing",
        ),
        ('base = "b"\nsteps = 1\n' + SOURCE.replace('["contrastive"]', "[]"), "no objectives"),
        (
            'base = "b"\nsteps = 1\n[generate]\nimitation = 2\n' + SOURCE,
            "imitation is 2.0: expected a number from 0 to 1",
        ),
        (
            'base = "b"\nsteps = 1\n[embed]\nwhitening = -0.5\n' + SOURCE,
            "embed.whitening is -0.5: expected a number from 0 to 1",
        ),
        (
            'base = "b"\nsteps = 1\n[embed]\nqueue = -1\n' + SOURCE,
            "embed.queue is -1: expected a number of texts, or 0",
        ),
        (
            'base = "b"\nsteps = 1\n' + SOURCE + "weight = 0\n",
            "weight of a.jsonl is 0.0: expected more than 0",
        ),
        (
            'base = "b"\nsteps = 1\n[embed]\nsizes = [0]\n' + SOURCE,
            "0 of embed.sizes is 0: expected more than 0",
        ),
        (
            'base = "b"\nsteps = 1\n[embed]\nteacher = "minilm"\n' + SOURCE,
            r"embed.teacher is 'minilm': expected \[\[embed.teacher\]\] tables",
        ),
        (
            'base = "b"\nsteps = 1\n[[embed.teacher]]\nfolder = "m"\nshare = 0\n' + SOURCE,
            "share of the teacher m is 0.0: expected more than 0",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FormatError, match=r"recipe\.toml.*" + told):
        Recipe.read(written(tmp_path, text))


def test_a_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        Recipe.read(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["recipe", "gpu", "longer"])
def test_a_recipe_writes_itself(tmp_path: Path, name: str) -> None:
    recipe = Recipe.read(Path(f"recipes/default/{name}.toml"))
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.read(tmp_path / "recipe.toml") == recipe
