"""Merging a LoRA adapter: W + scale * B @ A, whatever the model is stored as."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from gritlite.convert import convert
from gritlite.errors import ArchitectureError, FileError, FormatError, GritLiteError
from gritlite.modelfile.header import read_header
from tests.reference import loaded, logits
from tests.tiny import VOCABULARY, make_checkpoint, write_tensors
from tests.tiny_adapters import ATTENTION, PREFIX, make_adapter, write_matrices

IDS = np.random.default_rng(1).integers(3, VOCABULARY - 20, 60).tolist()
Q = "model.layers.1.self_attn.q_proj"


def merged_by_numpy(
    checkpoint: Path, adapter: Path, output: Path, scale: Callable[[str, int], float]
) -> Path:
    """A checkpoint whose weights hold the adapter, by the formula alone."""
    weights, matrices = load_file(checkpoint / "model.safetensors"), load_matrices(adapter)
    for name in {name.rpartition(".lora_")[0] for name in matrices}:
        a, b = (matrices[f"{name}.lora_{side}.weight"].astype(np.float64) for side in "AB")
        module = name.removeprefix(PREFIX)
        added = scale(module, len(a)) * (b @ a)
        weights[f"{module}.weight"] = (weights[f"{module}.weight"] + added).astype(np.float32)
    output.mkdir()
    for path in checkpoint.iterdir():
        (output / path.name).write_bytes(path.read_bytes())
    write_tensors(output, weights)
    return output


def load_matrices(adapter: Path) -> dict[str, NDArray[np.float32]]:
    return load_file(adapter / "adapter_model.safetensors")


def floats(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of an f32 file."""
    data = path.read_bytes()
    return {
        tensor.name: np.frombuffer(data, np.float32, tensor.elements, tensor.offset)
        for tensor in read_header(path).tensors
    }


