"""The header reader reads what gguf writes, and refuses what contradicts the format."""

import os
import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest

from gritlite.errors import FileError, FormatError
from gritlite.modelfile.header import read_header
from gritlite.modelfile.types import GGMLType
from tests.sample_gguf import BPE, SPM, write_model

U32, STRING, ARRAY = 4, 8, 9
F32, Q8_0 = 0, 8


def text(value: bytes | str) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: bytes | str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + items


def tensor(name: str, lengths: tuple[int, ...], kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(lengths)}QIQ", len(lengths), *lengths, kind, offset)


def header(entries: int = 0, tensors: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries)


def one_key(value: bytes) -> bytes:
    return header(entries=1) + value


def tensors(*descriptions: bytes, data: int) -> bytes:
    head = header(tensors=len(descriptions)) + b"".join(descriptions)
    return head + bytes(-len(head) % 32) + bytes(data)


def read(tmp_path: Path, data: bytes):
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    return read_header(path)


@pytest.mark.parametrize("tokenizer", [SPM, BPE])
def test_reads_what_the_reference_reader_reads(tmp_path, tokenizer):
    path = write_model(tmp_path / "m.gguf", tokenizer)
    ours, theirs = read_header(path), gguf.GGUFReader(path)
    fields = {
        name: field for name, field in theirs.fields.items() if "." in name and name[0] != "G"
    }
    assert set(ours.metadata) == {name for name in fields if not name.startswith("GGUF.")}
    for name, value in ours.metadata.items():
        expected = fields[name].contents()
        assert (
            np.array_equal(value, expected) if isinstance(value, np.ndarray) else value == expected
        )
    assert [(t.name, t.type, t.shape[::-1], t.offset, t.size) for t in ours.tensors] == [
        (t.name, t.tensor_type, tuple(map(int, t.shape)), t.data_offset, t.n_bytes)
        for t in theirs.tensors
    ]
    assert ours.data_offset == theirs.data_offset
    assert ours.size == path.stat().st_size


def test_entries_and_tensor_descriptions_can_be_copied_byte_for_byte(tmp_path):
    path = write_model(tmp_path / "m.gguf")
    file, data = read_header(path), path.read_bytes()
    copied = b"".join(data[e.start : e.end] for e in file.entries.values())
    assert header(len(file.entries), len(file.tensors)) + copied == data[: file.tensors_offset]
    assert file.tensors_end <= file.data_offset < file.tensors_end + file.alignment
    assert file.entries["llama.block_count"].type == "u32"
    assert file.entries["tokenizer.ggml.tokens"].type == "arr[str]"


