"""How much each part does: all of it on a GPU, less in a rehearsal, little in a test."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.tiny import CASES

KINDS = ("f32", "f16", "q8_0", "q4_k_m")


@dataclass(frozen=True)
class Size:
    """`embed_tokens` are those of all texts, by the names of the models in SHAPES."""

    cases: tuple[str, ...]
    kinds: tuple[str, ...]
    texts: int
    answer_tokens: int
    passes: tuple[int, ...]  # of embedding, in tokens
    embed_tokens: Mapping[str, int]
    prompt_tokens: int
    rounds: int
    threads: int | None = None  # the processor's, by default


SIZES = {
    "gpu": Size(
        cases=tuple(CASES),
        kinds=KINDS,
        texts=64,
        answer_tokens=64,
        passes=(512, 2048, 8192),
        embed_tokens={"135M": 65_536, "7B": 8192},
        prompt_tokens=2048,
        rounds=3,
    ),
    "cpu": Size(
        cases=tuple(CASES),
        kinds=KINDS,
        texts=32,
        answer_tokens=32,
        passes=(512,),
        embed_tokens={"135M": 1024},
        prompt_tokens=256,
        rounds=2,
    ),
    "small": Size(
        cases=("mistral", "qwen2"),
        kinds=("f32", "q4_k_m"),
        texts=8,
        answer_tokens=8,
        passes=(512,),
        embed_tokens={"small": 512},
        prompt_tokens=128,
        rounds=1,
        threads=1,
    ),
}
