"""Batches of token ids with their attention masks, padded or packed.

One rule serves every objective. A sequence begins with documents, whose tokens attend
to their own document, in both directions; every other token attends to all before it.
To embed, all of a text is one document; to generate there is none; to answer from
stored states there are as many as were stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# of a packed group, padding included: its scores stay in a processor's cache
GROUP_TOKENS = 512
# oneDNN writes code for each new size of a product, in the time of several of them
ROWS = 128  # a pack has a multiple of so many
LENGTHS = 16  # the rows of a packed group's sequences are a multiple of so many


@dataclass(frozen=True)
class Padded:
    """`ids` and `positions` int64 [n, l]; `mask` bool [n, 1, l, l], True attends."""

    ids: Tensor
    positions: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Rows:
    """Rows of a pack, as many for each of some sequences: padded to `length`.

    `places` int64 [sequences * length] says which row stands at each padded place, `real` which
    places are no padding, and `rows` which rows stand there.
    """

    sequences: int
    length: int
    places: Tensor
    real: Tensor
    rows: Tensor

    def padded(self, pack: Tensor) -> Tensor:
        """These rows of a pack's [tokens, ...], padded with copies of others."""
        return pack[self.places]

    def zero_padded(self, pack: Tensor) -> Tensor:
        """These rows padded with zeros, as the gradient of padding is."""
        padded = pack.new_zeros(len(self.places), *pack.shape[1:])
        padded[self.real] = pack[self.rows]
        return padded

    def unpadded(self, padded: Tensor) -> Tensor:
        """Without the padding, in the order of `rows`."""
        return padded if len(self.places) == len(self.rows) else padded[self.real]


@dataclass(frozen=True)
class Group:
    """Queries that attend to keys, of sequences of similar length.

    `bias` is float32 [sequences, 1, queries, keys], minus infinity where a token does not
    attend; None where all attend to all. Each row of a pack is a query in one group; it is a
    key in several where a stored document is asked about.
    """

    queries: Rows
    keys: Rows
    bias: Tensor | None


@dataclass(frozen=True)
class Packed:
    """Sequences one after another: `ids` and `positions` int64 [tokens], groups for attention."""

    ids: Tensor
    positions: Tensor
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class _Segment:
    """Queries from `first` up to `end`, which attend to what begins at `start` and ends there.

    A document's tokens attend to all of it; others, `causal`, to those before them.
    """

    start: int
    first: int
    end: int
    causal: bool


def pack(sequences: Sequence[Sequence[int]], documents: Sequence[Sequence[int]]) -> Packed:
    """Pack sequences, which are sorted by length, in their order.

    `documents` are the lengths of those that each sequence begins with. A last sequence of
    token 0 fills the pack up to a multiple of `ROWS`.
    """
    filling = [0] * (-sum(map(len, sequences)) % ROWS)
    packed = [*sequences, filling] if filling else list(sequences)
    begun = [*documents, (len(filling),)] if filling else documents
    ids = torch.tensor([token for sequence in packed for token in sequence])
    positions = torch.cat([torch.arange(len(sequence)) for sequence in packed])
    segments = list(_segments([len(sequence) for sequence in packed], begun))
    groups: list[Group] = []
    for causal in (False, True):
        alike = [segment for segment in segments if segment.causal == causal]
        lengths = [segment.end - segment.start for segment in alike]
        groups += [_group([alike[i] for i in part]) for part in by_length(lengths, GROUP_TOKENS)]
    return Packed(ids, positions, tuple(groups))


def _segments(lengths: Sequence[int], documents: Sequence[Sequence[int]]) -> Iterator[_Segment]:
    start = 0
    for length, parts in zip(lengths, documents, strict=True):
        first = start
        for part in parts:
            yield _Segment(first, first, first + part, causal=False)
            first += part
        if first < start + length:
            yield _Segment(start, first, start + length, causal=True)
        start += length


def _group(segments: Sequence[_Segment]) -> Group:
    queries = _rows([(segment.first, segment.end) for segment in segments])
    keys = _rows([(segment.start, segment.end) for segment in segments])
    rows, columns = (each.places.view(each.sequences, -1) for each in (queries, keys))
    ends = torch.tensor([segment.end for segment in segments])
    starts = torch.tensor([segment.start for segment in segments])
    order = starts[:, None] + torch.arange(keys.length)  # of the keys, past the end in the padding
    attends = (order < ends[:, None])[:, None, :].expand(-1, queries.length, -1)
    if segments[0].causal:
        attends = attends & (columns[:, None, :] <= rows[:, :, None])
    bias = torch.where(attends, 0.0, float("-inf"))[:, None]
    return Group(queries, keys, None if attends.all() else bias)


def _rows(parts: Sequence[tuple[int, int]]) -> Rows:
    """Rows from a first one up to another's, of each sequence; its last is copied as padding."""
    firsts, ends = torch.tensor(parts).T
    longest = int((ends - firsts).max())
    length = longest + -longest % LENGTHS
    order = firsts[:, None] + torch.arange(length)
    places = torch.minimum(order, ends[:, None] - 1).flatten()
    real = (order < ends[:, None]).flatten().nonzero()[:, 0]
    return Rows(len(parts), length, places, real, places[real])


def pad(
    sequences: Sequence[Sequence[int]], documents: Sequence[Sequence[int]], device: torch.device
) -> Padded:
    """Pad sequences on the right, so that no real token attends to the padding."""
    length = max(len(ids) for ids in sequences)
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
