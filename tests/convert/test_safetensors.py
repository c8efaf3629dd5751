"""The safetensors reader takes sound files, names what is wrong in others, and never crashes."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from gritlite.convert.safetensors import read_header
from gritlite.errors import FileError, FormatError, GritLiteError
from tests.tiny import pack_safetensors, safetensors_bytes

A = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
B = {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]}
MUTANTS = 10_000


def test_reads_what_the_official_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.arange(5, dtype=np.float16),
        "empty": np.zeros((0, 3), np.float32),
    }
    save_file(tensors, path, metadata={"format": "np"})
    data = path.read_bytes()
    entries = read_header(path)
    assert {name: entry.shape for name, entry in entries.items()} == {
        "a": (2, 3),
        "b": (5,),
        "empty": (0, 3),
    }
    for name, tensor in tensors.items():
        entry = entries[name]
        assert data[entry.start : entry.start + entry.size] == tensor.tobytes()


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ({"a": A}, "8 bytes that belong to no tensor"),
        (
            {"a": A, "b": {**B, "data_offsets": [8, 16]}},
            "'b' so that it overlaps the tensor before it",
        ),
        ({"a": {**A, "shape": [1, 2], "data_offsets": [0, 8]}, "b": B}, "has unused bytes before"),
        ({"a": A, "b": {**B, "data_offsets": [16, 40]}}, "is truncated: 'b'"),
        ({"a": A, "b": {**B, "data_offsets": [24, 16]}}, "not a range of bytes"),
        ({"a": A, "b": {**B, "data_offsets": [16, -1]}}, "'b' with"),
        ({"a": A, "b": {**B, "shape": [True]}}, "'b' with"),
        ({"a": A, "b": {**B, "shape": None}}, "'b' with"),
        ({"a": A, "b": {**B, "shape": [5]}}, "gives 'b' 8 bytes, but BF16 of shape [5] needs 10"),
        ({"a": A, "b": {**B, "dtype": "I8", "shape": [8]}}, "'b' as 'I8'"),
        ({"a": A, "b": {**B, "dtype": ["F32"]}}, "'b' as ['F32']"),
        ({"a": A, "b": 3}, "'b' with something other than"),
        ([A], "not a JSON object"),
    ],
)
def test_contradictions_are_named(header: Any, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(pack_safetensors(header, bytes(24)))
    with pytest.raises(FormatError) as caught:
        read_header(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "truncated"),
        (b"\0" * 7, "truncated"),
        (struct.pack("<Q", 2**63) + b"{}", "truncated"),
        (struct.pack("<Q", 2) + b"{", "truncated"),
        (struct.pack("<Q", 2) + b"\xff{", "not JSON"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "not JSON"),
        (struct.pack("<Q", 17) + b'{"a": 1, "a": 2}  ', "lists 'a' twice"),
    ],
)
def test_broken_headers_are_refused(data: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=complaint):
        read_header(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        read_header(tmp_path / "a.safetensors")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = safetensors_bytes({"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32)})
    path = tmp_path / "a.safetensors"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FormatError):
            read_header(path)


def test_ten_thousand_damaged_headers_end_in_one_of_our_errors(tmp_path: Path) -> None:
    whole = safetensors_bytes(
        {f"layers.{n}.weight": np.ones((n, 3), np.float32) for n in range(1, 6)}
    )
    path = tmp_path / "a.safetensors"
    chance = random.Random(20240214)
    refused = 0
    for _ in range(MUTANTS):
        path.unlink(missing_ok=True)  # much quicker than to truncate it
        path.write_bytes(_mutated(whole, chance))
        try:
            entries = read_header(path)
        except GritLiteError:
            refused += 1
        else:
            assert all(
                entry.start + entry.size <= path.stat().st_size for entry in entries.values()
            )
    assert refused > MUTANTS // 2


def _mutated(whole: bytes, chance: random.Random) -> bytes:
    data = bytearray(whole)
    header_length = struct.unpack("<Q", whole[:8])[0]
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(8 + header_length)
        match chance.randrange(6):
            case 0:
                data[place % len(data)] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randint(1, 40)]
            case 2:
                data[place:place] = data[place : place + chance.randint(1, 40)]
            case 3:
                data[:8] = struct.pack(
                    "<Q", chance.choice((0, 2, 2**64 - 1, chance.getrandbits(40)))
                )
            case 4:
                token = chance.choice((b"-1", b"1e99", b"null", b"[]", b'"', b"9" * 5000, b"NaN"))
                data[place:place] = token
            case _:
                header = json.loads(whole[8 : 8 + header_length])
                name = chance.choice(list(header))
                header[name] = chance.choice((None, 1, [], {}, {"dtype": "F32", "shape": [2**62]}))
                data = bytearray(pack_safetensors(header, whole[8 + header_length :]))
    return bytes(data)
