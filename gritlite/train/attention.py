"""Batches of token ids with their attention masks, padded or packed.

One rule serves every objective. A sequence begins with documents, whose tokens attend
to their own document, in both directions; every other token attends to all before it.
To embed, all of a text is one document; to generate there is none; to answer from
stored states there are as many as were stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# of a packed group, padding included: its scores stay in a processor's cache
GROUP_TOKENS = 512
# oneDNN writes code for each new size of a product, in the time of several of them
ROWS = 128  # a pack has a multiple of so many
LENGTHS = 16  # the sequences of a packed group have a multiple of so many tokens


@dataclass(frozen=True)
class Padded:
    """`ids` and `positions` int64 [n, l]; `mask` bool [n, 1, l, l], True attends."""

    ids: Tensor
    positions: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Group:
    """Sequences of similar length that lie one after another in a pack, for attention.

    `start` and `tokens` say where; padded to `length` each, they take `places` of their
    tokens, and the real ones are at `real`. `bias` is float32 [sequences, 1, length,
    length], minus infinity where a token does not attend; None where all attend to all.
    """

    start: int
    tokens: int
    sequences: int
    length: int
    places: Tensor
    real: Tensor
    bias: Tensor | None

    def padded(self, rows: Tensor) -> Tensor:
        """The group's rows of a pack's [tokens, ...], padded with copies of its first."""
        part = rows[self.start : self.start + self.tokens]
        return part if len(self.places) == self.tokens else part[self.places]

    def zero_padded(self, rows: Tensor) -> Tensor:
        """The group's rows padded with zeros, as the gradient of padding is."""
        part = rows[self.start : self.start + self.tokens]
        if len(self.places) == self.tokens:
            return part
        padded = part.new_zeros(len(self.places), *part.shape[1:])
        padded[self.real] = part
        return padded

    def packed(self, padded: Tensor) -> Tensor:
        """The rows without the padding."""
        return padded if len(self.places) == self.tokens else padded[self.real]


@dataclass(frozen=True)
class Packed:
    """Sequences one after another: `ids` and `positions` int64 [tokens], groups for attention."""

    ids: Tensor
    positions: Tensor
    groups: tuple[Group, ...]


def pack(sequences: Sequence[Sequence[int]], documents: Sequence[Sequence[int]]) -> Packed:
    """Pack sequences, which are sorted by length, in their order.

    `documents` are the lengths of those that each sequence begins with. A last sequence of
    token 0 fills the pack up to a multiple of `ROWS`.
    """
    groups: list[Group] = []
    start = 0
    for places in by_length([len(ids) for ids in sequences], GROUP_TOKENS):
        group = _group([sequences[i] for i in places], [documents[i] for i in places], start)
        groups.append(group)
        start += group.tokens
    filling = [0] * (-start % ROWS)
    if filling:
        groups.append(_group([filling], [(len(filling),)], start))
    packed = [*sequences, filling]
    ids = torch.tensor([token for sequence in packed for token in sequence])
    positions = torch.cat([torch.arange(len(sequence)) for sequence in packed])
    return Packed(ids, positions, tuple(groups))


def _group(
    sequences: Sequence[Sequence[int]], documents: Sequence[Sequence[int]], start: int
) -> Group:
    lengths = torch.tensor([len(ids) for ids in sequences])
    tokens, longest = int(lengths.sum()), int(lengths.max())
    length = longest + -longest % LENGTHS
    padded = pad(sequences, documents, torch.device("cpu"), length)
    inside = (padded.positions < lengths[:, None]).flatten()
    places = torch.where(inside, inside.cumsum(0) - 1, 0)
    bias = torch.where(padded.mask, 0.0, float("-inf"))
    return Group(
        start,
        tokens,
        len(sequences),
        length,
        places,
        inside.nonzero()[:, 0],
        None if padded.mask.all() else bias,
    )


def pad(
    sequences: Sequence[Sequence[int]],
    documents: Sequence[Sequence[int]],
    device: torch.device,
    length: int | None = None,
) -> Padded:
    """Pad sequences on the right, so that no real token attends to the padding.

    `length` is the padded one, by default that of the longest.
    """
    length = length or max(len(ids) for ids in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.int64)
    document = torch.zeros(len(sequences), length, dtype=torch.int64)  # numbers from 1; 0 is none
    for row, (sequence, lengths) in enumerate(zip(sequences, documents, strict=True)):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        numbers = torch.arange(1, len(lengths) + 1).repeat_interleave(
            torch.tensor(lengths, dtype=torch.int64)
        )
        document[row, : len(numbers)] = numbers
    places = torch.arange(length)
    causal = places[:, None] >= places[None, :]
    same = document[:, :, None] == document[:, None, :]
    mask = torch.where(document[:, :, None] > 0, same, causal)
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


def by_total(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Group sequences for packing, at most `most_tokens` tokens each.

    Returns their indices, shortest first. A longer sequence gets a group of its own.
    """
    groups: list[list[int]] = []
    total = most_tokens
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if total + lengths[place] > most_tokens:
            groups.append([])
            total = 0
        groups[-1].append(place)
        total += lengths[place]
    return groups
