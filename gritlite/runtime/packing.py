"""Packs texts into passes, from their token counts alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


def pack(lengths: Sequence[int], capacity: int, max_sequences: int) -> list[list[int]]:
    """Group texts into passes by first-fit decreasing.

    `lengths` are token counts. Returns the indices of the texts in each pass,
    ascending; each index occurs once, and no pass exceeds `capacity` tokens or
    `max_sequences` texts. A text longer than `capacity` gets a pass of its own.
    First-fit decreasing needs at most 11/9 of the optimal number of passes plus
    one (Johnson, 1973).
    """
    passes: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        for i, free in enumerate(room):
            if free >= length and len(passes[i]) < max_sequences:
                passes[i].append(index)
                room[i] -= length
                break
        else:
            passes.append([index])
            room.append(capacity - length)
    return [sorted(indices) for indices in passes]


def pack_padded(lengths: Sequence[int], capacity: int, max_sequences: int) -> list[list[int]]:
    """Group texts of like length, for passes that pad each text to the longest.

    As `pack`, but the padding counts: texts x longest is at most `capacity`.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    passes = []
    first = 0
    while first < len(order):
        fitting = capacity // lengths[order[first]]
        count = max(1, min(fitting, max_sequences))
        passes.append(sorted(order[first : first + count]))
        first += count
    return passes


@dataclass(frozen=True)
class Packing:
    """How texts share passes: `group` is `pack` or like it; `tokens` is what a pass computes."""

    group: Callable[[Sequence[int], int, int], list[list[int]]]
    tokens: Callable[[Sequence[int]], int]


UNPADDED = Packing(pack, sum)
PADDED = Packing(pack_padded, lambda lengths: len(lengths) * max(lengths))
