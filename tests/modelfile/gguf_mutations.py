"""An endless, reproducible stream of damaged copies of a GGUF file, for fuzz tests."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from gritlite.modelfile.header import GGUFFile

INTERESTING = (
    *range(10), 13, 14, 16, 24, 30, 31, 32, 33, 42, 43, 63, 64, 128, 255, 256, 512, 513,
    2**15, 2**16, 2**20, 2**24, 2**28, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40,
    2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1,
    0x3F800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xBF800000,  # floats: 1, inf, -inf, nan, -1
)  # fmt: skip


def mutants(file: GGUFFile, seed: int) -> Iterator[bytes]:
    """Damaged copies of `file`; the same ones for the same seed."""
    rng = random.Random(seed)
    while True:
        yield damage(rng, file)


def damage(rng: random.Random, file: GGUFFile) -> bytes:
    """A damaged copy of `file`."""
    damages: tuple[Callable[[random.Random, bytearray, GGUFFile], None], ...] = (
        _flip_bits,
        _cut,
        _overwrite_anywhere,
        _overwrite_value,
        _overwrite_value,
        _overwrite_value,
        _overwrite_tensor,
        _overwrite_tensor,
        _random_run,
        _splice,
        _noise,
    )
    data = bytearray(Path(file.path).read_bytes())
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(damages)(rng, data, file)
    return bytes(data)


def _number(rng: random.Random, width: int) -> bytes:
    number = rng.choice(INTERESTING) if rng.random() < 0.8 else rng.getrandbits(8 * width)
    return (number % (1 << 8 * width)).to_bytes(width, "little")


def _put(data: bytearray, at: int, piece: bytes) -> None:
    data[at : at + len(piece)] = piece


def _flip_bits(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    for _ in range(rng.choice((1, 1, 4, 16))):
        data[rng.randrange(min(file.data_offset, len(data)))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    limit = file.data_offset if rng.random() < 0.7 else len(data)
    del data[max(1, rng.randrange(limit)) :]


def _overwrite_anywhere(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    _put(data, rng.randrange(file.data_offset), _number(rng, rng.choice((1, 2, 4, 8))))


def _overwrite_value(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    key, entry = rng.choice(list(file.entries.items()))
    value = entry.start + 8 + len(key.encode())
    at = rng.choice((value, value + 4, value + 8, entry.end - 4, rng.randrange(value, entry.end)))
    _put(data, at, _number(rng, rng.choice((1, 4, 4, 4, 8))))


def _overwrite_tensor(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    at = file.tensors_offset
    for tensor in file.tensors[: rng.randrange(len(file.tensors))]:
        at += 8 + len(tensor.name) + 4 + 8 * len(tensor.shape) + 4 + 8
    _put(data, at + 4 * rng.randrange(16), _number(rng, rng.choice((4, 4, 8))))


def _random_run(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    _put(data, rng.randrange(file.data_offset), rng.randbytes(rng.randrange(1, 64)))


def _splice(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    """Replace one piece of the header by another, of the same or another length."""
    header = file.data_offset
    start, at = rng.randrange(header), rng.randrange(header)
    piece = data[start : start + rng.randrange(64)]
    data[at : at + rng.choice((len(piece), 0, rng.randrange(64)))] = piece


def _noise(rng: random.Random, data: bytearray, file: GGUFFile) -> None:
    data[24:] = rng.randbytes(rng.randrange(4096))
