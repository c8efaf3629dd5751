"""float16 numbers made by ggml are numpy's, and numpy makes them where ggml cannot."""

import numpy as np
import pytest

from gritlite.quant import float16
from gritlite.quant.float16 import to_float16, to_float32

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def between():
    """Numbers between every two neighbouring finite float16 numbers, the very middle among them."""
    finite = np.sort(EVERY[np.isfinite(EVERY)]).astype(np.float32)
    low, high = finite[:-1], finite[1:]
    return np.concatenate([low + (high - low) * np.float32(share) for share in (0.25, 0.5, 0.75)])


@pytest.fixture(params=["ggml", "numpy"])
def way(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(float16, "_of_ggml", lambda *_: None)
    return request.param


@pytest.mark.usefixtures("way")
def test_the_numbers_are_numpys():
    values = between()
    assert np.array_equal(
        to_float16(values).view(np.uint16), values.astype(np.float16).view(np.uint16)
    )
    finite = EVERY[np.isfinite(EVERY)]
    assert np.array_equal(to_float32(finite), finite.astype(np.float32))


@pytest.mark.usefixtures("way")
def test_arrays_that_c_could_not_read():
    rows = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert np.array_equal(to_float16(rows.T), rows.T)
    unaligned = np.frombuffer(b"x" + rows.astype(np.float16).tobytes(), np.uint8)[1:]
    assert np.array_equal(to_float32(unaligned.view(np.float16)), rows.ravel())
    assert to_float16(rows[:0]).shape == (0, 8)


def test_ggml_is_used_here():
    assert float16._of_ggml("ggml_cpu_fp32_to_fp16", np.float32, np.float16) is not None


def test_a_library_without_it_or_with_another(monkeypatch):
    assert float16._of_ggml("ggml_no_such_function", np.float32, np.float16) is None
    monkeypatch.setattr(float16, "function", lambda *_, **__: lambda *_: None)
    assert float16._of_ggml("does nothing", np.float32, np.float16) is None
