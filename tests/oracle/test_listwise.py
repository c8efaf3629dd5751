"""Training toward the teachers' similarities, text by text: the loss, and runs."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor
from torch.nn import functional

from gritlite.train import objectives
from gritlite.train.alignment import reducing
from gritlite.train.recipe import Embed, Recipe
from gritlite.train.run import train
from gritlite.train.trainer import Trainer
from gritlite.train.whitened import Whitened
from tests.oracle.test_alignment import keep_objective, taught_recipe
from tests.oracle.test_train import trained, unit

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("float32")]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = taught_recipe(tmp_path, "listwise")
    text = path.read_text()
    path.write_text(
        text.replace("[adapter]", "[embed]\nteacher_whitening = 0.5\nqueue = 40\n[adapter]")
    )
    return path


def divergence(
    ours: np.ndarray, theirs: np.ndarray, temperature: float, count: int | None = None
) -> float:
    """What scipy makes of the shares of the first `count` texts' similarities to all others."""
    found = []
    for row in range(len(ours) if count is None else count):
        others = [other for other in range(len(ours)) if other != row]
        own, wanted = (softmax(each[others] @ each[row] / temperature) for each in (ours, theirs))
        found.append(rel_entr(wanted, own).sum())
    return float(np.mean(found))


def listwise(ours: Tensor, theirs: Tensor, temperature: float, count: int | None = None) -> float:
    """The loss of the first `count` texts, when the others came before."""
    earlier = (ours[count:], theirs[count:]) if count else (ours[:0], theirs[:0])
    return objectives.listwise(ours[:count], theirs[:count], temperature, earlier).item()


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize("count", [None, 4])
def test_the_loss_is_scipys_divergence(temperature: float, count: int | None) -> None:
    ours, theirs = unit(9, 8), unit(9, 5, seed=1)
    expected = divergence(ours.numpy(), theirs.numpy(), temperature, count)
    assert listwise(ours, theirs, temperature, count) == pytest.approx(expected, rel=1e-4)
    assert listwise(theirs, theirs, temperature, count) == pytest.approx(0, abs=1e-6)


def test_a_text_that_came_before_is_not_another() -> None:
    ours, theirs = unit(9, 8), unit(9, 5, seed=1)
    again = torch.cat([ours[4:], unit(1, 8, seed=2)]), torch.cat([theirs[4:], theirs[:1]])
    found = objectives.listwise(ours[:1], theirs[:1], 0.05, again)
    others = objectives.listwise(ours[:1], theirs[:1], 0.05, (ours[4:], theirs[4:]))
    assert found.item() == pytest.approx(others.item(), rel=1e-5)


def test_a_text_alone_has_no_loss() -> None:
    alone = unit(1, 8).requires_grad_()
    loss = objectives.listwise(alone, unit(1, 5), 0.05, (unit(0, 8), unit(0, 5)))
    loss.backward()
    assert loss.item() == 0
    assert not alone.grad.any()


def test_the_queue_holds_the_last_texts_of_earlier_steps() -> None:
    whitened = Whitened(Embed(queue=7))
    whitened.map = unit(6, 5)
    steps = [(unit(5, 8, seed=seed), unit(5, 6, seed=seed + 10)) for seed in range(4)]
    losses = [whitened.losses(["listwise"], *step)["listwise"] for step in steps]
    for number in range(4):
        # this step's texts, then those before it, the latest of which is at the end
        ours, theirs = (
            torch.cat([each[number], torch.cat([unit(0, len(each[0][0])), *each[:number]])[-7:]])
            for each in ([one for one, _ in steps], [one for _, one in steps])
        )
        targets = functional.normalize(theirs @ whitened.map, dim=1)
        expected = divergence(ours.numpy(), targets.numpy(), 0.05, 5)
        assert losses[number].item() == pytest.approx(expected, rel=1e-4)


def test_the_first_steps_loss_is_the_divergence_from_the_whitened_teacher(recipe: Path) -> None:
    trainer = trained(recipe, 1)
    read = Recipe.read(recipe)
    fresh = Trainer(read, Path(read.base), recipe.parent)  # adapters begin as nothing
    _, pairs = next(fresh._batches(embeds=True))
    texts = [text for pair in pairs for text in pair.texts]
    taught = [str(words) for pair in pairs for words in pair.taught]
    assert trainer._teachers is not None
    every = fresh._first_texts(4_000, ("listwise",)).values()
    axes = reducing(trainer._teachers.vectors([str(text) for text in every]), 64, 0.5)
    theirs = trainer._teachers.vectors(taught) @ axes
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    with torch.no_grad():
        ours = fresh.model.vectors(texts).numpy()
    expected = divergence(ours, theirs, read.embed.temperature)
    assert trainer.steps[0].losses["listwise"] == pytest.approx(expected, rel=1e-3)


def test_the_loss_falls_and_nothing_is_embedded_before(recipe: Path, tmp_path: Path) -> None:
    keep_objective(recipe)
    losses: list[float] = []
    aligned: list[int] = []
    train(
        recipe,
        tmp_path / "run",
        on_align=lambda done, _: aligned.append(done),
        on_step=lambda step: losses.append(step.losses["listwise"]),
    )
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert not aligned


def test_a_stopped_run_ends_with_the_same_bits(recipe: Path, tmp_path: Path) -> None:
    straight = train(recipe, tmp_path / "straight")
    stops = count()
    stopped = train(recipe, tmp_path / "run", stopping=lambda: next(stops) == 4)
    assert 0 < stopped.steps < 8
    assert train(recipe, tmp_path / "run", resume=True).finished
    weights = "adapter/adapter_model.safetensors"
    assert (straight.folder / weights).read_bytes() == (tmp_path / "run" / weights).read_bytes()
