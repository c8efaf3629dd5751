"""Mutations: small random changes of bytes, of text and of JSON values."""

import random
from typing import Any

_TEXTS = (
    "", "\0", "\ud800", "../../evil", "/etc/passwd", "a" * 300, "\u202e", "é", "首都", "<|user|>",
    "1e999", "nan", "-1", " ", "\n", "C:\\x", "x\ty",
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e300, float("inf"),
    float("nan"), True,
)  # fmt: skip


def mutate_bytes(random: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Return `data` after one to eight changes; `other` is spliced in now and then."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 8))):
        at = random.randrange(len(changed) + 1)
        length = min(random.choice((1, 1, 2, 4, 16, 64, 256)), len(changed) - at)
        part = changed[at : at + length]
        kind = random.randrange(7)
        if kind == 0 and part:
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            changed[at : at + length] = random.randbytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = part * random.choice((1, 2, 50))
        elif kind == 4 and other:
            begin = random.randrange(len(other))
            changed[at:at] = other[begin : begin + random.choice((4, 32, 256))]
        elif kind == 5:
            changed[at : at + length] = random.choice(_TEXTS).encode("utf-8", "surrogatepass")
        elif kind == 6 and random.random() < 0.2:
            del changed[at:]
    return bytes(changed)


def mutate_json(random: random.Random, value: Any) -> Any:
    """Return a JSON value, one part of which was replaced, removed, wrapped or repeated."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        kind = random.randrange(8)
        if kind == 0:
            return {other: value[other] for other in value if other != key}
        if kind == 1:
            return {**value, random.choice((*_TEXTS, *value)): any_value(random)}
        return {**value, key: mutate_json(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        kind = random.randrange(8)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return [*value[:at], value[at], *value[at:]]
        return [*value[:at], mutate_json(random, value[at]), *value[at + 1 :]]
    return any_value(random)


def any_value(random: random.Random, depth: int = 0) -> Any:
    """Return a random JSON value, hostile ones often."""
    kind = random.randrange(7 if depth < 3 else 5)
    if kind < 2:
        return random.choice(_TEXTS)
    if kind < 4:
        return random.choice(_NUMBERS)
    if kind == 4:
        return None
    parts = [any_value(random, depth + 1) for _ in range(random.randrange(4))]
    return parts if kind == 5 else {random.choice(_TEXTS): part for part in parts}
