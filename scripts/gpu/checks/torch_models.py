"""The same shapes in transformers with random weights, in bfloat16: what torch makes of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from checks.models import CONTEXT, Shape
from checks.parts import Task

_BATCH = {"gpu": 32, "cpu": 8}  # texts


def embedding(shape: Shape, lengths: NDArray[Any], task: Task) -> Callable[[], object]:
    """Embeds texts of these lengths: bidirectional, padded to the longest of a batch, averaged."""
    model = _model(shape, task).model
    size = _BATCH[task.results.device]
    batches = [
        _batch(lengths[start : start + size], shape.vocabulary, model.device)
        for start in range(0, len(lengths), size)
    ]

    def run() -> list[Any]:
        with torch.inference_mode():
            return [_vectors(model, ids, real).float().cpu() for ids, real in batches]

    return run


def _vectors(model: Any, ids: Any, real: Any) -> Any:
    mask = real[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
    hidden = model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    weights = real[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _batch(lengths: NDArray[Any], vocabulary: int, device: Any) -> tuple[Any, Any]:
    longest = int(lengths.max())
    ids = torch.randint(3, vocabulary, (len(lengths), longest), device=device)
    places = torch.arange(longest, device=device)
    return ids, places[None] < torch.tensor(lengths, device=device)[:, None]


def answering(shape: Shape, task: Task) -> Callable[[int], int]:
    """Reads a prompt and goes on from it greedily, token by token."""
    model = _model(shape, task)
    prompt = torch.from_numpy(
        np.random.default_rng(0).integers(3, shape.vocabulary, (1, task.size.prompt_tokens))
    ).to(model.device)

    def run(tokens: int) -> int:
        ids, cache, said = prompt, None, []
        with torch.inference_mode():
            for _ in range(tokens):
                out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                ids, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
                said.append(int(ids))
        return len(said)

    return run


def _model(shape: Shape, task: Task) -> Any:
    if task.size.threads:
        torch.set_num_threads(task.size.threads)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
    )
    device = "cuda" if task.results.device == "gpu" else "cpu"
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)
