"""A fake engine without weights for tests: tokens are bytes, and the arithmetic is simple.

Keys hold a token and the position that it was rotated for, so that what a state forgets or
puts in the wrong place shows in the logits.
"""

from collections.abc import Callable, Iterable

import numpy as np

from gritlite.errors import ClosedError, OutOfMemoryError
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.options import SamplingOptions

BOS, EOS, SIZE = 256, 257, 258


class FakeVocabulary:
    size, bos, eos, adds_bos, adds_eos = SIZE, BOS, EOS, True, False
    control = np.arange(SIZE) >= BOS

    def normalize(self, text: str) -> str:
        return text

    def tokenize(self, text: str, *, parse_control: bool) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def piece(self, token: int, *, special: bool = False) -> bytes:
        return bytes([token]) if token < BOS else self.token_text(token).encode() * special

    def token_text(self, token: int) -> str:
        return {BOS: "<s>", EOS: "</s>", -1: ""}.get(token) or chr(token)

    def is_end(self, token: int) -> bool:
        return token == EOS


class FakePass:
    """A token's hidden state: its id, its position, and the mean of the ids it attends to."""

    def __init__(self, engine: "FakeEngine", capacity: int, attention: str) -> None:
        self.capacity, self._engine, self._attention = capacity, engine, attention

    def run(self, sequences, starts, *, return_states=False, cancel=None):
        self._engine.passes.append([list(map(int, ids)) for ids in sequences])
        hidden = [
            self._hidden(np.asarray(ids))[start:]
            for ids, start in zip(sequences, starts, strict=True)
        ]
        states = [key_values(list(map(int, ids)), 0) for ids in sequences if return_states]
        return np.concatenate(hidden), states

    def _hidden(self, ids: np.ndarray) -> np.ndarray:
        count = len(ids)
        running = np.cumsum(ids) / np.arange(1, count + 1)
        seen = running if self._attention == "causal" else np.full(count, ids.mean())
        return np.stack([ids, np.arange(count), seen], axis=1).astype(np.float32)

    def close(self) -> None:
        pass


def key_values(ids: list[int], first: int) -> KeyValues:
    rows = np.stack([ids, np.arange(first, first + len(ids))], axis=1).astype(np.float16)
    return KeyValues((rows[:, None, :],), (rows[:, None, :1],))


class FakeDecoder:
    """Its logits favour one token, which depends on all previous tokens and their positions."""

    def __init__(self, engine: "FakeEngine", capacity: int, batch_tokens: int) -> None:
        self.capacity, self.batch_tokens = capacity, batch_tokens
        self._engine, self._ids, self._closed = engine, [], False
        self._outputs: list[list[int]] = []

    def evaluate(self, tokens, start, outputs, attention="causal", cancel=None):
        if self._closed:
            raise ClosedError
        assert len(outputs) == len(tokens) <= self.batch_tokens
        assert start == len(self._ids), "a gap or an overlap"
        assert start + len(tokens) <= self.capacity
        self._engine.evaluated += len(tokens)
        self._ids += tokens
        self._outputs = [self._ids[: start + i + 1] for i in np.flatnonzero(outputs)]

    def truncate(self, length):
        del self._ids[length:]

    def restore(self, state, start=0, *, rotated_for=0):
        assert start == len(self._ids), "a gap or an overlap"
        ids, positions = state.keys[0][:, 0, :].astype(int).T.tolist()
        assert positions == list(range(rotated_for, rotated_for + len(ids)))
        self._ids += ids

    def state(self):
        return key_values(self._ids, 0)

    def logits(self, count):
        assert count == len(self._outputs)
        found = np.zeros((count, SIZE), np.float32)
        for row, ids in zip(found, self._outputs, strict=True):
            row[97 + int(np.dot(ids, np.arange(3, 3 + len(ids)))) % 26] = 1
        return found

    def close(self):
        self._closed = True


class FakeDecoders:
    """Records how many tokens each call of `evaluate_together` had, in the engine's `together`."""

    def __init__(self, engine: "FakeEngine", count: int, capacity: int, batch_tokens: int) -> None:
        self.members = [FakeDecoder(engine, capacity, batch_tokens) for _ in range(count)]
        self._engine = engine

    def evaluate_together(self, steps):
        self._engine.together.append([step.member for step in steps])
        self._engine.on_together()
        rows = []
        for step in steps:
            member = self.members[step.member]
            member.evaluate([step.token], step.position, np.ones(1, np.bool_))
            rows.append(member.logits(1)[0])
        return np.stack(rows)

    def close(self):
        for member in self.members:
            member.close()


class FakeSampler:
    def choose(self, logits: np.ndarray) -> int:
        return int(logits.argmax())

    def close(self) -> None:
        pass


class FakeEngine:
    """Counts the tokens that decoders `evaluated`, and records the `passes`."""

    dimension, trained_context, max_sequences, on_device, pads = 3, 2048, 8, False, False

    def __init__(self) -> None:
        self.vocabulary = FakeVocabulary()
        self.evaluated = 0
        self.passes: list[list[list[int]]] = []
        self.together: list[list[int]] = []
        self.on_together: Callable[[], object] = lambda: None

    def open_pass(self, tokens: int, attention: str) -> FakePass:
        return FakePass(self, tokens, attention)

    def open_decoder(self, capacity: int, batch_tokens: int, *, all_logits: bool = False):
        del all_logits
        return FakeDecoder(self, capacity, batch_tokens)

    def open_decoders(self, count: int, capacity: int, batch_tokens: int) -> FakeDecoders:
        return FakeDecoders(self, count, capacity, batch_tokens)

    def sampler(self, options: SamplingOptions, seen: Iterable[int]) -> FakeSampler:
        del options, seen
        return FakeSampler()

    def close(self) -> None:
        pass


class FakePrefill:
    """Keys and values as a decoder's; `fails` after so many tokens, as without memory."""

    part_tokens = 16

    def __init__(self, engine: "FakePrefillEngine", before: KeyValues | None) -> None:
        self._engine, self._first = engine, 0 if before is None else before.tokens

    def evaluate(self, tokens, cancel=None):
        assert 0 < len(tokens) <= self.part_tokens
        if self._engine.fails_after is not None and self._first >= self._engine.fails_after:
            raise OutOfMemoryError("no memory")
        self._engine.parts.append((self._first, len(tokens)))
        self._engine.on_part()
        first, self._first = self._first, self._first + len(tokens)
        return key_values(list(tokens), first)

    def close(self):
        self._engine.open -= 1


class FakePrefillEngine:
    """Records the `parts` that prefills evaluated, and counts the `open` ones."""

    def __init__(self, prefill_limit: int = 1024, *, fails_after: int | None = None) -> None:
        self.prefill_limit, self.fails_after = prefill_limit, fails_after
        self.parts: list[tuple[int, int]] = []  # positions and lengths
        self.on_part: Callable[[], object] = lambda: None
        self.open = 0

    @property
    def evaluated(self) -> int:
        return sum(length for _, length in self.parts)

    def open_prefill(self, before: KeyValues | None, tokens: int) -> FakePrefill:
        self.open += 1
        assert (0 if before is None else before.tokens) < tokens <= self.prefill_limit
        return FakePrefill(self, before)
