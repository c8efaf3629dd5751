"""Merged by gritlite, merged by PEFT, and not merged at all: one adapted model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from gritlite import GritLM
from gritlite.convert import convert, write_adapter
from tests.oracle.test_parity import DOCUMENT, official
from tests.reference import loaded, logits
from tests.tiny import VOCABULARY, make_checkpoint
from tests.tiny_tokenizers import SENTENCES

pytestmark = [
    pytest.mark.torch,
    # transformers' own: what the official package passes to it was renamed
    pytest.mark.filterwarnings("ignore:`torch_dtype` is deprecated"),
    # and what PEFT asks of it
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),
]

IDS = np.random.default_rng(1).integers(3, VOCABULARY - 20, 100).tolist()

# all-linear would also name mixtral's experts, which gritlite refuses
CASES: dict[str, dict[str, Any]] = {
    "llama-tied": {},
    "mistral": {
        "use_rslora": True,
        "rank_pattern": {r"layers\.1\..*": 4},
        "alpha_pattern": {"down_proj": 5},
    },
    "qwen2": {},
    "mixtral": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
}


@dataclass(frozen=True)
class Adapted:
    """A base, an adapter of it that PEFT saved, and the base with it merged in by PEFT."""

    base: Path
    adapter: Path
    merged: Path


@pytest.fixture(scope="module", params=CASES)
def adapted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    folder = tmp_path_factory.mktemp("adapted")
    base = make_checkpoint(folder / "base", request.param)
    made = Adapted(base, folder / "adapter", folder / "merged")
    torch.manual_seed(0)
    options = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", **CASES[request.param]}
    model = get_peft_model(causal_lm(made.base), LoraConfig(**options))
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(made.adapter)
    # the tokenizer and the rest stand as they are
    make_checkpoint(made.merged, request.param)
    model.merge_and_unload().save_pretrained(made.merged)
    return made


def causal_lm(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def torch_logits(model: torch.nn.Module) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


def test_logits(adapted: Adapted, tmp_path: Path) -> None:
    plain = torch_logits(causal_lm(adapted.base))
    unmerged = torch_logits(PeftModel.from_pretrained(causal_lm(adapted.base), adapted.adapter))
    by_peft = torch_logits(causal_lm(adapted.merged))
    assert np.abs(unmerged - plain).max() > 0.5
    np.testing.assert_allclose(by_peft, unmerged, atol=1e-4)

    convert(adapted.base, tmp_path / "base.gguf", "f32")
    convert(adapted.base, tmp_path / "merged.gguf", "f32", adapter=adapted.adapter)
    write_adapter(adapted.adapter, adapted.base, tmp_path / "adapter.gguf")
    with loaded(tmp_path / "merged.gguf") as model:
        np.testing.assert_allclose(logits(model, IDS), unmerged, atol=1e-4)
    with loaded(tmp_path / "base.gguf") as model:
        beside = logits(model, IDS, adapter=tmp_path / "adapter.gguf")
    np.testing.assert_allclose(beside, unmerged, atol=2e-4)


def test_vectors(adapted: Adapted, tmp_path: Path) -> None:
    texts = list(SENTENCES)
    reference = official(adapted.base)
    plain = reference.encode(texts, instruction=DOCUMENT)
    reference.model = PeftModel.from_pretrained(reference.model, adapted.adapter).model
    unmerged = reference.encode(texts, instruction=DOCUMENT)
    by_peft = official(adapted.merged).encode(texts, instruction=DOCUMENT)
    assert least_cosine(unmerged, plain) < 0.99
    assert least_cosine(by_peft, unmerged) >= 0.9999

    convert(adapted.base, tmp_path / "merged.gguf", "f32", adapter=adapted.adapter)
    with GritLM(tmp_path / "merged.gguf") as model:
        assert least_cosine(model.encode(texts), unmerged) >= 0.9999


def least_cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float((ours * theirs).sum(-1).min())
