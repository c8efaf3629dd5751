"""The safety probe's child process: decodes a tiny quantized model once.

Usage: python -m gritlite.runtime.probe_child repack|plain

Exits with NO_ROOM if memory or disk space runs out, as that is not a fault of llama.cpp.
"""

import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

from gritlite.errors import OutOfMemoryError
from gritlite.runtime.llama import Batch, Context, ContextOptions, Weights
from gritlite.runtime.trial import NO_ROOM
from gritlite.system.processes import end_with_parent

_WIDTH, _LAYERS, _VOCABULARY = 256, 1, 512
# one type per family of repacked kernels
_TYPES = (
    gguf.GGMLQuantizationType.Q4_0,
    gguf.GGMLQuantizationType.Q8_0,
)
_BATCH_TOKENS = 64  # in the first batch: enough to use the matrix kernels


def main() -> None:
    """Decode as the command line says."""
    end_with_parent()
    try:
        _decode(repack=sys.argv[1] == "repack")
    except (OSError, MemoryError, OutOfMemoryError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(NO_ROOM)


def _decode(*, repack: bool) -> None:
    """Decode a batch and a single token for each type."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in _TYPES:
            path = Path(folder) / f"{kind.name}.gguf"
            write_model(path, kind)
            with Weights(path, gpu_layers=0, repack=repack) as weights:
                options = ContextOptions(n_ctx=2 * _BATCH_TOKENS, n_batch=_BATCH_TOKENS, threads=2)
                with Context(weights, options) as context:
                    for start, count in ((0, _BATCH_TOKENS), (_BATCH_TOKENS, 1)):
                        context.decode(
                            Batch(
                                tokens=np.arange(count, dtype=np.int32),
                                positions=np.arange(start, start + count, dtype=np.int32),
                                sequences=np.zeros(count, np.int32),
                                outputs=np.arange(count) == count - 1,
                            )
                        )
                    if not np.isfinite(context.logits(1)).all():
                        sys.exit(f"{kind.name} logits are not finite")


def write_model(path: Path, kind: gguf.GGMLQuantizationType) -> None:
    """Write a random one-layer Llama whose matrices are of type `kind`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(_LAYERS)
    writer.add_context_length(1024)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(_VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    random = np.random.default_rng(0)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        weights = random.standard_normal((_WIDTH, _WIDTH), np.float32)
        writer.add_tensor(f"blk.0.{name}.weight", gguf.quantize(weights, kind), raw_dtype=kind)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(_WIDTH, np.float32))
    embedding = random.standard_normal((_VOCABULARY, _WIDTH), np.float32)
    writer.add_tensor("token_embd.weight", gguf.quantize(embedding, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