def tensor_bytes(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    return {
        tensor.name: data[tensor.offset : tensor.offset + tensor.size]
        for tensor in read_header(path).tensors
    }


@pytest.mark.parametrize(
    ("case", "options", "scale"),
    [
        ("llama-tied", {}, lambda *_: 2.0),
        ("llama-head-dim", {}, lambda *_: 2.0),
        ("llama-biases", {"use_rslora": True}, lambda *_: 4.0),
        ("mistral", {"ranks": {"v_proj": 2, "down_proj": 6}}, lambda _, rank: 8 / rank),
        ("mixtral", {"targets": ATTENTION, "dtype": "F16"}, lambda *_: 2.0),
        (
            "qwen2",
            {"alpha_pattern": {r"layers\.1\..*": 3, "q_proj": 5.5}},
            lambda module, _: (3 if "layers.1." in module else 5.5 if "q_" in module else 8) / 4,
        ),
    ],
)
def test_both_kinds_of_source_give_the_formula(
    case: str, options: dict[str, Any], scale: Callable[[str, int], float], tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", case)
    adapter = make_adapter(tmp_path / "adapter", checkpoint, **options)
    expected = merged_by_numpy(checkpoint, adapter, tmp_path / "expected", scale)
    convert(expected, tmp_path / "expected.gguf", "f32")
    convert(checkpoint, tmp_path / "plain.gguf", "f32")
    convert(checkpoint, tmp_path / "merged.gguf", "f32", adapter=adapter)
    convert(tmp_path / "plain.gguf", tmp_path / "from-gguf.gguf", "f32", adapter=adapter)

    theirs, ours = floats(tmp_path / "expected.gguf"), floats(tmp_path / "merged.gguf")
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert tensor_bytes(tmp_path / "from-gguf.gguf") == tensor_bytes(tmp_path / "merged.gguf")
    metadata = read_header(tmp_path / "merged.gguf").metadata
    assert metadata.keys() == read_header(tmp_path / "plain.gguf").metadata.keys()

    results = []
    for name in ("plain", "merged", "expected"):
        with loaded(tmp_path / f"{name}.gguf") as model:
            results.append(logits(model, IDS))
    plain, merged, wanted = results
    np.testing.assert_allclose(merged, wanted, atol=1e-4)
    assert np.abs(merged - plain).max() > 0.1


def test_an_adapter_of_a_model_without_its_head(tmp_path: Path) -> None:
    """As PEFT writes it for transformers' AutoModel: the names lack one `model.`."""
    checkpoint = make_checkpoint(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter", checkpoint)
    convert(checkpoint, tmp_path / "a.gguf", "q8_0", adapter=adapter)
    tensors = {
        name.replace("model.model.layers", "model.layers"): values
        for name, values in load_matrices(adapter).items()
    }
    write_matrices(adapter, tensors, "F32")
    convert(checkpoint, tmp_path / "b.gguf", "q8_0", adapter=adapter)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_an_output_matrix_of_its_own(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter", checkpoint, targets=())
    a, b = np.ones((4, 64), np.float32), np.ones((VOCABULARY, 4), np.float32)
    name = f"{PREFIX}lm_head"
    write_matrices(adapter, {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}, "F32")
    convert(checkpoint, tmp_path / "plain.gguf", "f32")
    convert(checkpoint, tmp_path / "merged.gguf", "f32", adapter=adapter)
    before, after = floats(tmp_path / "plain.gguf"), floats(tmp_path / "merged.gguf")
    np.testing.assert_allclose(after.pop("output.weight"), before.pop("output.weight") + 8)
    assert all((after[name] == values).all() for name, values in before.items())

    tied = make_checkpoint(tmp_path / "tied", "llama-tied")
    with pytest.raises(FormatError, match=r"lm_head.*'output\.weight', which .*tied"):
        convert(tied, tmp_path / "tied.gguf", "f32", adapter=adapter)


@pytest.mark.parametrize("source_type", ["f32", "q8_0"])
def test_blocks_give_what_the_whole_gives(
    source_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", hidden=256, feed_forward=512)
    adapter = make_adapter(tmp_path / "adapter", checkpoint)
    convert(checkpoint, tmp_path / "source.gguf", source_type)
    whole = convert(tmp_path / "source.gguf", tmp_path / "whole.gguf", "f32", adapter=adapter)
    monkeypatch.setattr("gritlite.convert.conversion.BLOCK_VALUES", 70 * 256)
    convert(tmp_path / "source.gguf", tmp_path / "blocks.gguf", "f32", adapter=adapter)
    theirs = floats(tmp_path / "whole.gguf")
    for name, values in floats(tmp_path / "blocks.gguf").items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert whole.requantized == 0


def test_adapted_tensors_are_never_copied(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    adapter = make_adapter(tmp_path / "adapter", checkpoint, targets=("v_proj",))
    convert(checkpoint, tmp_path / "source.gguf", "q8_0")
    report = convert(tmp_path / "source.gguf", tmp_path / "merged.gguf", "q8_0", adapter=adapter)
    before, after = (tensor_bytes(tmp_path / f"{name}.gguf") for name in ("source", "merged"))
    changed = {name for name, data in before.items() if data != after[name]}
    assert changed == {"blk.0.attn_v.weight", "blk.1.attn_v.weight"}
    assert report.requantized == 2


# Refusals


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "model")


@pytest.fixture
def adapter(checkpoint: Path, tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "adapter", checkpoint)


def refused(checkpoint: Path, adapter: Path, error: type[GritLiteError]) -> str:
    """The message with which an adapter is refused; there must be no output."""
    output = checkpoint.parent / "model.gguf"
    with pytest.raises(error) as caught:
        convert(checkpoint, output, "q8_0", adapter=adapter)
    assert not output.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_config(adapter: Path, **changes: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_matrices(adapter: Path, change: Callable[[dict[str, NDArray[np.float32]]], None]) -> None:
    tensors = load_matrices(adapter)
    change(tensors)
    write_matrices(adapter, tensors, "F32")


def test_files_that_are_missing(checkpoint: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert "no adapter_model.safetensors" in refused(checkpoint, adapter, FileError)
    (adapter / "adapter_config.json").unlink()
    assert "no adapter_config.json" in refused(checkpoint, adapter, FileError)
    assert "no adapter_config.json" in refused(checkpoint, adapter / "nowhere", FileError)


@pytest.mark.parametrize(
    "change",
    [
        {"peft_type": "LOHA"},
        {"use_dora": True},
        {"bias": "lora_only"},
        {"modules_to_save": ["lm_head"]},
        {"fan_in_fan_out": True},
        {"lora_bias": True},
        {"trainable_token_indices": [1]},
        {"target_parameters": ["mlp.experts.gate_up_proj"]},
        {"layer_replication": [[0, 2]]},
        {"init_lora_weights": "pissa_niter_4"},
        {"init_lora_weights": "olora"},
        {"something_of_the_future": {"a": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_adapters_that_are_more_than_matrices(
    change: dict[str, Any], checkpoint: Path, adapter: Path
) -> None:
    edit_config(adapter, **change)
    ((key, value),) = change.items()
    assert f"{key} is {value!r}" in refused(checkpoint, adapter, ArchitectureError)


@pytest.mark.parametrize(
    "change",
    [
        {"r": None},
        {"r": True},
        {"r": 4.0},
        {"lora_alpha": 0},
        {"lora_alpha": "8"},
        {"use_rslora": "yes"},
        {"rank_pattern": [1]},
        {"rank_pattern": {"q_proj": 0}},
        {"alpha_pattern": {"(": 2}},
    ],
)
def test_configs_that_cannot_be_right(
    change: dict[str, Any], checkpoint: Path, adapter: Path
) -> None:
    edit_config(adapter, **change)
    message = refused(checkpoint, adapter, FormatError)
    assert "adapter_config.json" in message
    assert next(iter(change)) in message or "'('" in message


def test_fields_of_training_have_no_effect(checkpoint: Path, adapter: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "a.gguf", "f16", adapter=adapter)
    edit_config(
        adapter,
        init_lora_weights="gaussian",
        lora_dropout=0.1,
        inference_mode=False,
        target_modules="all-linear",
        use_dora=None,
        corda_config=None,
        loftq_config={},
    )
    convert(checkpoint, tmp_path / "b.gguf", "f16", adapter=adapter)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.embed_tokens.lora_embedding_A",
        f"{PREFIX}{Q}.lora_magnitude_vector",
        f"{PREFIX}{Q}.base_layer.weight",
        f"{PREFIX}model.layers.0.mlp.gate.lora_A.weight",
        f"{PREFIX}model.layers.0.mlp.experts.base_layer.lora_A.weight",
        f"{PREFIX}model.layers.0.block_sparse_moe.experts.0.w1.lora_A.weight",
        f"{PREFIX}model.layers.0.input_layernorm.weight",
        f"{Q}.lora_A.weight",
    ],
)
def test_tensors_that_are_something_else(name: str, checkpoint: Path, adapter: Path) -> None:
    edit_matrices(adapter, lambda tensors: tensors.update({name: np.ones((4, 64), np.float32)}))
    message = refused(checkpoint, adapter, FormatError)
    assert f"{name!r} is not a LoRA matrix" in message


def test_an_adapter_of_more_layers(checkpoint: Path, adapter: Path) -> None:
    deeper = make_checkpoint(checkpoint.parent / "deeper", layers=3)
    make_adapter(adapter, deeper)
    message = refused(checkpoint, adapter, FormatError)
    assert "model.layers.2.self_attn.q_proj.lora_A.weight" in message
    assert "belongs to another model" in message


def test_an_adapter_of_another_width(checkpoint: Path, adapter: Path) -> None:
    make_adapter(adapter, make_checkpoint(checkpoint.parent / "wider", feed_forward=128))
    message = refused(checkpoint, adapter, FormatError)
    assert "gate_proj.lora_B.weight' has shape [128, 4]" in message
    assert "'blk.0.ffn_gate.weight' of shape [96, 64] need [96, 4]" in message


def test_a_rank_that_the_config_does_not_state(checkpoint: Path, adapter: Path) -> None:
    edit_config(adapter, r=8)
    assert "has shape [4, 64], but rank 8" in refused(checkpoint, adapter, FormatError)


def test_a_matrix_without_its_partner(checkpoint: Path, adapter: Path) -> None:
    edit_matrices(adapter, lambda tensors: tensors.pop(f"{PREFIX}{Q}.lora_A.weight"))
    message = refused(checkpoint, adapter, FormatError)
    assert f"'{PREFIX}{Q}.lora_B.weight' has no lora_A to go with it" in message


def test_a_tensor_adapted_twice(checkpoint: Path, adapter: Path) -> None:
    name = f"{PREFIX}layers.1.self_attn.q_proj.lora_A.weight"
    edit_matrices(adapter, lambda tensors: tensors.update({name: np.ones((4, 64), np.float32)}))
    assert "a second time" in refused(checkpoint, adapter, FormatError)


def test_an_adapter_without_tensors(checkpoint: Path, adapter: Path) -> None:
    edit_matrices(adapter, lambda tensors: tensors.clear())
    assert "has no tensors" in refused(checkpoint, adapter, FormatError)


@pytest.mark.parametrize("side", "AB")
def test_a_nan_is_named(side: str, checkpoint: Path, adapter: Path) -> None:
    name = f"{PREFIX}{Q}.lora_{side}.weight"
    edit_matrices(adapter, lambda tensors: tensors[name].__setitem__((2, 3), np.nan))
    assert f"{name!r} has a NaN" in refused(checkpoint, adapter, FormatError)
