"""Generation options: sampling, length and stop strings, validated when created."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, TypedDict, Unpack

import numpy as np

from gritlite.errors import UsageError
from gritlite.runtime.grammar import check_grammar
from gritlite.system.progress import ProgressCallback, no_progress

_MOST_BIAS = 100
_MOST_BITS = 64  # of integers that messages show


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0 and
    `repeat_penalty` 1 disable their filter. `frequency_penalty`, for each time that a token is
    in the answer so far, and `presence_penalty`, once if it is, are taken from its logit, and
    `logit_bias`, by token ids, is added: OpenAI's formula and ranges
    (platform.openai.com/docs/api-reference/chat/create). `grammar` is GBNF
    (llama.cpp's grammars/README.md). The same seed gives the same answer.
    Raises UsageError for a value of another type or outside its range.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    grammar: str | None = None

    def __post_init__(self) -> None:
        ranges = (
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_k", self.top_k, 0, 2**31 - 1),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repeat_penalty", self.repeat_penalty, 0.01, 100.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
            ("seed", self.seed, 0, 2**32 - 2),  # the largest value means "random" to llama.cpp
        )
        for name, value, low, high in ranges:
            _check_number(name, value, whole=name in ("top_k", "seed"))
            if not low <= value <= high:
                raise UsageError(f"{name} is {_shown(value)}: expected {low} to {high}", name)
        _check_bias(self.logit_bias)


@dataclass(frozen=True)
class GenerateOptions:
    """How an answer is generated and where it ends.

    `max_tokens` None means up to the context length. The answer ends before the first
    `stop` string, which is not part of it, and with `stop_loops` where it only repeats itself
    (see `loops`). `top_logprobs` None records no log-probabilities. `tools` are for chats alone.
    `progress` is called as the prompt is evaluated, with its tokens so far and in all.
    Raises UsageError for an invalid value.
    """

    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_loops: bool = False
    top_logprobs: int | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    progress: ProgressCallback = no_progress

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            _check_number("max_tokens", self.max_tokens, whole=True)
            if self.max_tokens < 1:
                problem = f"max_tokens is {_shown(self.max_tokens)}: expected 1 or more"
                raise UsageError(problem, "max_tokens")
        if not all(isinstance(text, str) for text in self.stop):
            raise UsageError(f"stop is {self.stop!r}: expected strings", "stop")
        if any(not text for text in self.stop):
            raise UsageError("a stop string is empty: leave it out", "stop")
        if self.top_logprobs is not None:
            _check_number("top_logprobs", self.top_logprobs, whole=True)
            if self.top_logprobs < 0:
                problem = f"top_logprobs is {_shown(self.top_logprobs)}: expected 0 or more"
                raise UsageError(problem, "top_logprobs")
        if not all(isinstance(tool, Mapping) for tool in self.tools):
            problem = "a tool is not a mapping: expected OpenAI's form of a function"
            raise UsageError(problem, "tools")
        if not callable(self.progress):
            raise UsageError(f"progress is {self.progress!r}: expected a function", "progress")


class ChatOptions(TypedDict, total=False):
    """The generation options of `GritLM.chat` and `GritLM.generate`, with their defaults.

    `max_tokens` (None: up to the context length), `stop` (strings that end the answer),
    `stop_loops` (False; True ends an answer that only repeats itself),
    `temperature` (0.7; 0 is greedy), `top_k` (40), `top_p` (0.95), `min_p` (0.05),
    `repeat_penalty` (1), `frequency_penalty` and `presence_penalty` (0; -2 to 2), `logit_bias`
    (None; what is added to the logits of tokens by their ids, -100 to 100: these forbid a token,
    and make it certain), `seed` (None: random), `grammar` (GBNF) or `json_schema`,
    `top_logprobs` (None; a number records `Answer.logprobs`, with so many likeliest tokens each),
    `tools`, functions in OpenAI's form for a chat template that shows them to the model, and
    `progress`, which is called in the thread that reads the answer after each part of the
    prompt, with the tokens that are evaluated and all that have to be.
    """

    max_tokens: int | None
    stop: str | Sequence[str]
    stop_loops: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    logit_bias: Mapping[int, float] | None
    seed: int | None
    grammar: str | None
    json_schema: Mapping[str, Any] | str | None
    top_logprobs: int | None
    tools: Sequence[Mapping[str, Any]]
    progress: ProgressCallback


def generate_options(**given: Unpack[ChatOptions]) -> GenerateOptions:
    """Return validated options, with the defaults of `ChatOptions`.

    Raises UsageError for an unknown option, an invalid value, and a grammar or schema that
    cannot be used.
    """
    unknown = given.keys() - ChatOptions.__optional_keys__
    if unknown:
        known = ", ".join(sorted(ChatOptions.__optional_keys__))
        problem = f"there is no option {min(unknown)!r}: expected one of {known}"
        raise UsageError(problem, min(unknown))
    seed = given.get("seed")
    sampling = SamplingOptions(
        temperature=given.get("temperature", 0.7),
        top_k=given.get("top_k", 40),
        top_p=given.get("top_p", 0.95),
        min_p=given.get("min_p", 0.05),
        repeat_penalty=given.get("repeat_penalty", 1.0),
        frequency_penalty=given.get("frequency_penalty", 0.0),
        presence_penalty=given.get("presence_penalty", 0.0),
        logit_bias=given.get("logit_bias") or {},
        seed=_random_seed() if seed is None else seed,
        grammar=_grammar(given.get("grammar"), given.get("json_schema")),
    )
    return GenerateOptions(
        sampling,
        given.get("max_tokens"),
        _stops(given.get("stop", ())),
        bool(given.get("stop_loops", False)),
        given.get("top_logprobs"),
        tuple(given.get("tools") or ()),
        given.get("progress", no_progress),
    )


def raw_options(**given: Unpack[ChatOptions]) -> GenerateOptions:
    """Return the options of an answer to a raw prompt. Raises as `generate_options`."""
    if given.get("tools"):
        problem = "tools are for chats: a raw prompt has no template that shows them"
        raise UsageError(problem, "tools")
    return generate_options(**given)


def _check_number(name: str, value: object, *, whole: bool) -> None:
    if not _is_number(value, Integral if whole else Real):
        wanted = "an integer" if whole else "a number"
        raise UsageError(f"{name} is {value!r}: expected {wanted}", name)


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_bias(logit_bias: object) -> None:
    name = "logit_bias"
    if not isinstance(logit_bias, Mapping):
        problem = f"{name} is of type {type(logit_bias).__name__}: expected a mapping of token ids"
        raise UsageError(problem, name)
    for token, bias in logit_bias.items():
        if not _is_number(token, Integral):
            raise UsageError(f"{name} has the token {token!r}: expected an id", name)
        if not _is_number(bias, Real) or not -_MOST_BIAS <= bias <= _MOST_BIAS:
            wanted = f"a number from {-_MOST_BIAS} to {_MOST_BIAS}"
            raise UsageError(f"{name} of token {token} is {bias!r}: expected {wanted}", name)


def _shown(value: Any) -> str:
    """Return a number as messages show it: without hundreds of digits."""
    bits = int(value).bit_length() if isinstance(value, Integral) else 0
    if bits <= _MOST_BITS:
        return str(value)
    return f"a number of about {int(bits * math.log10(2)) + 1} digits"


def _stops(stop: object) -> tuple[str, ...]:
    if isinstance(stop, str):
        return (stop,)
    if not isinstance(stop, Iterable):
        raise UsageError(f"stop is {stop!r}: expected a string or several", "stop")
    return tuple(stop)


def _grammar(grammar: str | None, json_schema: Mapping[str, Any] | str | None) -> str | None:
    if grammar is not None and json_schema is not None:
        raise UsageError("grammar and json_schema exclude each other: pass only one", "grammar")
    if json_schema is not None:
        # a tenth of the time that importing GritLM would take
        from gritlite.runtime.schema import from_json_schema

        with _about("json_schema"):
            return from_json_schema(json_schema)
    if grammar is not None:
        if not isinstance(grammar, str):
            raise UsageError(f"grammar is {grammar!r}: expected GBNF as a string", "grammar")
        with _about("grammar"):
            check_grammar(grammar)
    return grammar


@contextmanager
def _about(argument: str) -> Iterator[None]:
    """Name the argument in errors."""
    try:
        yield
    except UsageError as error:
        error.argument = argument
        raise


def _random_seed() -> int:
    return int(np.random.default_rng().integers(2**32 - 1))
