"""Which texts go into which pass. Pure arithmetic over token counts."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int, max_sequences: int) -> list[list[int]]:
    """Group texts into passes by first-fit decreasing.

    `lengths` are token counts. Returns for every pass the indices of its texts,
    ascending; each index occurs once, no pass holds more than `capacity` tokens
    or `max_sequences` texts. Only a text longer than `capacity` gets more room,
    in a pass of its own: passes over many texts are fastest when they are short.
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
