"""A run that trains for smaller sizes writes axes, by which the runtime cuts its vectors."""

from pathlib import Path

import numpy as np
import pytest

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
    written.write_text(written.read_text() + "[embed]\nsizes = [8, 16]\n")
    return written


def test_vectors_are_cut_by_the_axes_of_the_run(recipe: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run = train(recipe, tmp_path / "run", on_axes=lambda *done: seen.append(done)).folder
    assert seen[-1][0] == seen[-1][1] > 0
    axes = np.load(run / "adapter" / "axes.npy").astype(np.float32)
    np.testing.assert_allclose(axes.T @ axes, np.eye(16), atol=2e-3)
    made = tmp_path / "made.gguf"
    convert(tmp_path / "base.gguf", made, "f32", adapter=run / "adapter")
    texts = [text for text in some_texts(12) if text.strip()]
    with GritLM(made, threads=1) as model:
        whole, found = model.encode(texts), model.encode(texts, dimensions=8)
    expected = whole @ axes[:, :8]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # they keep more of the cosines than the first numbers do
    first = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
    by_axes, by_first = (np.abs(part @ part.T - whole @ whole.T).mean() for part in (found, first))
    assert by_axes < by_first


def test_a_run_stopped_while_it_finds_them_goes_on_to_the_same_end(
    recipe: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    run = tmp_path / "run"
    stopped = train(
        recipe, run, on_axes=lambda done, _: seen.append(done), stopping=lambda: len(seen) == 1
    )
    assert not stopped.finished
    assert not (run / "adapter").exists()
    assert train(recipe, run, resume=True).finished
    straight = train(recipe, tmp_path / "straight").folder
    for name in ("axes.npy", "adapter_model.safetensors"):
        assert (run / "adapter" / name).read_bytes() == (straight / "adapter" / name).read_bytes()
