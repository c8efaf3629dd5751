"""Padded batches of token ids with their attention masks.

One rule serves every objective: a token attends to those before it, and the
first `both_ways` tokens of a sequence attend to each other in both directions:
all of them to embed, a stored document's to answer from it, none to generate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Padded:
    """`ids` and `positions` int64 [n, l]; `mask` bool [n, 1, l, l], True attends."""

    ids: Tensor
    positions: Tensor
    mask: Tensor


def pad(
    sequences: Sequence[Sequence[int]], both_ways: Sequence[int], device: torch.device
) -> Padded:
    """Pad sequences on the right, so that no real token attends to the padding."""
    length = max(len(ids) for ids in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    places = torch.arange(length)
    causal = places[:, None] >= places[None, :]
    inside = places[None, :] < torch.tensor(both_ways)[:, None]
    mask = causal | (inside[:, :, None] & inside[:, None, :])
    positions = places.expand(len(sequences), length)
    return Padded(ids.to(device), positions.to(device), mask[:, None].to(device))


def by_length(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Group sequences of similar length, at most `most_tokens` tokens each with padding.

    Returns their indices, shortest first. A longer sequence gets a group of its own.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        fits = groups and (len(groups[-1]) + 1) * lengths[place] <= most_tokens
        # padding to twice the shortest wastes up to half of a pass
        alike = groups and lengths[place] <= 1.25 * lengths[groups[-1][0]] + 4
        if fits and alike:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups
