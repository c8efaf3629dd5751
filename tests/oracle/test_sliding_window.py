"""Models that attend to a window, against transformers: equal within it, and different beyond."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite import GritLM, Scorer
from gritlite.convert import convert
from tests.tiny import make_checkpoint

WINDOW = 16
QWEN2 = {"use_sliding_window": True, "max_window_layers": 0}


@pytest.mark.parametrize(
    ("case", "config"), [("mistral", {}), ("mixtral", {}), ("qwen2", QWEN2)], ids=str
)
def test_logits(tmp_path: Path, case: str, config: dict[str, Any]) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", case, sliding_window=WINDOW, **config)
    convert(folder, tmp_path / "model.gguf", "f32")
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    full = make_checkpoint(tmp_path / "full", case, sliding_window=None)
    unlimited = AutoModelForCausalLM.from_pretrained(full, dtype=torch.float32)
    with GritLM(tmp_path / "model.gguf", threads=1) as ours:
        assert ours.context_length == WINDOW
        ids = [int(token) for token in np.arange(20, 20 + 2 * WINDOW)]
        found = Scorer(ours).logits(ids[:WINDOW], 1)
    with torch.no_grad():
        expected, without = (
            model(torch.tensor([ids])).logits[0].numpy() for model in (theirs, unlimited)
        )
    inside = expected[: WINDOW - 1]
    assert np.abs(found - inside).max() < 0.01 * inside.std()
    # beyond the window an engine that ignores it is wrong, which is why the context ends there
    assert np.abs(expected[-1] - without[-1]).max() > 0.1 * inside.std()
    assert np.abs(inside - without[: WINDOW - 1]).max() < 1e-4
