"""Errors and fallback messages, which the comparison with llama.cpp does not cover."""

import pytest
from gguf import GGMLQuantizationType as Q

from gritlite.errors import ArchitectureError
from gritlite.quant.type_selection import ModelSpec, SelectedType, TensorSpec, select_types
from gritlite.quant.types import TARGETS
from tests.quant.tiny_gguf import TinyModel


def facts_of(model: TinyModel) -> list[TensorSpec]:
    return [TensorSpec(name, shape) for name, shape in model.shapes.items()]


def test_an_architecture_without_rules_is_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"'bert'.*llama, qwen2"):
        select_types([], ModelSpec("bert", 1, 1, 1), TARGETS["q8_0"])


def test_a_layer_that_the_model_lacks_is_refused() -> None:
    tensors = [TensorSpec("blk.8.attn_q.weight", (4, 256))]
    with pytest.raises(ArchitectureError, match=r"blk\.8\.attn_q\.weight .* has 8"):
        select_types(tensors, TinyModel(n_layer=8).facts, TARGETS["q8_0"])


def test_a_fallback_says_what_did_not_fit_and_what_is_used() -> None:
    tensors = [TensorSpec("blk.0.attn_q.weight", (4, 96)), TensorSpec("output.weight", (4, 40))]
    choices = select_types(tensors, TinyModel(n_layer=1).facts, TARGETS["q4_k_m"])
    assert choices == {
        "blk.0.attn_q.weight": SelectedType(
            Q.Q5_0,
            "Q5_0 instead of Q4_K, because Q4_K packs 256 values at a time and the rows have 96",
        ),
        "output.weight": SelectedType(
            Q.F16,
            "F16 instead of Q6_K, which q4_k_m has there, because Q6_K packs 256 values at a "
            "time and the rows have 40",
        ),
    }


def test_no_fallback_where_everything_fits() -> None:
    model = TinyModel(n_expert=8)
    for target in TARGETS.values():
        choices = select_types(facts_of(model), model.facts, target).values()
        assert all(choice.fallback is None for choice in choices)
