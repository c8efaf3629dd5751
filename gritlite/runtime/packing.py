"""Packs texts into passes, from their token counts alone."""

from collections.abc import Sequence


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
