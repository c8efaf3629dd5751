"""A run whose vectors are cut or whitened writes a projection, which the runtime applies."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.train.run import train
from tests.oracle.test_train import recipe_file
from tests.some_texts import some_texts
from tests.tiny import make_checkpoint

pytestmark = pytest.mark.torch


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Six steps on a tiny base, of vectors that are to be cut to 8 and 16."""
    base = make_checkpoint(tmp_path / "base", "llama-tied")
    (base / "chat_template.jinja").unlink()  # GritLM's own, which ends its answers
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
