"""A run whose vectors are cut or whitened writes a projection, which the runtime applies.

A run that goes on from there trains projected vectors, and multiplies the projection.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.convert.pretrained import load_tokenizer
from gritlite.prompt import EmbedFormat
from gritlite.train.recipe import Recipe
from gritlite.train.rows import Text
from gritlite.train.run import save_adapter, train
from gritlite.train.tokens import Formatter
from gritlite.train.trainer import Trainer
from tests.oracle.test_train import recipe_file
from tests.some_texts import some_texts
from tests.tiny import make_trainable

pytestmark = pytest.mark.torch


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Six steps on a tiny base, of vectors that are to be cut to 8 and 16."""
    base = make_trainable(tmp_path / "base")
    convert(base, tmp_path / "base.gguf", "f32")
    written = recipe_file(tmp_path, tmp_path / "base.gguf", 6)
    written.write_text(written.read_text() + "[embed]\nsizes = [8, 16]\nwhitening = 0.5\n")
    return written


def test_vectors_are_multiplied_by_the_projection_of_the_run(recipe: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run = train(recipe, tmp_path / "run", on_projection=lambda *done: seen.append(done)).folder
    assert seen[-1][0] == seen[-1][1] > 0
    texts = [text for text in some_texts(12) if text.strip()]
    projected = vectors(tmp_path, run / "adapter", texts)
    projection = np.load(run / "adapter" / "projection.npy").astype(np.float32)
    (run / "adapter" / "projection.npy").unlink()
    plain = vectors(tmp_path, run / "adapter", texts)
    expected = plain @ projection
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(projected, expected, atol=1e-5)
    # the axes are those of the trained model: the first numbers keep more of the vectors
    kept, before = (np.linalg.norm(some[:, :8], axis=1).mean() for some in (projected, plain))
    assert kept > before


def vectors(folder: Path, adapter: Path, texts: list[str]) -> NDArray[np.float32]:
    convert(folder / "base.gguf", folder / "made.gguf", "f32", adapter=adapter, force=True)
    with GritLM(folder / "made.gguf", threads=1) as model:
        return model.encode(texts)


def test_a_run_stopped_while_it_finds_them_goes_on_to_the_same_end(
    recipe: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    run = tmp_path / "run"
    stopped = train(
        recipe,
        run,
        on_projection=lambda done, _: seen.append(done),
        stopping=lambda: len(seen) == 1,
    )
    assert not stopped.finished
    assert not (run / "adapter").exists()
    assert train(recipe, run, resume=True).finished
    straight = train(recipe, tmp_path / "straight").folder
    for name in ("projection.npy", "adapter_model.safetensors"):
        assert (run / "adapter" / name).read_bytes() == (straight / "adapter" / name).read_bytes()


@pytest.fixture
def earlier(recipe: Path, tmp_path: Path) -> Path:
    """The adapter of a run that wrote a projection; made.gguf is the base with both."""
    adapter = train(recipe, tmp_path / "earlier").folder / "adapter"
    vectors(tmp_path, adapter, ["A text."])
    return adapter


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("kept_in", ["the adapter", "the base"])
def test_a_run_that_goes_on_trains_the_vectors_that_the_runtime_gives(
    recipe: Path, earlier: Path, tmp_path: Path, kept_in: str
) -> None:
    texts = [text for text in some_texts(12) if text.strip()]
    with GritLM(tmp_path / "made.gguf", threads=1) as model:
        expected = model.encode(texts)
    trainer = goes_on(recipe, earlier, tmp_path, kept_in)
    formatter = Formatter(load_tokenizer(tmp_path / "base.gguf"), EmbedFormat())
    with torch.no_grad():
        ours = trainer.model.vectors([formatter.embed(Text(text), 512) for text in texts]).numpy()
    assert (ours * expected).sum(axis=1).min() > 0.9999
    # what it finds at its end is multiplied with what it began with: here a rotation
    begun = np.load(earlier / "projection.npy").astype(np.float64)
    for _ in trainer.find_projection():
        pass
    assert trainer.projection is not None
    rotation = np.linalg.solve(begun, trainer.projection)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(len(begun)), atol=1e-4)
    assert abs(rotation - np.eye(len(begun))).max() > 0.01


@pytest.mark.parametrize("kept_in", ["the adapter", "the base"])
def test_a_run_that_finds_no_projection_leaves_the_one_it_began_with(
    recipe: Path, earlier: Path, tmp_path: Path, kept_in: str
) -> None:
    trainer = goes_on(recipe, earlier, tmp_path, kept_in, "[embed]\nsizes = [8, 16]\n")
    save_adapter(trainer, tmp_path / "later")
    before, after = (folder / "projection.npy" for folder in (earlier, tmp_path / "later"))
    np.testing.assert_array_equal(np.load(before), np.load(after))


def goes_on(recipe: Path, earlier: Path, folder: Path, kept_in: str, removed: str = "") -> Trainer:
    """A trainer that begins where the earlier run ended, without whitening and what is removed."""
    text = recipe.read_text().replace("whitening = 0.5\n", "").replace(removed, "")
    start = f'[adapter]\nstart = "{earlier}"\n'
    if kept_in == "the adapter":
        text = text.replace("[adapter]\n", start)
    else:
        text = text.replace(f"{folder}/base.gguf", f"{folder}/made.gguf")
    recipe.write_text(text)
    read = Recipe.read(recipe)
    return Trainer(read, Path(read.base), folder)
