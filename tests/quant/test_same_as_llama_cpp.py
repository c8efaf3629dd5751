"""Types and bytes equal those of llama.cpp's llama_model_quantize, tensor by tensor."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from numpy.typing import NDArray

from gritlite.errors import FormatError
from gritlite.quant.rows import quantize_rows
from gritlite.quant.type_selection import select_types
from gritlite.quant.types import TARGETS, Target
from tests.quant.tiny_gguf import StoredTensor, TinyModel, random_weights, read_gguf, write_gguf
from tests.reference import quantize_with_llama_cpp

F32, BF16 = GGMLQuantizationType.F32, GGMLQuantizationType.BF16

WITHOUT_IMATRIX = [target for target in TARGETS.values() if not target.needs_imatrix]

MODELS = {
    "llama": TinyModel(),
    "llama tied": TinyModel(tied=True),
    "llama, value heads shared by 2": TinyModel(n_head_kv=2),
    "llama, value heads shared by 4": TinyModel(n_head_kv=1),
    "llama, one layer": TinyModel(n_layer=1),
    "mixtral": TinyModel(n_expert=8, n_head_kv=1),
    "mixture of 4 experts": TinyModel(n_expert=4, n_head_kv=1),
    "qwen2": TinyModel(arch="qwen2", n_head_kv=2),
    "qwen2 tied": TinyModel(arch="qwen2", tied=True, n_head_kv=1),
    "rows of 96 and 160": TinyModel(n_embd=96, n_ff=160),
    "rows of 96 and 160, tied": TinyModel(n_embd=96, n_ff=160, tied=True),
    "rows of 96 and 512, qwen2": TinyModel(arch="qwen2", n_embd=96),
    "rows of 256 and 288, mixtral": TinyModel(n_ff=288, n_expert=8),
    "rows of 40 and 24": TinyModel(n_embd=40, n_ff=24),
    "rows of 40 and 512, tied": TinyModel(n_embd=40, tied=True),
    "rows of 256 and 40, mixtral": TinyModel(n_ff=40, n_expert=8),
    "matrices of one row": TinyModel(rows=1),
}

MODELS_IN_BF16 = {
    "qwen2": TinyModel(arch="qwen2", n_head_kv=2),
    "rows of 96 and 40": TinyModel(n_embd=96, n_ff=40),
    "llama, 33 layers": TinyModel(n_layer=33, n_ff=256),
    "mixtral, 17 layers, tied": TinyModel(n_expert=8, n_layer=17, n_ff=256, tied=True),
    "mixture of 4 experts, 17 layers": TinyModel(n_expert=4, n_layer=17, n_ff=256),
    "tensors of several chunks": TinyModel(n_layer=1, n_embd=2048, n_ff=2048, rows=150, tied=True),
}

MODELS_OF_80_LAYERS = {
    "llama 65B": TinyModel(n_layer=80, n_ff=256),
    "llama 70B": TinyModel(n_layer=80, n_ff=256, n_head_kv=2),
    "qwen2": TinyModel(arch="qwen2", n_layer=80, n_ff=256),
}


def quantize(
    values: np.ndarray,
    type: GGMLQuantizationType,
    importance: NDArray[np.float32] | None = None,
) -> StoredTensor:
    matrices = values.reshape(-1, *values.shape[-2:])
    weights = [None] * len(matrices) if importance is None else importance
    rows = [
        quantize_rows(matrix.reshape(-1, values.shape[-1]), type, threads=2, importance=weight)
        for matrix, weight in zip(matrices, weights, strict=True)
    ]
    return StoredTensor(type, np.concatenate(rows).tobytes())


def random_importances(weights: Mapping[str, np.ndarray]) -> dict[str, NDArray[np.float32]]:
    """For the layers' tensors, [matrices, columns]; a few columns matter a lot, some not at all."""
    random = np.random.default_rng(3)
    importances = {}
    for name, values in weights.items():
        if values.ndim > 1 and name.startswith("blk."):
            shape = (values.size // (values.shape[-1] * values.shape[-2]), values.shape[-1])
            importance = random.standard_exponential(shape, dtype=np.float32) ** 4
            importance[:, :: random.integers(20, 60)] = 0
            importances[name] = importance
    return importances


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_target_from_f32(model: TinyModel, tmp_path: Path) -> None:
    assert_the_same(model, F32, WITHOUT_IMATRIX, tmp_path)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_target_with_an_importance_matrix(model: TinyModel, tmp_path: Path) -> None:
    assert_the_same(model, F32, TARGETS.values(), tmp_path, with_imatrix=True)


@pytest.mark.parametrize("model", MODELS_IN_BF16.values(), ids=MODELS_IN_BF16)
def test_every_target_from_bf16(model: TinyModel, tmp_path: Path) -> None:
    assert_the_same(model, BF16, WITHOUT_IMATRIX, tmp_path)


@pytest.mark.parametrize("model", MODELS_OF_80_LAYERS.values(), ids=MODELS_OF_80_LAYERS)
def test_models_of_80_layers(model: TinyModel, tmp_path: Path) -> None:
    """70B models have their own rule for value tensors."""
    targets = [TARGETS[name] for name in ("q4_k_m", "q3_k_m", "q2_k", "q4_0")]
    assert_the_same(model, F32, targets, tmp_path)
    targets = [TARGETS[name] for name in ("iq3_xxs", "iq2_s", "iq2_xs", "iq1_s")]
    assert_the_same(model, F32, targets, tmp_path, with_imatrix=True)


def assert_the_same(
    model: TinyModel,
    source_type: GGMLQuantizationType,
    targets: Iterable[Target],
    folder: Path,
    *,
    with_imatrix: bool = False,
) -> None:
    weights = random_weights(model)
    importances = random_importances(weights) if with_imatrix else {}
    facts = write_gguf(folder / "source.gguf", model, weights, source_type)
    # what a reader of the source sees
    weights = {
        fact.name: quants.dequantize(
            quants.quantize(weights[fact.name], fact.unquantized_type), fact.unquantized_type
        )
        for fact in facts
    }
    for target in targets:
        assert quantize_with_llama_cpp(
            folder / "source.gguf", folder / "theirs.gguf", target, importances or None
        )
        file_type, theirs = read_gguf(folder / "theirs.gguf")
        choices = select_types(facts, model.facts, target, has_imatrix=with_imatrix)
        assert file_type == target.file_type
        assert {name: choice.type for name, choice in choices.items()} == {
            name: stored.type for name, stored in theirs.items()
        }, target.name
        differing = [
            name
            for name, choice in choices.items()
            if quantize(weights[name], choice.type, importances.get(name)) != theirs[name]
        ]
        assert not differing, target.name


@pytest.mark.parametrize("target", WITHOUT_IMATRIX, ids=lambda target: target.name)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 7e4, -5e5, 1e7, -3e38])
def test_the_same_values_are_refused(value: float, target: Target, tmp_path: Path) -> None:
    model = TinyModel(n_layer=1)
    weights = random_weights(model)
    weights["blk.0.ffn_up.weight"][1, 100] = value
    facts = write_gguf(tmp_path / "source.gguf", model, weights)
    accepted = quantize_with_llama_cpp(tmp_path / "source.gguf", tmp_path / "theirs.gguf", target)

    type = select_types(facts, model.facts, target)["blk.0.ffn_up.weight"].type
    if accepted:
        _, theirs = read_gguf(tmp_path / "theirs.gguf")
        stored = quantize(weights["blk.0.ffn_up.weight"], type)
        assert stored == theirs["blk.0.ffn_up.weight"]
    else:
        with pytest.raises(FormatError, match=r"^row 1 has"):
            quantize(weights["blk.0.ffn_up.weight"], type)


def test_matrices_that_stay_as_they_are(tmp_path: Path) -> None:
    """Biases and norms are not quantized even where they have two dimensions."""
    model = TinyModel(n_layer=1)
    weights = random_weights(model)
    kept = {"blk.0.attn_q.bias", "blk.0.attn_q_norm.weight"}
    weights |= dict.fromkeys(kept, weights["output.weight"])
    facts = write_gguf(tmp_path / "source.gguf", model, weights, BF16)
    target = TARGETS["q8_0"]
    assert quantize_with_llama_cpp(tmp_path / "source.gguf", tmp_path / "theirs.gguf", target)
    _, theirs = read_gguf(tmp_path / "theirs.gguf")
    choices = select_types(facts, model.facts, target)
    assert {choices[name].type for name in kept} == {BF16}
    assert all(choice.type == theirs[name].type for name, choice in choices.items())
