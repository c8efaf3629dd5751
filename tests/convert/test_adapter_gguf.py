"""A GGUF adapter that llama.cpp puts beside the base gives what the merged file gives."""

import ctypes
import json
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest

from gritlite.convert import convert, write_adapter
from gritlite.errors import FormatError, OutputExistsError
from tests.reference import loaded, logits
from tests.tiny import VOCABULARY, make_checkpoint
from tests.tiny_adapters import ATTENTION, make_adapter

IDS = np.random.default_rng(1).integers(3, VOCABULARY - 20, 60).tolist()

CASES: dict[str, dict[str, Any]] = {
    "llama-tied": {},
    "llama-head-dim": {"dtype": "F16", "use_rslora": True},
    "mistral": {"ranks": {"v_proj": 2, "down_proj": 6}, "alpha_pattern": {"q_proj": 3.0}},
    "mixtral": {"targets": ATTENTION},
    "qwen2": {"dtype": "BF16"},
}


@pytest.mark.parametrize("case", CASES)
def test_beside_the_base_it_says_what_the_merged_file_says(case: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", case)
    adapter = make_adapter(tmp_path / "adapter", folder, **CASES[case])
    convert(folder, tmp_path / "base.gguf", "f32")
    convert(folder, tmp_path / "merged.gguf", "f32", adapter=adapter)
    write_adapter(adapter, folder, tmp_path / "adapter.gguf")
    with loaded(tmp_path / "merged.gguf") as model:
        merged = logits(model, IDS)
    with loaded(tmp_path / "base.gguf") as model:
        plain = logits(model, IDS)
        both = logits(model, IDS, adapter=tmp_path / "adapter.gguf")
    # beside matrices in f16, llama.cpp rounds activations to f16
    np.testing.assert_allclose(both, merged, atol=1e-2 if case == "llama-head-dim" else 2e-4)
    assert np.abs(merged - plain).max() > 0.5


def test_the_base_may_be_a_folder_or_a_file_of_any_type(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter", folder)
    written = []
    convert(folder, tmp_path / "f32.gguf", "f32")
    convert(folder, tmp_path / "q4_0.gguf", "q4_0")
    for base in (folder, tmp_path / "f32.gguf", tmp_path / "q4_0.gguf"):
        write_adapter(adapter, base, tmp_path / "adapter.gguf", force=True)
        written.append((tmp_path / "adapter.gguf").read_bytes())
    assert written[0] == written[1] == written[2]


def test_keys_and_types(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    adapter = make_adapter(
        tmp_path / "my-adapter", folder, dtype="F16", alpha_pattern={"v_proj": 24}
    )
    write_adapter(adapter, folder, tmp_path / "adapter.gguf")
    reader = gguf.GGUFReader(tmp_path / "adapter.gguf")
    keys = {key: field.contents() for key, field in reader.fields.items() if "GGUF" not in key}
    assert keys == {
        "general.architecture": "llama",
        "general.type": "adapter",
        "general.name": "my-adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    layer = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    names = [f"blk.{number}.{part}.weight" for number in range(2) for part in layer]
    assert set(tensors) == {f"{name}.lora_{side}" for name in names for side in "ab"}
    # B takes in that its alpha is another, and must not be rounded for it
    types = {name: tensor.tensor_type.name for name, tensor in tensors.items()}
    assert {name for name, type in types.items() if type == "F32"} == {
        "blk.0.attn_v.weight.lora_b",
        "blk.1.attn_v.weight.lora_b",
    }
    assert set(types.values()) == {"F16", "F32"}
    np.testing.assert_array_equal(tensors["blk.0.attn_q.weight.lora_b"].data.shape, (64, 4))


def test_refusals_leave_no_file(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter", folder)
    output = tmp_path / "adapter.gguf"
    output.write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        write_adapter(adapter, folder, output)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "r": 5}))
    with pytest.raises(FormatError, match="rank 5"):
        write_adapter(adapter, folder, output, force=True)
    assert output.read_bytes() == b"mine"


def test_llama_cpp_refuses_another_models_adapter(tmp_path: Path) -> None:
    """So that the agreement above is not that of an adapter that was left out."""
    folder = make_checkpoint(tmp_path / "model")
    write_adapter(make_adapter(tmp_path / "adapter", folder), folder, tmp_path / "adapter.gguf")
    convert(make_checkpoint(tmp_path / "qwen2", "qwen2"), tmp_path / "qwen2.gguf", "f32")
    with loaded(tmp_path / "qwen2.gguf") as model:
        path = str(tmp_path / "adapter.gguf").encode()
        assert not llama_cpp.llama_adapter_lora_init(model, ctypes.c_char_p(path))
