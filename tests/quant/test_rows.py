import numpy as np
import pytest
from gguf import GGMLQuantizationType as Q
from gguf import quants

from gritlite.errors import FormatError, UsageError
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.quant.types import row_bytes

# the targets' types and those they fall back to
TYPES = [
    Q.F32,
    Q.F16,
    Q.BF16,
    Q.Q8_0,
    Q.Q6_K,
    Q.Q5_K,
    Q.Q5_0,
    Q.Q5_1,
    Q.Q4_K,
    Q.Q4_0,
    Q.Q4_1,
    Q.IQ4_XS,
    Q.IQ4_NL,
    Q.Q3_K,
    Q.Q2_K,
]

# all that a file's weights can have
STORED = [*TYPES, *(Q.IQ1_S, Q.IQ1_M, Q.IQ2_XXS, Q.IQ2_XS, Q.IQ2_S, Q.IQ3_XXS, Q.IQ3_S)]
STORED += [Q.TQ1_0, Q.TQ2_0, Q.MXFP4, Q.NVFP4]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_threads_and_cuts_do_not_change_bytes(type: Q) -> None:
    rows = normal(401, 1024)  # two chunks, the second one shorter
    whole = quantize_rows(rows, type, threads=1)
    for threads in (2, 5):
        np.testing.assert_array_equal(quantize_rows(rows, type, threads), whole)
    pieces = [quantize_rows(piece, type, threads=2) for piece in np.array_split(rows, 8)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_a_row_longer_than_a_chunk() -> None:
    rows = normal(3, 300_032)
    assert quantize_rows(rows, Q.Q8_0, threads=2).shape == (3, 300_032 // 32 * 34)


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_views_are_read_by_their_values(type: Q) -> None:
    rows = normal(512, 8)
    expected = quantize_rows(rows.T.copy(), type, threads=1)
    np.testing.assert_array_equal(quantize_rows(rows.T, type, threads=1), expected)


def test_no_rows() -> None:
    assert quantize_rows(normal(0, 256), Q.Q4_K, threads=2).shape == (0, 144)
    assert quantize_rows(normal(4, 0), Q.Q4_K, threads=2).shape == (4, 0)


def test_f16_rounds_as_ieee_says() -> None:
    rows = np.concatenate(
        [normal(64, 64) * np.float32(scale) for scale in (1, 1e4, 1e-4, 1e-7, 1e-9)]
    )
    stored = quantize_rows(rows, Q.F16, threads=1).view(np.float16)
    np.testing.assert_array_equal(stored, rows.astype(np.float16))


def test_every_bf16_value_survives() -> None:
    """Subnormals and both zeros included; NaN and the infinities are refused."""
    bits = np.arange(1 << 16, dtype=np.uint32)
    bits = bits[(bits & 0x7F80) != 0x7F80]
    rows = (bits << 16).view(np.float32).reshape(-1, 32)
    stored = quantize_rows(rows, Q.BF16, threads=1).view(np.uint16)
    np.testing.assert_array_equal(stored.ravel(), bits)


def test_rows_that_are_no_whole_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match="rows of 96 values do not fit Q4_K"):
        quantize_rows(normal(2, 96), Q.Q4_K, threads=1)


def test_a_type_that_needs_an_importance_matrix_is_refused() -> None:
    with pytest.raises(UsageError, match="IQ2_XXS needs an importance matrix"):
        quantize_rows(normal(2, 256), Q.IQ2_XXS, threads=1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_value_is_found_in_a_later_chunk(value: float, threads: int) -> None:
    rows = normal(700, 1024)
    rows[613, 5] = value
    with pytest.raises(FormatError, match=r"^row 613 has a NaN or an infinity$"):
        quantize_rows(rows, Q.Q8_0, threads)


def test_a_value_too_large_for_the_type(capfd: pytest.CaptureFixture[str]) -> None:
    rows = normal(4, 256)
    rows[2, 7] = 1e6
    with pytest.raises(FormatError, match=r"^row 2 has values too large for F16$"):
        quantize_rows(rows, Q.F16, threads=1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("type", STORED, ids=lambda type: type.name)
def test_values_are_those_that_gguf_reads(type: Q) -> None:
    random = np.random.default_rng(0)
    stored = random.integers(0, 256, (7, row_bytes(type, 512)), dtype=np.uint8)
    values = dequantize_rows(stored, type)
    assert values.shape == (7, 512)
    assert values.dtype == np.float32
    with np.errstate(all="ignore"):  # any bytes make a scale, NaN and infinity too
        np.testing.assert_array_equal(values, quants.dequantize(stored, type))
