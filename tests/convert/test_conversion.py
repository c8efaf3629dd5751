"""convert(): what it writes is what llama.cpp would have written, and loads there."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gritlite.convert import ConversionProgress, convert
from gritlite.errors import FormatError, OutputExistsError, UsageError
from gritlite.modelfile.header import GGUFFile, read_header
from gritlite.prompt import EmbedFormat, is_grit
from gritlite.quant.types import TARGETS
from tests.reference import loaded, logits, quantize_with_llama_cpp, tokenize
from tests.tiny import (
    CASES,
    VOCABULARY,
    make_checkpoint,
    pack_safetensors,
    random_tensors,
    write_tensors,
)

WIDE = {"hidden": 256, "feed_forward": 512}


def tensor_bytes(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    data = path.read_bytes()
    return {
        tensor.name: (
            tensor.type.name,
            tensor.shape,
            data[tensor.offset : tensor.offset + tensor.size],
        )
        for tensor in read_header(path).tensors
    }


@pytest.mark.parametrize("case", CASES)
def test_every_model_type_loads_and_computes(case: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", case)
    report = convert(folder, tmp_path / "model.gguf", "f32")
    header = read_header(report.output)
    assert is_grit(header.metadata)
    assert EmbedFormat.from_metadata(header.metadata) == EmbedFormat()
    assert not [key for key in header.metadata if key.endswith("attention.causal")]
    assert report.bytes == report.output.stat().st_size
    assert report.tensors == len(header.tensors)
    assert report.fallbacks == ()
    with loaded(report.output) as model:
        ids = tokenize(model, "The quick brown fox")
        values = logits(model, ids)
    assert values.shape == (len(ids), VOCABULARY)
    assert np.isfinite(values).all()
    assert values.std() > 0.3


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize(
    "target", [name for name, target in TARGETS.items() if not target.needs_imatrix]
)
def test_tensors_are_those_of_llama_model_quantize(target: str, dtype: str, tmp_path: Path) -> None:
    # eight experts have rules of their own
    case, more = ("mixtral", {"num_local_experts": 8}) if dtype == "BF16" else ("mistral", {})
    folder = make_checkpoint(
        tmp_path / "model", case, dtype=dtype, hidden=256, feed_forward=256, **more
    )
    convert(folder, tmp_path / "plain.gguf", {"F32": "f32", "BF16": "bf16"}[dtype])
    convert(folder, tmp_path / "ours.gguf", target)
    plain, theirs_file = tmp_path / "plain.gguf", tmp_path / "theirs.gguf"
    assert quantize_with_llama_cpp(plain, theirs_file, TARGETS[target])
    ours, theirs = tensor_bytes(tmp_path / "ours.gguf"), tensor_bytes(theirs_file)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name] == tensor, name


def test_rows_that_do_not_fit_fall_back_and_are_reported(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", hidden=64, feed_forward=96)
    report = convert(folder, tmp_path / "model.gguf", "q4_k_m")
    types = {tensor.name: tensor.type.name for tensor in read_header(report.output).tensors}
    assert types["blk.0.attn_q.weight"] == "Q5_0"
    reasons = dict(fallback.split(": ") for fallback in report.fallbacks)
    assert reasons["token_embd.weight, blk.0.attn_q.weight, blk.0.attn_k.weight and 9 more"] == (
        "Q5_0 instead of Q4_K, because Q4_K packs 256 values at a time and the rows have 64"
    )


def test_a_type_that_was_not_asked_for_is_explained(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", hidden=64, feed_forward=96)
    assert convert(folder, tmp_path / "model.gguf", "q4_0").fallbacks == (
        "output.weight: Q8_0 instead of Q6_K, which q4_0 has there, because Q6_K packs 256 "
        "values at a time and the rows have 64",
    )


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_sharded_equals_single(dtype: str, tmp_path: Path) -> None:
    for name, shards in (("single", 1), ("sharded", 3)):
        folder = tmp_path / name / "model"
        make_checkpoint(folder, "mixtral", shards=shards, dtype=dtype)
        convert(folder, tmp_path / f"{name}.gguf", "q8_0")
    single, sharded = ((tmp_path / f"{name}.gguf").read_bytes() for name in ("single", "sharded"))
    assert single == sharded


def test_blocks_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_checkpoint(tmp_path / "model", "mixtral", dtype="BF16", **WIDE)
    convert(folder, tmp_path / "whole.gguf", "q4_k_m")
    monkeypatch.setattr("gritlite.convert.conversion.BLOCK_VALUES", 7 * 256)
    convert(folder, tmp_path / "blocks.gguf", "q4_k_m")
    assert (tmp_path / "blocks.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_memory_does_not_grow_with_the_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkpoint(tmp_path / "model", hidden=1024, feed_forward=64, layers=1)
    data = (folder / "model.safetensors").read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    header, rows = json.loads(data[8:length]), 8_000
    entries = {key: value for key, value in header.items() if key != "__metadata__"}
    end = 0
    for name, entry in entries.items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            entry["shape"][0] = rows
        size = 4 * int(np.prod(entry["shape"]))
        entry["data_offsets"] = [end, end + size]
        end += size
    with (folder / "model.safetensors").open("wb") as file:
        file.write(pack_safetensors(entries, b""))
        file.truncate(file.tell() + end)  # zeros that take no space
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": rows}))

    monkeypatch.setattr("gritlite.convert.conversion.BLOCK_VALUES", 1 << 18)
    tracemalloc.start()
    convert(folder, tmp_path / "model.gguf", "q8_0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert end > 64e6
    # the query projection is read whole, 4 MB; the embeddings would take 32 MB
    assert peak < 24e6


def test_expert_stacks_hold_the_experts_in_order(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", "mixtral")
    convert(folder, tmp_path / "model.gguf", "f32")
    source = dict(random_tensors(json.loads((folder / "config.json").read_text())))
    _, shape, data = tensor_bytes(tmp_path / "model.gguf")["blk.1.ffn_down_exps.weight"]
    stack = np.frombuffer(data, np.float32).reshape(shape)
    for expert in range(4):
        name = f"model.layers.1.block_sparse_moe.experts.{expert}.w2.weight"
        np.testing.assert_array_equal(stack[expert], source[name])


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", "mixtral", dtype="BF16")
    seen: list[ConversionProgress] = []
    report = convert(folder, tmp_path / "model.gguf", "q8_0", on_progress=seen.append)
    assert [step.bytes_done for step in seen] == sorted({step.bytes_done for step in seen})
    assert seen[-1].bytes_done == seen[-1].bytes_total
    assert seen[-1].tensors_done == seen[-1].tensors_total == report.tensors
    assert {step.tensor for step in seen} == {
        tensor.name for tensor in read_header(report.output).tensors
    }


def test_metadata_is_what_llama_cpp_writes(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "Tiny-Mixtral", "mixtral")
    header = _converted(folder, tmp_path / "model.gguf")
    expected = {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "Tiny-Mixtral",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "llama.block_count": 2,
        "llama.context_length": 1024,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.freq_base": 1e6,
        "llama.expert_count": 4,
        "llama.expert_used_count": 2,
        "llama.vocab_size": VOCABULARY,
        "llama.rope.dimension_count": 16,
    }
    assert {key: header.metadata[key] for key in expected} == expected


def _converted(folder: Path, output: Path) -> GGUFFile:
    convert(folder, output, "q8_0")
    return read_header(output)


def test_unknown_type_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="q4_k_m"):
        convert(tmp_path, tmp_path / "model.gguf", "q4")


def test_an_output_that_exists_is_kept_unless_forced(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    output = tmp_path / "model.gguf"
    output.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        convert(folder, output, "f16")
    assert output.read_bytes() == b"mine"
    convert(folder, output, "f16", force=True)
    assert read_header(output).tensors


@pytest.mark.parametrize("target", ["f32", "q8_0", "q4_k_m"])
def test_a_nan_is_named_and_leaves_no_file(target: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    tensors = dict(random_tensors(json.loads((folder / "config.json").read_text())))
    tensors["model.layers.1.mlp.up_proj.weight"][5, 7] = np.nan
    write_tensors(folder, tensors)
    with pytest.raises(FormatError, match=r"model\.layers\.1\.mlp\.up_proj\.weight.*NaN"):
        convert(folder, tmp_path / "model.gguf", target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_interrupted_conversion_leaves_no_file(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")

    def interrupt(_: ConversionProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(folder, tmp_path / "model.gguf", "q8_0", on_progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
