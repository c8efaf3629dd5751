"""The table of tensor types, compared with ggml's own."""

import ctypes

import gguf
import llama_cpp
import pytest

from gritlite.modelfile.types import BLOCKS, FILE_TYPES, GGMLType

# linked by the library that llama_cpp loaded, so its symbols are found through it
ggml = llama_cpp.llama_cpp._lib
ggml.ggml_blck_size.restype = ctypes.c_int64
ggml.ggml_type_size.restype = ctypes.c_size_t
ggml.ggml_type_name.restype = ctypes.c_char_p


@pytest.mark.parametrize("kind", GGMLType)
def test_blocks_are_ggmls(kind):
    assert BLOCKS[kind] == (ggml.ggml_blck_size(int(kind)), ggml.ggml_type_size(int(kind)))
    assert ggml.ggml_type_name(int(kind)).decode().upper() == kind.name


def test_every_type_of_ggml_is_known():
    sizes = {number: ggml.ggml_type_size(number) for number in range(43)}
    assert {number for number, size in sizes.items() if size} == set(map(int, GGMLType))


def test_numbers_equal_those_of_gguf():
    assert all(GGMLType[kind.name] == kind for kind in gguf.GGMLQuantizationType)


def test_file_types_are_named_as_in_gguf():
    names = {
        int(t): t.name.removeprefix("MOSTLY_").removeprefix("ALL_") for t in gguf.LlamaFileType
    }
    assert {n: FILE_TYPES[n] for n in names if n in FILE_TYPES} == {
        n: name for n, name in names.items() if name != "GUESSED"
    }
