"""Generation options: sampling, length and stop strings, validated when created."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, TypedDict, Unpack

import numpy as np

from gritlite.errors import UsageError
from gritlite.runtime.grammar import check_grammar
from gritlite.runtime.schema import from_json_schema


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0 and
    `repeat_penalty` 1 disable their filter. `grammar` is GBNF
    (llama.cpp's grammars/README.md). The same seed gives the same answer.
    Raises UsageError for a value of another type or outside its range.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int = 0
    grammar: str | None = None

    def __post_init__(self) -> None:
        ranges = (
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_k", self.top_k, 0, 2**31 - 1),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repeat_penalty", self.repeat_penalty, 0.01, 100.0),
            ("seed", self.seed, 0, 2**32 - 2),  # the largest value means "random" to llama.cpp
        )
        for name, value, low, high in ranges:
            _check_number(name, value, whole=name in ("top_k", "seed"))
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}: expected {low} to {high}")


@dataclass(frozen=True)
class GenerateOptions:
    """How an answer is generated and where it ends.

    `max_tokens` None means up to the context length. The answer ends before the first
    `stop` string, which is not part of it, and with `stop_loops` where it only repeats itself
    (see `loops`). Raises UsageError for an invalid value.
    """

    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_loops: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            _check_number("max_tokens", self.max_tokens, whole=True)
            if self.max_tokens < 1:
                raise UsageError(f"max_tokens is {self.max_tokens}: expected 1 or more")
        if not all(isinstance(text, str) for text in self.stop):
            raise UsageError(f"stop is {self.stop!r}: expected strings")
        if any(not text for text in self.stop):
            raise UsageError("a stop string is empty: leave it out")


class ChatOptions(TypedDict, total=False):
    """The generation options of `GritLM.chat` and `GritLM.generate`, with their defaults.

    `max_tokens` (None: up to the context length), `stop` (strings that end the answer),
    `stop_loops` (False; True ends an answer that only repeats itself),
    `temperature` (0.7; 0 is greedy), `top_k` (40), `top_p` (0.95), `min_p` (0.05),
    `repeat_penalty` (1), `seed` (None: random), and `grammar` (GBNF) or `json_schema`.
    """

    max_tokens: int | None
    stop: str | Sequence[str]
    stop_loops: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    seed: int | None
    grammar: str | None
    json_schema: Mapping[str, Any] | str | None


def generate_options(**given: Unpack[ChatOptions]) -> GenerateOptions:
    """Return validated options, with the defaults of `ChatOptions`.

    Raises UsageError for an unknown option, an invalid value, and a grammar or schema that
    cannot be used.
    """
    unknown = given.keys() - ChatOptions.__optional_keys__
    if unknown:
        known = ", ".join(sorted(ChatOptions.__optional_keys__))
        raise UsageError(f"there is no option {min(unknown)!r}: expected one of {known}")
    seed = given.get("seed")
    sampling = SamplingOptions(
        temperature=given.get("temperature", 0.7),
        top_k=given.get("top_k", 40),
        top_p=given.get("top_p", 0.95),
        min_p=given.get("min_p", 0.05),
        repeat_penalty=given.get("repeat_penalty", 1.0),
        seed=_random_seed() if seed is None else seed,
        grammar=_grammar(given.get("grammar"), given.get("json_schema")),
    )
    return GenerateOptions(
        sampling,
        given.get("max_tokens"),
        _stops(given.get("stop", ())),
        bool(given.get("stop_loops", False)),
    )


def _check_number(name: str, value: object, *, whole: bool) -> None:
    kind, wanted = (Integral, "an integer") if whole else (Real, "a number")
    if isinstance(value, bool) or not isinstance(value, kind):
        raise UsageError(f"{name} is {value!r}: expected {wanted}")


def _stops(stop: object) -> tuple[str, ...]:
    if isinstance(stop, str):
        return (stop,)
    if not isinstance(stop, Iterable):
        raise UsageError(f"stop is {stop!r}: expected a string or several")
    return tuple(stop)


def _grammar(grammar: str | None, json_schema: Mapping[str, Any] | str | None) -> str | None:
    if grammar is not None and json_schema is not None:
        raise UsageError("grammar and json_schema exclude each other: pass only one")
    if json_schema is not None:
        return from_json_schema(json_schema)
    if grammar is not None:
        if not isinstance(grammar, str):
            raise UsageError(f"grammar is {grammar!r}: expected GBNF as a string")
        check_grammar(grammar)
    return grammar


def _random_seed() -> int:
    return int(np.random.default_rng().integers(2**32 - 1))
