"""convert() on a GGUF file writes what llama_model_quantize writes."""

import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest

from gritlite.convert import ConversionReport, add_grit_metadata, convert
from gritlite.errors import ArchitectureError, FormatError
from gritlite.modelfile.header import read_header
from gritlite.prompt import EMBED_PROMPT_KEY, EmbedFormat, is_grit
from gritlite.quant.types import TARGETS
from tests.reference import loaded, logits, quantize_with_llama_cpp
from tests.sample_gguf import rewrite
from tests.tiny import make_checkpoint

WIDE = {"hidden": 256, "feed_forward": 512}
WITHOUT_IMATRIX = [name for name, target in TARGETS.items() if not target.needs_imatrix]
FULL, HALF, MIXED = "f32", "bf16", "q4_k_m"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """GGUF files in the order that llama.cpp gives keys and tensors, by case and type."""
    folder = tmp_path_factory.mktemp("sources")
    made = {}
    for case in ("mistral", "mixtral", "llama-tied", "llama-llama3", "qwen2"):
        checkpoint = make_checkpoint(folder / case, case, dtype="BF16", **WIDE)
        for type in (FULL, HALF, MIXED):
            convert(checkpoint, folder / "plain.gguf", type, force=True)
            made[case, type] = folder / f"{case}.{type}.gguf"
            assert quantize_with_llama_cpp(folder / "plain.gguf", made[case, type], TARGETS[type])
    return made


def assert_the_same_file(source: Path, target: str, folder: Path) -> ConversionReport:
    report = convert(source, folder / "ours.gguf", target, force=True, requantize=True)
    assert quantize_with_llama_cpp(source, folder / "theirs.gguf", TARGETS[target])
    assert (folder / "ours.gguf").read_bytes() == (folder / "theirs.gguf").read_bytes(), target
    assert report.tensors == len(read_header(source).tensors)
    return report


