"""Folders of GPTQ weights: kept as Q4_0 number for number, or read as the floats they stand for."""

import json
from pathlib import Path

import numpy as np
import pytest

from gritlite.convert import convert
from gritlite.errors import ArchitectureError, FormatError, UsageError
from gritlite.modelfile.header import read_header
from tests.reference import tensors
from tests.tiny_gptq import Layout, make_gptq


def types_of(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.type.name for tensor in read_header(path).tensors}


def assert_the_same(one: Path, other: Path) -> None:
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        assert np.array_equal(ours[name], values), name


@pytest.mark.parametrize("group", [32, 64, 128, -1])
@pytest.mark.parametrize("case", ["mistral", "mixtral", "qwen2", "llama-tied"])
def test_every_weight_is_kept(case: str, group: int, tmp_path: Path) -> None:
    gptq, floats = make_gptq(tmp_path, case, Layout(group=group))
    report = convert(gptq, tmp_path / "kept.gguf", None)
    convert(floats, tmp_path / "floats.gguf", "f32")
    assert_the_same(tmp_path / "kept.gguf", tmp_path / "floats.gguf")
    types = types_of(tmp_path / "kept.gguf")
    matrices = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_gate", "ffn_down"}
    for name, type in types.items():
        part = name.split(".")[-2].removesuffix("_exps")
        is_matrix = part in matrices and name.endswith(".weight")
        assert (type == "Q4_0") is is_matrix, name
    assert types["token_embd.weight"] == "F16"
    assert report.requantized == 0
    assert read_header(tmp_path / "kept.gguf").metadata["general.file_type"] == 2  # mostly Q4_0


def test_the_newer_form_and_shards(tmp_path: Path) -> None:
    gptq, floats = make_gptq(tmp_path, layout=Layout(form="gptq_v2"), shards=3)
    convert(gptq, tmp_path / "kept.gguf", None)
    convert(floats, tmp_path / "floats.gguf", "f32")
    assert_the_same(tmp_path / "kept.gguf", tmp_path / "floats.gguf")


@pytest.mark.parametrize(
    "layout",
    [
        Layout(act_order=True),
        Layout(symmetric=False),
        Layout(symmetric=False, form="gptq_v2"),
        Layout(bits=8),
        Layout(bits=2, group=64),
        Layout(group=16),
        Layout(),
    ],
    ids=lambda layout: repr(layout),
)
def test_any_layout_is_read_exactly_and_can_be_quantized_anew(
    layout: Layout, tmp_path: Path
) -> None:
    gptq, floats = make_gptq(tmp_path, layout=layout)
    for type in ("f32", "q8_0"):
        ours, theirs = tmp_path / f"ours.{type}.gguf", tmp_path / f"theirs.{type}.gguf"
        report = convert(gptq, ours, type, requantize=True)
        convert(floats, theirs, type)
        assert_the_same(ours, theirs)
        # rounded twice but for the output and the embeddings
        assert report.requantized == (14 if type == "q8_0" else 0)


@pytest.mark.parametrize(
    "layout", [Layout(act_order=True), Layout(symmetric=False), Layout(bits=8), Layout(group=16)]
)
def test_what_q4_0_does_not_hold_needs_a_type(layout: Layout, tmp_path: Path) -> None:
    gptq, _ = make_gptq(tmp_path, layout=layout)
    with pytest.raises(UsageError, match="name a type to round them to, and allow requantization"):
        convert(gptq, tmp_path / "m.gguf", None)
    assert not (tmp_path / "m.gguf").exists()


def test_floats_need_a_type(tmp_path: Path) -> None:
    _, floats = make_gptq(tmp_path)
    with pytest.raises(UsageError, match="has no quantized weights to keep: name a type"):
        convert(floats, tmp_path / "m.gguf", None)


def test_q4_0_keeps_the_weights_and_rounds_the_rest(tmp_path: Path) -> None:
    gptq, floats = make_gptq(tmp_path)
    convert(gptq, tmp_path / "m.gguf", "q4_0")
    convert(floats, tmp_path / "floats.gguf", "f32")
    ours, exact = tensors(tmp_path / "m.gguf"), tensors(tmp_path / "floats.gguf")
    assert types_of(tmp_path / "m.gguf")["output.weight"] == "Q6_K"
    for name in (name for name in exact if name.startswith("blk.")):
        assert np.array_equal(ours[name], exact[name]), name


def change(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= fields
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"quant_method": "awq"}, "quantized by 'awq', but only gptq can be read"),
        ({"bits": 3}, "GPTQ weights of 3 bits in groups of 32"),
        ({"group_size": "all"}, "in groups of 'all'"),
        ({"group_size": 0}, "in groups of 0"),
        ({"sym": "no"}, "symmetric 'no'"),
        ({"checkpoint_format": "marlin"}, "as 'marlin', which is not supported"),
    ],
)
def test_configs_that_are_not_known(fields: dict[str, object], said: str, tmp_path: Path) -> None:
    gptq, _ = make_gptq(tmp_path)
    change(gptq, **fields)
    with pytest.raises(ArchitectureError, match=said):
        convert(gptq, tmp_path / "m.gguf", None)


def test_zero_points_that_should_not_be_there(tmp_path: Path) -> None:
    gptq, _ = make_gptq(tmp_path, layout=Layout(symmetric=False))
    change(gptq, sym=True)
    with pytest.raises(FormatError, match=r"has zero points, although config\.json says sym"):
        convert(gptq, tmp_path / "m.gguf", None)


def test_one_weight_in_activation_order_needs_a_type(tmp_path: Path) -> None:
    gptq, _ = make_gptq(tmp_path)
    name = "model.layers.0.mlp.up_proj.g_idx"
    file = gptq / "model.safetensors"
    data = bytearray(file.read_bytes())
    header_end = 8 + int.from_bytes(data[:8], "little")
    start, end = (header_end + at for at in json.loads(data[8:header_end])[name]["data_offsets"])
    data[start:end] = np.frombuffer(data[start:end], np.int32)[::-1].tobytes()
    file.write_bytes(data)
    with pytest.raises(UsageError, match="name a type to round them to, and allow requantization"):
        convert(gptq, tmp_path / "m.gguf", None)
    assert convert(gptq, tmp_path / "m.gguf", "q8_0", requantize=True).requantized


def test_a_missing_part(tmp_path: Path) -> None:
    gptq, _ = make_gptq(tmp_path)
    file = gptq / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b"0.mlp.up_proj.scales", b"0.mlp.up_proj.scalez"))
    with pytest.raises(FormatError, match=r"without 'model\.layers\.0\.mlp\.up_proj\.scales'"):
        convert(gptq, tmp_path / "m.gguf", None)


def test_a_missing_shard(tmp_path: Path) -> None:
    gptq, _ = make_gptq(tmp_path, shards=2)
    (gptq / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(FormatError, match=r"00001-of-00002\.safetensors is missing"):
        convert(gptq, tmp_path / "m.gguf", None)
