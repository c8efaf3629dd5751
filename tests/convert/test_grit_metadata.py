"""add_grit_metadata() adds the GRIT keys and leaves every other byte as it was."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from gritlite.convert import add_grit_metadata, convert
from gritlite.errors import FileError, FormatError, OutputExistsError
from gritlite.modelfile.header import read_header
from gritlite.prompt import EMBED_PROMPT_KEY, EmbedFormat, is_grit
from tests.reference import loaded, logits
from tests.tiny import make_checkpoint


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A file without GRIT keys, with an alignment and keys of every kind."""
    path = tmp_path / "plain.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_uint8("some.u8", 3)
    writer.add_int16("some.i16", -3)
    writer.add_float64("some.f64", 0.1)
    writer.add_bool("some.bool", True)
    writer.add_array("some.strings", ["a", "ünï", ""])
    writer.add_array("some.floats", [1.5, -2.5])
    writer.add_tensor("a", np.arange(7, dtype=np.float32))
    writer.add_tensor("b", np.arange(12, dtype=np.float16).reshape(3, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_keys_and_tensors_are_the_same_bytes(plain: Path, tmp_path: Path) -> None:
    output = tmp_path / "stamped.gguf"
    add_grit_metadata(plain, output)
    before, after = read_header(plain), read_header(output)
    old, new = plain.read_bytes(), output.read_bytes()
    assert after.alignment == before.alignment == 64
    assert after.data_offset % 64 == 0
    assert new[after.data_offset :] == old[before.data_offset :]
    assert (
        new[after.tensors_offset : after.tensors_end]
        == (old[before.tensors_offset : before.tensors_end])
    )
    for key, entry in before.entries.items():
        kept = after.entries[key]
        assert new[kept.start : kept.end] == old[entry.start : entry.end]
    assert set(after.metadata) - set(before.metadata) == set(EmbedFormat().to_metadata())
    assert EmbedFormat.from_metadata(after.metadata) == EmbedFormat()
    # and gguf's own reader agrees
    assert [tensor.name for tensor in gguf.GGUFReader(output).tensors] == ["a", "b"]


def test_keys_that_stand_already_are_replaced(plain: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.gguf", tmp_path / "twice.gguf"
    add_grit_metadata(plain, once)
    data = once.read_bytes()
    other = data.replace(b"<|embed|>\n", b"<|other|>\n")
    assert other != data
    once.write_bytes(other)
    add_grit_metadata(once, twice)
    assert read_header(twice).metadata[EMBED_PROMPT_KEY] == "<|embed|>\n"
    assert twice.read_bytes() == data


def test_a_stamped_model_computes_the_same(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    convert(folder, tmp_path / "model.gguf", "q8_0")
    add_grit_metadata(tmp_path / "model.gguf", tmp_path / "stamped.gguf")
    results = []
    for name in ("model", "stamped"):
        with loaded(tmp_path / f"{name}.gguf") as model:
            results.append(logits(model, [1, 50, 60]))
    np.testing.assert_array_equal(*results)


def test_a_file_without_tensors(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "vocab.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    add_grit_metadata(tmp_path / "vocab.gguf", tmp_path / "stamped.gguf")
    assert is_grit(read_header(tmp_path / "stamped.gguf").metadata)


def test_refusals_leave_no_file(plain: Path, tmp_path: Path) -> None:
    output = tmp_path / "stamped.gguf"
    with pytest.raises(FileError):
        add_grit_metadata(tmp_path / "nothing.gguf", output)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(plain.read_bytes()[:-50])
    with pytest.raises(FormatError):
        add_grit_metadata(broken, output)
    assert not output.exists()
    output.write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        add_grit_metadata(plain, output)
    assert output.read_bytes() == b"mine"
    add_grit_metadata(plain, plain, force=True)
    assert is_grit(read_header(plain).metadata)
