"""Folders for the official package and transformers, and the files converted from them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gritlite.convert import convert
from tests.tiny import make_checkpoint


@dataclass(frozen=True)
class Pair:
    """A Hugging Face folder, and the f32 GGUF file that gritlite makes of it."""

    folder: Path
    file: Path


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in float32, to compare digits, also on a processor that computes bfloat16."""
    monkeypatch.setattr("gritlite.train.model.computes_bfloat16", lambda _: False)


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """Pairs of tiny random checkpoints, by their name in tests.tiny."""
    made: dict[str, Pair] = {}

    def make(case: str) -> Pair:
        if case not in made:
            root = tmp_path_factory.mktemp(case)
            made[case] = convert_pair(make_checkpoint(root / "checkpoint", case))
        return made[case]

    return make


@pytest.fixture(scope="session")
def smollm2_pair(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """SmolLM2-135M-Instruct as transformers reads it from the pulled GGUF file."""
    folder = tmp_path_factory.mktemp("smollm2") / "checkpoint"
    where = {"pretrained_model_name_or_path": smollm2.parent, "gguf_file": smollm2.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # one that has forgotten its quantization, which transformers does not save
    del loaded.config.quantization_config
    model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    return convert_pair(folder)


def convert_pair(folder: Path) -> Pair:
    """Convert a folder at f32."""
    file = folder.with_name("model.gguf")
    convert(folder, file, "f32")
    return Pair(folder, file)
