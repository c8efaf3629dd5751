"""How much work is left to embed, and how long it will take here and now."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gritlite.modelfile.memory import kv_bytes_per_token
from gritlite.rag.chunks import ChunkRow
from gritlite.rag.embedding import Pending
from gritlite.rag.settings import Settings
from gritlite.rag.state_quantization import SHARE_OF_F16
from gritlite.runtime.any_model import AnyModel

SAMPLE_TOKENS = 512  # whose embedding is timed


@dataclass(frozen=True)
class Plan:
    """What is left to embed, the estimated seconds, and the bytes of states it will add."""

    pending: Pending
    seconds: float
    state_bytes: int


def estimate(
    model: AnyModel, settings: Settings, pending: Pending, sample: Sequence[ChunkRow]
) -> Plan:
    """Time the embedding of a sample of the pending chunks; without one the work takes no time."""
    if not sample:
        return Plan(pending, 0.0, 0)
    texts = [chunk.embedded for chunk in sample]
    model.encode(texts[0], max_length=None)  # the first pass takes longer
    start = time.perf_counter()
    model.encode(texts, max_length=None)
    seconds_per_token = (time.perf_counter() - start) / sum(chunk.tokens for chunk in sample)
    state_bytes = _state_bytes(model, settings, pending)
    return Plan(pending, seconds_per_token * pending.tokens, state_bytes)


def _state_bytes(model: AnyModel, settings: Settings, pending: Pending) -> int:
    """The bytes of the states that will be kept, without the heads of their files."""
    if settings.states == "none":
        return 0
    prompt = len(model.embed_tokens("a")[0]) - len(model.tokenize("a"))
    tokens = pending.tokens + pending.chunks * prompt
    bytes_per_token = kv_bytes_per_token(model.file) * SHARE_OF_F16[settings.states]
    return int(min(tokens * bytes_per_token, settings.state_bytes_limit))
