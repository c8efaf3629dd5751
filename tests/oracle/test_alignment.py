"""Training toward a teacher's vectors: the loss, and runs that are stopped and resumed."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from gritlite.convert import convert
from gritlite.train import objectives
from gritlite.train.recipe import Recipe
from gritlite.train.run import train
from gritlite.train.trainer import Trainer
from tests.oracle.test_gpu_train import make_teacher
from tests.oracle.test_train import recipe_file, trained, unit
from tests.tiny import make_trainable

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("float32")]


def taught_recipe(folder: Path, objective: str) -> Path:
    """A recipe of 8 steps, every second with this objective, and a teacher of 48 dimensions."""
    base = make_trainable(folder / "base")
    convert(base, folder / "base.gguf", "f32")
    make_teacher(folder / "teacher", width=48)
    path = recipe_file(folder, folder / "base.gguf", 8)
    text = path.read_text().replace('["contrastive"]', f'["contrastive", "{objective}"]')
    path.write_text(text + '[[embed.teacher]]\nfolder = "teacher"\n')
    return path


def keep_objective(recipe: Path) -> None:
    """Make it 30 steps of that objective alone."""
    text = recipe.read_text().replace("steps = 8", "steps = 30").replace('"contrastive", ', "")
    settings, source, *_ = text.split("[[source]]")
    teacher = text[text.index("[[embed.teacher]]") :]
    recipe.write_text(f"{settings}[[source]]{source}{teacher}")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return taught_recipe(tmp_path, "alignment")


def test_the_loss_is_torchs_mean_squared_error_of_whole_vectors() -> None:
    vectors, targets = unit(7, 16), unit(7, 16, seed=1)
    theirs = functional.mse_loss(vectors, targets) * 16  # of numbers, and ours of vectors
    expected = theirs / objectives.ALIGNED_DISTANCE**2
    torch.testing.assert_close(objectives.alignment(vectors, targets), expected)


def test_the_first_steps_loss_is_the_distance_from_the_aligned_teacher(recipe: Path) -> None:
    trainer = trained(recipe, 1)
    read = Recipe.read(recipe)
    fresh = Trainer(read, Path(read.base), recipe.parent)  # adapters begin as nothing
    _, pairs = next(fresh._batches(embeds=True))
    texts = [text for pair in pairs for text in pair.texts]
    taught = [str(words) for pair in pairs for words in pair.taught]
    assert trainer._teachers is not None
    assert trainer._whitened.map is not None
    theirs = trainer._teachers.vectors(taught) @ trainer._whitened.map.numpy()
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    with torch.no_grad():
        ours = fresh.model.vectors(texts).numpy()
    expected = np.square(ours - theirs).sum(axis=1).mean() / 0.25
    assert trainer.steps[0].losses["alignment"] == pytest.approx(expected, rel=1e-4)


def test_the_loss_falls(recipe: Path) -> None:
    keep_objective(recipe)
    losses = [step.losses["alignment"] for step in trained(recipe, 30).steps]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_resumed_run_ends_with_the_same_bits(recipe: Path, tmp_path: Path) -> None:
    straight = trained(recipe, 8)
    first = trained(recipe, 3)
    first.save(tmp_path / "checkpoint.pt")
    second = trained(recipe, 8, tmp_path / "checkpoint.pt")
    assert torch.equal(first._whitened.map, second._whitened.map)
    for name, parameter in straight.model.parameters.items():
        assert torch.equal(parameter, second.model.parameters[name]), name


def test_a_run_that_is_stopped_while_it_aligns(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gritlite.train.trainer._AT_ONCE", 8)
    seen: list[tuple[int, int]] = []

    def on_align(done: int, total: int) -> None:
        seen.append((done, total))

    run = tmp_path / "run"
    report = train(recipe, run, on_align=on_align, stopping=lambda: len(seen) == 2)
    assert (report.steps, report.finished) == (0, False)
    assert seen == [(8, 32), (16, 32)]
    stops = count()
    report = train(recipe, run, resume=True, on_align=on_align, stopping=lambda: next(stops) == 6)
    assert seen[2:] == [(8, 32), (16, 32), (24, 32), (32, 32)]
    assert 0 < report.steps < 8
    assert train(recipe, run, resume=True, on_align=on_align).finished
    assert len(seen) == 6  # once aligned, the checkpoint keeps it
    straight = train(recipe, tmp_path / "straight")
    weights = "adapter/adapter_model.safetensors"
    assert (straight.folder / weights).read_bytes() == (run / weights).read_bytes()