def test_every_scalar_type_round_trips(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    values = {
        "uint8": 200, "int8": -100, "uint16": 60_000, "int16": -30_000, "uint32": 2**32 - 1,
        "int32": -(2**31), "uint64": 2**64 - 1, "int64": -(2**63), "float32": 0.5,
        "float64": 0.1, "bool": True, "string": "é\n",
    }  # fmt: skip
    for kind, value in values.items():
        getattr(writer, f"add_{kind}")(f"x.{kind}", value)
    writer.add_array("x.bools", [True, False])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    metadata = read_header(tmp_path / "x.gguf").metadata
    assert {kind: metadata[f"x.{kind}"] for kind in values} == values
    assert metadata["x.bool"] is True
    assert list(metadata["x.bools"]) == [True, False]


def test_version_2_is_read_alike(tmp_path):
    data = bytearray(write_model(tmp_path / "m.gguf").read_bytes())
    expected = read_header(tmp_path / "m.gguf")
    data[4] = 2
    found = read(tmp_path, bytes(data))
    assert found.version == 2
    assert found.tensors == expected.tensors


def test_token_bytes_that_are_not_utf8_survive(tmp_path):
    tokens = array(STRING, 2, text(b"\xff\x80") + text("é"))
    (first, second) = read(tmp_path, one_key(entry("t", ARRAY, tokens))).metadata["t"]
    assert first.encode("utf-8", "surrogateescape") == b"\xff\x80"
    assert second == "é"


def test_no_padding_is_needed_after_the_last_tensor(tmp_path):
    file = read(tmp_path, tensors(tensor("a", (3,)), tensor("b", (5,), offset=32), data=52))
    assert [t.size for t in file.tensors] == [12, 20]


def test_a_quantized_tensor_is_measured_in_blocks(tmp_path):
    (info,) = read(tmp_path, tensors(tensor("a", (64, 3), Q8_0), data=204)).tensors
    assert (info.type, info.shape, info.size, info.elements) == (GGMLType.Q8_0, (3, 64), 204, 192)


BAD = {
    "an empty file": (b"", "not a GGUF file"),
    "another format": (b"PK\x03\x04....................", "not a GGUF file"),
    "version 1": (header(version=1), "version 1"),
    "version 4": (header(version=4), "version 4"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "counts missing": (b"GGUF" + struct.pack("<I", 3), "truncated.*needs 16 bytes.*has 8"),
    "too many keys": (header(entries=2**60), "truncated"),
    "too many tensors": (header(tensors=2**63), "truncated"),
    "a long key": (one_key(struct.pack("<QQ", 2**62, 0)), "more than 65,535"),
    "an empty key": (one_key(entry("", U32, bytes(4))), "is empty"),
    "a key with a zero byte": (one_key(entry("a\0b", U32, bytes(4))), "zero byte"),
    "a key not UTF-8": (one_key(entry(b"\xff", U32, bytes(4))), "not UTF-8"),
    "a key twice": (header(entries=2) + 2 * entry("k", U32, bytes(4)), "'k' appears twice"),
    "an unknown value type": (one_key(entry("k", 13, bytes(4))), "'k' has .* value type 13"),
    "a string not UTF-8": (one_key(entry("k", STRING, text(b"\xff"))), "'k' is not UTF-8"),
    "a long string": (one_key(entry("k", STRING, struct.pack("<Q", 2**40))), "more than 67,1"),
    "a string past the end": (one_key(entry("k", STRING, struct.pack("<Q", 999))), "truncated"),
    "a bool of 2": (one_key(entry("k", 7, b"\x02")), "neither 0 nor 1"),
    "bools of 2": (one_key(entry("k", ARRAY, array(7, 1, b"\x02"))), "neither 0 nor 1"),
    "arrays in arrays": (one_key(entry("k", ARRAY, array(ARRAY, 1, bytes(16)))), "contains arrays"),
    "an array of unknowns": (one_key(entry("k", ARRAY, array(77, 1, bytes(16)))), "value type 77"),
    "an endless array": (one_key(entry("k", ARRAY, array(U32, 2**61, b""))), "more than 16,7"),
    "an array past the end": (one_key(entry("k", ARRAY, array(U32, 9, b""))), "truncated"),
    "strings past the end": (
        one_key(entry("k", ARRAY, array(STRING, 2, text("a") + struct.pack("<Q", 50)))),
        "truncated",
    ),
    "alignment 0": (one_key(entry("general.alignment", U32, bytes(4))), "power of two"),
    "alignment 48": (
        one_key(entry("general.alignment", U32, struct.pack("<I", 48))), "is 48, not a power of two"
    ),
    "alignment of u64": (one_key(entry("general.alignment", 10, bytes(8))), "type u64, not u32"),
    "five dimensions": (tensors(tensor("a", (1,) * 5), data=64), "5 dimensions"),
    "a tensor twice": (tensors(tensor("a", (8,)), tensor("a", (8,)), data=64), "appears twice"),
    "a long tensor name": (tensors(tensor("a" * 64, (8,)), data=64), "more than 63"),
    "an unknown tensor type": (tensors(tensor("a", (8,), 4), data=64), "unknown type 4"),
    "rows no block fits": (tensors(tensor("a", (48,), Q8_0), data=99), "multiple of 32"),
    "too many elements": (tensors(tensor("a", (2**32, 2**32)), data=64), "impossibly large"),
    "too many around a zero": (tensors(tensor("a", (2**64 - 1, 0)), data=64), "impossibly large"),
    "data past the end": (tensors(tensor("a", (100,)), data=64), "tensor 'a' needs .* bytes"),
    "a gap": (tensors(tensor("a", (8,)), tensor("b", (8,), F32, 64), data=96), "64 where 32"),
    "an overlap": (tensors(tensor("a", (8,)), tensor("b", (8,)), data=96), "0 where 32"),
    "an offset unaligned": (tensors(tensor("a", (8,), F32, 4), data=64), "4 where 0"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_refused_with_name_and_reason(tmp_path, what):
    data, message = BAD[what]
    with pytest.raises(FormatError, match=message) as caught:
        read(tmp_path, data)
    assert "x.gguf" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = write_model(tmp_path / "m.gguf")
    data, size = path.read_bytes(), path.stat().st_size
    last = read_header(path).tensors[-1]
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data)
    for length in [*range(size - 1, last.offset, -997), *range(last.offset, -1, -97)]:
        os.truncate(cut, min(length, last.offset + last.size - 1))
        with pytest.raises(FormatError):
            read_header(cut)


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.gguf", "does not exist"), (".", "is a folder"), ("a\0b", "zero byte")],
)
def test_files_that_cannot_be_read(tmp_path, name, message):
    with pytest.raises(FileError, match=message):
        read_header(tmp_path / name)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="is a pipe: name a file"):
        read_header(tmp_path / "pipe")


def test_endless_metadata_are_refused_before_memory_is_full(tmp_path):
    """A sparse file of 200 GB in which every string is 64 MiB of zeros."""
    long = struct.pack("<Q", 1 << 26)
    for name, data in (
        ("list", header(entries=1) + entry("t", ARRAY, struct.pack("<IQ", STRING, 3000))),
        ("strings", header(entries=3000)),
    ):
        with open(tmp_path / name, "wb") as file:
            file.write(data)
            for number in range(6):
                if name == "strings":
                    file.write(entry(f"k{number}", STRING, b""))
                file.write(long)
                file.seek(1 << 26, os.SEEK_CUR)
            file.truncate(200 << 30)
        with pytest.raises(FormatError, match="more than 256 MiB"):
            read_header(tmp_path / name)


def test_a_large_vocabulary_is_read_fast(tmp_path):
    count = 49_152
    tokens = array(STRING, count, b"".join(text(f"token{i}") for i in range(count)))
    merges = array(STRING, count, b"".join(text(f"a {i}") for i in range(count)))
    data = header(entries=2) + entry("t", ARRAY, tokens) + entry("m", ARRAY, merges)
    (tmp_path / "x.gguf").write_bytes(data)
    begin = time.process_time()
    file = read_header(tmp_path / "x.gguf")
    assert time.process_time() - begin < 0.2
    assert file.metadata["t"][-1] == "token49151"


def test_a_folder_is_told_from_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder, not a GGUF file: if it is a checkpoint"):
        read_header(tmp_path)
