"""Exported ONNX graphs give transformers' own hidden states, with attention in both directions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from gritlite.convert.onnx_export import export_onnx
from gritlite.modelfile.header import read_header
from tests.oracle.conftest import Pair
from tests.tiny_tokenizers import SENTENCES

CASES = ("mistral", "mixtral", "llama-tied", "llama-llama3", "llama-yarn", "qwen2", "qwen2-yarn")


@pytest.mark.parametrize("case", CASES)
def test_hidden_states(tiny_pair: Callable[[str], Pair], tmp_path: Path, case: str) -> None:
    pair, folder = tiny_pair(case), tmp_path / "onnx"
    export_onnx(read_header(pair.file), folder, "float32", checkpoint=pair.folder)
    assert AutoConfig.from_pretrained(folder).hidden_size == 64
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModel.from_pretrained(pair.folder, dtype=torch.float32)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    for side in ("left", "right"):
        inputs = tokenizer(
            list(SENTENCES),
            padding=True,
            padding_side=side,
            return_tensors="np",
            return_token_type_ids=False,
        )
        given = {name: array.astype(np.int64) for name, array in inputs.items()}
        (hidden,) = session.run(None, given)
        is_token = given["attention_mask"] == 1
        expected = bidirectional(model, given["input_ids"], is_token)
        np.testing.assert_allclose(hidden[is_token], expected[is_token], atol=2e-4)


def bidirectional(model: torch.nn.Module, ids: np.ndarray, is_token: np.ndarray) -> np.ndarray:
    """transformers' hidden states where each token attends to all tokens of its row."""
    mask = torch.zeros(len(ids), 1, ids.shape[1], ids.shape[1])
    mask.masked_fill_(~torch.tensor(is_token)[:, None, None], torch.finfo(torch.float32).min)
    with torch.no_grad():
        return model(torch.tensor(ids), attention_mask=mask).last_hidden_state.numpy()
