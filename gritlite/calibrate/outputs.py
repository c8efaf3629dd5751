"""A model's outputs on a sample: vectors, logits, layer inputs and speed."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from gritlite.calibrate.sample import Sample, Tokens
from gritlite.calibrate.texts import InstructedText
from gritlite.prompt import Attention
from gritlite.runtime.instruments import Observer
from gritlite.runtime.llama import MatrixInput
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer

_ANSWER_TOKENS = 48
_PROMPT_CHARACTERS = 200
_MIN_TIMED_TOKENS = 8  # a shorter answer is too short to time
_LAYER_INPUT = re.compile(r"blk\.\d+\.attn_q\.weight")

Advance = Callable[[int], object]  # takes the number of tokens just evaluated


@dataclass(frozen=True)
class Outputs:
    """A model's outputs on a sample, without the logits.

    `vectors` is float32 [n, d], one row per document. `embed_layers` and
    `generate_layers`, float32 [layers + 1, tokens, d], are the inputs of each layer's
    attention and the final hidden states, in one pass of each mode. Speeds are in tokens
    per second; `generate_speed` is None if the answer was too short to time.
    """

    vectors: NDArray[np.float32]
    embed_layers: NDArray[np.float32]
    generate_layers: NDArray[np.float32]
    embed_speed: float
    generate_speed: float | None


def measure_outputs(model: GritLM, sample: Sample, advance: Advance) -> Outputs:
    """Return the outputs of `model`, timed. Logits need far more memory: see `chunk_logits`."""
    start = time.perf_counter()
    found = document_vectors(model, sample.documents)
    embed_speed = sample.document_tokens / (time.perf_counter() - start)
    advance(sample.document_tokens)
    return Outputs(
        vectors=found,
        embed_layers=_layers(model, sample.embed_pass, "bidirectional"),
        generate_layers=_layers(model, sample.chunks[:1], "causal"),
        embed_speed=embed_speed,
        generate_speed=_generate_speed(model, sample),
    )


def first_scored(chunk: Tokens) -> int:
    """Return the index of the first token to score: half of the chunk stands before it."""
    return len(chunk) // 2 + 1 if len(chunk) > 2 else 1


def chunk_logits(
    model: GritLM, sample: Sample, advance: Advance
) -> Iterator[tuple[Tokens, NDArray[np.float32]]]:
    """Yield each chunk's scored tokens [n] and the logits that predict them [n, vocabulary]."""
    with Scorer(model) as scorer:
        for chunk in sample.chunks:
            first = first_scored(chunk)
            yield chunk[first:], scorer.logits(chunk, first)
            advance(len(chunk))


def document_vectors(model: GritLM, documents: Sequence[InstructedText]) -> NDArray[np.float32]:
    """Return the vectors of documents, each with its instruction, float32 [n, d]."""
    parts: list[NDArray[np.float32]] = []
    for instruction, group in groupby(documents, key=attrgetter("instruction")):
        prompt = model.format.with_instruction(instruction)
        texts = [document.text for document in group]
        parts += model.encode_stream(texts, instruction=prompt, too_long="chunk")
    return np.concatenate(parts)


def _layers(
    model: GritLM, sequences: tuple[Tokens, ...], attention: Attention
) -> NDArray[np.float32]:
    inputs: list[NDArray[np.float32]] = []

    def watch(seen: MatrixInput) -> None:
        if _LAYER_INPUT.fullmatch(seen.tensor):
            inputs.append(seen.inputs)

    size = sum(map(len, sequences))
    with Observer(model, watch, attention=attention, pass_tokens=size) as observer:
        final = observer.run(sequences)
    return np.stack([*inputs, final])


def _generate_speed(model: GritLM, sample: Sample) -> float | None:
    """Return tokens per second of greedy decoding, without the prefill; None if too short."""
    prompt = sample.documents[0].text[:_PROMPT_CHARACTERS]
    answer = model.generate(prompt, stream=True, temperature=0.0, max_tokens=_ANSWER_TOKENS)
    next(answer, "")
    begun, start = len(answer.generated), time.perf_counter()
    for _ in answer:
        pass
    tokens, seconds = len(answer.generated) - begun, time.perf_counter() - start
    return tokens / seconds if tokens >= _MIN_TIMED_TOKENS else None
