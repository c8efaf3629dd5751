import llama_cpp
import pytest

from gritlite.errors import UsageError
from gritlite.quant.types import TARGETS, block_size, row_bytes


def test_file_types_are_llama_cpps() -> None:
    for name, target in TARGETS.items():
        prefix = "LLAMA_FTYPE_ALL_" if name == "f32" else "LLAMA_FTYPE_MOSTLY_"
        assert target.file_type == getattr(llama_cpp, prefix + name.upper())


def test_only_blocks_count_as_quantized() -> None:
    assert {name for name, target in TARGETS.items() if not target.quantized} == {
        "f32",
        "f16",
        "bf16",
    }


def test_rows_must_be_whole_blocks() -> None:
    q4_k = TARGETS["q4_k_m"].default_type
    assert block_size(q4_k) == 256
    assert row_bytes(q4_k, 512) == 2 * 144
    with pytest.raises(UsageError, match="rows of 288 values do not fit Q4_K"):
        row_bytes(q4_k, 288)
