"""What llama.cpp itself makes of a file: tokens, logits, quantized files, through C."""

import contextlib
import ctypes
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from numpy.typing import NDArray

from gritlite.quant.types import Target

_SILENT = llama_cpp.llama_log_callback(lambda *_: None)


@contextlib.contextmanager
def loaded(path: Path, *, vocab_only: bool = False) -> Iterator[Any]:
    """The llama_model of a file."""
    llama_cpp.llama_log_set(_SILENT, None)
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = vocab_only
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"llama.cpp refuses {path}"
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


def tokenize(
    model: Any, text: str, *, add_special: bool = True, parse_special: bool = False
) -> list[int]:
    """The ids of a text."""
    data = text.encode("utf-8")
    ids = (ctypes.c_int32 * (len(data) + 8))()
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(
        vocabulary, data, len(data), ids, len(ids), add_special, parse_special
    )
    assert count >= 0
    return list(ids[:count])


def logits(model: Any, ids: Sequence[int], *, adapter: Path | None = None) -> NDArray[np.float32]:
    """The logits after each of the tokens, [tokens, vocabulary], causal, keys and values f32.

    `adapter` is a GGUF adapter to put beside the model; it stays loaded with it.
    """
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(64, len(ids))
    params.n_threads = params.n_threads_batch = 2
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model, params)
    assert context
    if adapter is not None:
        lora = llama_cpp.llama_adapter_lora_init(model, str(adapter).encode())
        assert lora, f"llama.cpp refuses {adapter}"
        scale = ctypes.c_float(1)
        assert llama_cpp.llama_set_adapters_lora(context, ctypes.byref(lora), 1, scale) == 0
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    try:
        batch.n_tokens = len(ids)
        for place, number in enumerate(ids):
            batch.token[place] = number
            batch.pos[place] = place
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = 0
            batch.logits[place] = 1
        assert llama_cpp.llama_decode(context, batch) == 0
        size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        values = llama_cpp.llama_get_logits(context)
        return np.ctypeslib.as_array(values, (len(ids) * size,)).reshape(len(ids), size).copy()
    finally:
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)


def quantize_with_llama_cpp(
    source: Path,
    output: Path,
    target: Target,
    importances: Mapping[str, NDArray[np.float32]] | None = None,
) -> bool:
    """Write the file that llama_model_quantize makes; whether it did not refuse."""
    llama_cpp.llama_log_set(_SILENT, None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread = 2
    params.ftype = target.file_type
    params.allow_requantize = True
    if importances is not None:
        entry, floats = llama_cpp.llama_model_imatrix_data, ctypes.POINTER(ctypes.c_float)
        entries = [
            entry(name.encode(), values.ctypes.data_as(floats), values.size)
            for name, values in importances.items()
        ]
        params.imatrix = (entry * (len(entries) + 1))(*entries)
    status: int = llama_cpp.llama_model_quantize(bytes(source), bytes(output), ctypes.byref(params))
    return status == 0


def tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Every tensor of a file in floats, by gguf's own reader."""
    return {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors
    }
