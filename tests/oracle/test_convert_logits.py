"""A converted file at f32 gives the logits that transformers gives for the checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite.convert import convert
from tests.reference import loaded, logits
from tests.tiny import CASES, VOCABULARY, make_checkpoint

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", case)
    convert(folder, tmp_path / "model.gguf", "f32")
    # past the original contexts of the rope scalings
    ids = np.random.default_rng(1).integers(3, VOCABULARY - 20, 200).tolist()
    with loaded(tmp_path / "model.gguf") as model:
        ours = logits(model, ids)
    theirs = _transformers_logits(folder, ids)
    assert theirs.std() > 0.3
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.99


def _transformers_logits(folder: Path, ids: list[int]) -> np.ndarray:
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()
