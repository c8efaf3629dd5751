"""Activation sums are those that transformers' own layers see, in both attentions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite import GritLM
from gritlite.calibrate.calibration import Calibrator
from gritlite.calibrate.texts import embed_passes, generate_passes, read_texts
from gritlite.gptq.checkpoint_tokenizer import CheckpointTokenizer
from tests.oracle.conftest import Pair
from tests.tiny import PARTS
from tests.tiny_tokenizers import SENTENCES

pytestmark = pytest.mark.torch

CASES = (
    *("mistral", "llama-tied", "qwen2"),
    pytest.param("smollm2", marks=pytest.mark.real),
)


@pytest.mark.parametrize("embed_weight", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_sums_are_those_of_transformers(
    request: pytest.FixtureRequest, case: str, embed_weight: int, tmp_path: Path
) -> None:
    """Tensors to 0.1%, and their columns too where attention is not rounded to f16.

    llama.cpp keeps keys and values in f16: columns behind the attention of a real
    model, where some are small, differ from transformers' float32 by a few tenths of a percent.
    """
    pair: Pair = (
        request.getfixturevalue("smollm2_pair")
        if case == "smollm2"
        else request.getfixturevalue("tiny_pair")(case)
    )
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(SENTENCES * 12), "utf-8")
    with GritLM(pair.file) as model:
        calibrator = Calibrator(model, [text], embed_weight=embed_weight)
        for _ in calibrator.run():
            pass
        found = calibrator.result().imatrix
        passes = (embed_passes if embed_weight else generate_passes)(model, read_texts([text]))
    sequences = [sequence for each in passes for sequence in each.sequences]
    sums = transformers_sums(pair.folder, sequences, causal=not embed_weight)
    assert found.tensors.keys() == sums.keys()
    for name, expected in sums.items():
        total = found.tensors[name].sums[0]
        assert found.tensors[name].counts.tolist() == [sum(map(len, sequences))]
        assert total.sum() == pytest.approx(expected.sum(), rel=1e-3)
        most = 1e-2 if case == "smollm2" else 1e-3
        assert np.abs(total / expected - 1).max() < most, name


def transformers_sums(
    folder: Path, sequences: list[tuple[int, ...]], *, causal: bool
) -> dict[str, np.ndarray]:
    """Squared inputs of the blocks' linear layers, summed over all tokens, by GGUF's names."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    sums: dict[str, np.ndarray] = {}

    def add(name: str, inputs: torch.Tensor) -> None:
        squares = inputs[0].double().square().sum(dim=0).numpy()
        sums[name] = sums.get(name, 0) + squares

    for number, layer in enumerate(model.model.layers):
        for part, name in PARTS.items():

            def hook(_module: Any, inputs: Any, key: str = f"blk.{number}.{name}.weight") -> None:
                add(key, inputs[0])

            layer.get_submodule(part).register_forward_pre_hook(hook)
    with torch.no_grad():
        for sequence in sequences:
            n = len(sequence)
            # a mask of four dimensions is taken as it is: nothing is hidden
            options = {} if causal else {"attention_mask": torch.zeros(1, 1, n, n)}
            model(torch.tensor([sequence]), **options)
    return sums


@pytest.mark.parametrize("case", ["mistral", "llama-tied", "qwen2"])
def test_a_checkpoint_gives_the_passes_of_its_file(
    case: str, tiny_pair: Callable[[str], Pair], tmp_path: Path
) -> None:
    """What GPTQ is calibrated on is what an importance matrix is."""
    rows: list[dict[str, Any]] = [{"text": text} for text in SENTENCES]
    rows += [{"text": SENTENCES[0], "instruction": "Find what is like it"}]
    rows += [{"messages": [{"role": "user", "content": text}]} for text in SENTENCES[3:6]]
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows * 3), "utf-8")
    texts, pair = read_texts([path]), tiny_pair(case)
    theirs = CheckpointTokenizer.of(pair.folder)
    with GritLM(pair.file, threads=1) as ours:
        assert theirs.max_length == ours.max_length
        assert embed_passes(theirs, texts) == embed_passes(ours, texts)
        assert generate_passes(theirs, texts) == generate_passes(ours, texts)
