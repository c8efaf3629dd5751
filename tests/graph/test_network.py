"""What no graph is written for is refused by name."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from gritlite.errors import ArchitectureError
from gritlite.graph.network import read_network
from gritlite.graph.tensors import open_tensors
from gritlite.modelfile.header import read_header
from tests.sample_gguf import HEADS, WIDTH, rewrite, write_model


def refusal(file: Path) -> str:
    """The message about a file."""
    with open_tensors(read_header(file)) as tensors, pytest.raises(ArchitectureError) as caught:
        read_network(tensors)
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value).removeprefix(f"{file}: ")


def edited(tmp_path: Path, add, without: tuple[str, ...] = ()) -> Path:
    source = write_model(tmp_path / "model.gguf")
    return rewrite(source, tmp_path / "edited.gguf", add, without)


def test_what_a_plain_model_is(tmp_path):
    with open_tensors(read_header(write_model(tmp_path / "model.gguf", bias=True))) as tensors:
        network = read_network(tensors)
    assert (network.layers, network.width, network.heads, network.kv_heads) == (2, WIDTH, HEADS, 2)
    assert (network.kv_width, network.feed_forward, network.experts) == (16, 64, 0)
    assert network.biases == {"attn_q", "attn_k", "attn_v"}
    assert network.rotary.is_interleaved


def test_experts(tmp_path):
    with open_tensors(read_header(write_model(tmp_path / "model.gguf", experts=3))) as tensors:
        network = read_network(tensors)
    assert (network.experts, network.experts_used) == (3, 2)


def test_another_architecture(tmp_path):
    message = refusal(write_model(tmp_path / "model.gguf", arch="gemma"))
    assert "'gemma', only for llama and qwen2: use the engine llama" in message


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("attention.head_count", [4, 2], "differ in their heads"),
        ("attention.head_count_kv", [2, 1], "differ in their key-value heads"),
        ("feed_forward_length", [64, 32], "differ in their feed-forward width"),
    ],
)
def test_layers_that_differ(tmp_path, key, value, named):
    add = lambda writer: writer.add_array(f"llama.{key}", value)  # noqa: E731
    assert named in refusal(edited(tmp_path, add, (f"llama.{key}",)))


def test_values_of_another_width(tmp_path):
    assert "another width than the keys" in refusal(
        edited(tmp_path, lambda writer: writer.add_value_length(4))
    )


def test_a_rotation_of_a_part_of_a_head(tmp_path):
    key = "llama.rope.dimension_count"
    message = refusal(edited(tmp_path, lambda writer: writer.add_rope_dimension_count(4), (key,)))
    assert "rotary embedding of a part of a head" in message


@pytest.mark.parametrize("name", ["blk.0.attn_q_norm.weight", "blk.1.ffn_gate_exps.weight"])
def test_an_unknown_tensor(tmp_path, name):
    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor(name, np.ones(8, np.float32))

    assert f"the tensor {name!r}" in refusal(edited(tmp_path, add))


def test_a_missing_tensor(tmp_path):
    file = read_header(write_model(tmp_path / "model.gguf"))
    with open_tensors(file) as tensors, pytest.raises(ArchitectureError, match=r"'blk\.9\.x'"):
        tensors.floats("blk.9.x")


@pytest.mark.parametrize("name", ["yarn_log_multiplier", "yarn_ext_factor", "yarn_attn_factor"])
def test_a_variant_of_yarn(tmp_path, name):
    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_float32(f"llama.rope.scaling.{name}", 0.5)

    assert f"yarn with llama.rope.scaling.{name}" in refusal(edited(tmp_path, add))


def test_another_scaling_of_positions(tmp_path):
    add = lambda writer: writer.add_string("llama.rope.scaling.type", "longrope")  # noqa: E731
    assert "'longrope' is not known" in refusal(edited(tmp_path, add))


def test_epsilon_is_required(tmp_path):
    key = "llama.attention.layer_norm_rms_epsilon"
    message = refusal(edited(tmp_path, lambda _: None, (key,)))
    assert f"{key} is missing" in message