@pytest.mark.parametrize("target", WITHOUT_IMATRIX)
@pytest.mark.parametrize("case", ["mistral", "llama-tied"])
def test_whole_files_are_the_same(
    case: str, target: str, sources: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    report = assert_the_same_file(sources[case, FULL], target, tmp_path)
    assert report.requantized == 0


@pytest.mark.parametrize("case", ["mixtral", "llama-llama3", "qwen2"])
@pytest.mark.parametrize("type", [HALF, MIXED])
def test_other_models_and_types_of_source(
    case: str, type: str, sources: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    """Tensors that are in the wanted type already are copied, as llama.cpp does."""
    requantized = {
        target: assert_the_same_file(sources[case, type], target, tmp_path).requantized
        for target in ("f16", "q8_0", "q5_k_m", "q4_k_m")
    }
    matrices = sum(len(tensor.shape) > 1 for tensor in read_header(sources[case, type]).tensors)
    assert requantized["f16"] == requantized["q4_k_m"] == 0
    if type == MIXED:
        # q4_k_m and q5_k_m have some tensors of the same type
        assert 0 < requantized["q5_k_m"] < requantized["q8_0"] <= matrices


def test_blocks_give_what_the_whole_gives(
    sources: dict[tuple[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(sources["mixtral", MIXED], tmp_path / "whole.gguf", "q8_0", requantize=True)
    monkeypatch.setattr("gritlite.convert.conversion.BLOCK_VALUES", 7 * 256)
    convert(sources["mixtral", MIXED], tmp_path / "blocks.gguf", "q8_0", requantize=True)
    assert (tmp_path / "blocks.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_memory_does_not_grow_with_the_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkpoint(tmp_path / "model", hidden=1024, feed_forward=8192, layers=1)
    convert(folder, tmp_path / "source.gguf", "f32")
    monkeypatch.setattr("gritlite.convert.conversion.BLOCK_VALUES", 1 << 18)
    tracemalloc.start()
    convert(tmp_path / "source.gguf", tmp_path / "model.gguf", "q8_0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # a feed-forward matrix is 32 MiB
    assert peak < 12e6


# Keys


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A model without `grit.*` keys, with an alignment and keys of its own."""
    convert(make_checkpoint(tmp_path / "checkpoint"), tmp_path / "stamped.gguf", "f32")

    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_custom_alignment(64)
        writer.add_float64("mine.f64", 0.1)
        writer.add_array("mine.strings", ["a", "ünï", ""])

    return rewrite(tmp_path / "stamped.gguf", tmp_path / "plain.gguf", add, without=("grit.",))


def test_keys_are_the_same_bytes_but_for_those_that_change(plain: Path, tmp_path: Path) -> None:
    convert(plain, tmp_path / "model.gguf", "q8_0")
    before, after = read_header(plain), read_header(tmp_path / "model.gguf")
    old, new = plain.read_bytes(), (tmp_path / "model.gguf").read_bytes()
    changed = {"general.file_type", "general.quantization_version"}
    for key in before.entries.keys() - changed:
        theirs, ours = before.entries[key], after.entries[key]
        assert old[theirs.start : theirs.end] == new[ours.start : ours.end], key
    assert after.metadata["general.file_type"] == 7
    assert after.metadata["general.quantization_version"] == 2
    assert set(after.metadata) - set(before.metadata) == set(EmbedFormat().to_metadata())
    assert after.alignment == 64
    assert all(tensor.offset % 64 == 0 for tensor in after.tensors)
    assert not is_grit(before.metadata)
    assert is_grit(after.metadata)


def test_a_prompt_of_its_own_is_kept(plain: Path, tmp_path: Path) -> None:
    add_grit_metadata(plain, tmp_path / "stamped.gguf", force=True)
    data = (tmp_path / "stamped.gguf").read_bytes()
    (tmp_path / "stamped.gguf").write_bytes(data.replace(b"<|embed|>\n", b"<|other|>\n"))
    convert(tmp_path / "stamped.gguf", tmp_path / "model.gguf", "q8_0")
    metadata = read_header(tmp_path / "model.gguf").metadata
    assert metadata[EMBED_PROMPT_KEY] == "<|other|>\n"


def test_a_file_may_become_its_own_successor(plain: Path) -> None:
    with loaded(plain) as model:
        before = logits(model, [1, 50, 60])
    convert(plain, plain, "q8_0", force=True)
    assert {tensor.type.name for tensor in read_header(plain).tensors} == {"F32", "Q8_0"}
    with loaded(plain) as model:
        after = logits(model, [1, 50, 60])
    assert 0 < np.abs(before - after).max() < 0.3


# Refusals


def test_a_nan_is_named_and_leaves_no_file(plain: Path, tmp_path: Path) -> None:
    tensor = next(t for t in read_header(plain).tensors if t.name == "blk.1.ffn_up.weight")
    data = bytearray(plain.read_bytes())
    data[tensor.offset + 400 : tensor.offset + 404] = np.float32(np.nan).tobytes()
    plain.write_bytes(data)
    with pytest.raises(FormatError, match=r"blk\.1\.ffn_up\.weight.*row 1 .*NaN"):
        convert(plain, tmp_path / "model.gguf", "q4_0")
    assert not (tmp_path / "model.gguf").exists()


def test_a_file_that_ends_too_early(plain: Path, tmp_path: Path) -> None:
    plain.write_bytes(plain.read_bytes()[:-1000])
    with pytest.raises(FormatError, match="truncated"):
        convert(plain, tmp_path / "model.gguf", "q8_0")


def test_an_architecture_without_rules(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "bert.gguf", "bert")
    writer.add_block_count(1)
    writer.add_embedding_length(32)
    writer.add_head_count(2)
    writer.add_context_length(32)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArchitectureError, match="'bert'"):
        convert(tmp_path / "bert.gguf", tmp_path / "model.gguf", "q8_0")
