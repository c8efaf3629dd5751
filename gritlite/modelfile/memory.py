"""Estimate from a header how much memory a model needs in each mode.

The compute formula was fitted to the buffers llama.cpp (llama-cpp-python 0.3.36)
reserves on a CPU with flash attention, for Llama, Qwen2 and Mixtral shapes of 576
to 4,096 dimensions, 300 to 152,000 tokens of vocabulary, 512 to 32,768 KV cells:
within 1% where one output is reserved (generate), within 5% where all are (embed).
It does not cover architectures with other layers than attention and a gated
feed-forward network, a GPU's buffers, or a KV cache that is not f16.

`weights` are the file's tensor bytes. They are memory-mapped: the system may drop
pages and read them again. Where llama.cpp repacks a type for the processor, the
repacked copy is used instead and the mapped pages can be dropped.
"""

from dataclasses import dataclass

from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import Hyperparameters, read_hyperparameters

PASS_TOKENS = 512  # default size of a packed embedding pass; see benchmarks/passes.py

_F16 = 2
_F32 = 4
_CELL_BLOCK = 256  # llama.cpp rounds a context up to a multiple of it


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes needed for the weights, the KV cache, and the buffers and outputs of one pass.

    `outputs` are the logits that llama.cpp copies out for every token marked as
    output (llama_context::output_reserve), in embedding passes too.
    """

    weights: int
    kv_cache: int
    compute: int
    outputs: int

    @property
    def without_weights(self) -> int:
        """Bytes needed in addition to the weights."""
        return self.kv_cache + self.compute + self.outputs

    def on_host(self, *, on_device: bool) -> int:
        """Bytes of main memory needed in addition to the weights.

        A model that is `on_device` has its keys, values and buffers there, and the device checks
        its own memory.
        """
        return self.outputs if on_device else self.without_weights

    @property
    def total(self) -> int:
        """Bytes in total."""
        return self.weights + self.without_weights


def embed_memory(file: GGUFFile, pass_tokens: int = PASS_TOKENS) -> MemoryNeed:
    """Estimate the memory for embedding passes of up to `pass_tokens` tokens.

    llama.cpp reserves space for the output head of every token, used or not.
    Raises what `read_hyperparameters` raises.
    """
    model = read_hyperparameters(file)
    cells = _padded(pass_tokens)
    head = model.vocabulary + 2 * model.width
    numbers = max(head, _layer_numbers(model, cells))
    return MemoryNeed(
        _weights(file),
        _kv_bytes(model, cells),
        _F32 * pass_tokens * numbers,
        _F32 * pass_tokens * model.vocabulary,
    )


def generate_memory(
    file: GGUFFile, context_length: int, pass_tokens: int = PASS_TOKENS, *, parallel: int = 1
) -> MemoryNeed:
    """Estimate the memory to generate in `parallel` contexts of `context_length` tokens each.

    Prefill runs in passes of `pass_tokens`. Raises what `read_hyperparameters` raises.
    """
    model = read_hyperparameters(file)
    # beside others, a sequence needs a cell more: see runtime/llama/decoders.py
    cells = _padded(context_length + (parallel > 1))
    tokens = min(pass_tokens, cells)
    numbers = _layer_numbers(model, cells)
    return MemoryNeed(
        _weights(file),
        parallel * _kv_bytes(model, cells),
        _F32 * tokens * numbers,
        _F32 * parallel * model.vocabulary,
    )


def graph_pass_bytes(file: GGUFFile, tokens: int) -> int:
    """Estimate the memory of the graph engine's pass over a text of `tokens` tokens.

    Several texts padded to as many tokens need less. It covers float32 keys and values of
    all layers, the activations of one, and attention scores, which ONNX Runtime 1.32 computes
    whole where attention is bidirectional. Its allocator may hold them twice: of 18 measured
    peaks (widths 512 to 1,024, 512 to 4,096 tokens) this is 1.0 to 1.9 times. Raises what
    `read_hyperparameters` raises.
    """
    model = read_hyperparameters(file)
    states = sum(model.kv_heads) * (model.key_width + model.value_width)
    layer = 4 * max(model.feed_forward) * max(model.experts_used, 1) + 8 * model.width
    return _F32 * tokens * (states + layer + 2 * max(model.heads) * tokens)


def kv_bytes_per_token(file: GGUFFile) -> int:
    """Return the bytes of one token's keys and values in f16.

    Raises what `read_hyperparameters` raises.
    """
    return _kv_bytes(read_hyperparameters(file), 1)


def _weights(file: GGUFFile) -> int:
    return sum(tensor.size for tensor in file.tensors)


def _kv_bytes(model: Hyperparameters, cells: int) -> int:
    return _F16 * cells * sum(model.kv_heads) * (model.key_width + model.value_width)


def _layer_numbers(model: Hyperparameters, cells: int) -> int:
    """Return the f32 values per token of the largest layer; the f16 mask counts half."""
    inner = max(model.feed_forward) * max(model.experts_used, 1)
    return 3 * inner + 4 * model.width + cells // 2


def _padded(tokens: int) -> int:
    return -(-tokens // _CELL_BLOCK) * _CELL_BLOCK
