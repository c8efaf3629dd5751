"""Packing texts into passes."""

import math
import random

import pytest

from gritlite.runtime.packing import PADDED, UNPADDED, Packing, pack, pack_padded


@pytest.mark.parametrize("packing", [UNPADDED, PADDED], ids=["unpadded", "padded"])
@pytest.mark.parametrize("seed", range(60))
def test_every_text_once_within_the_limits(seed: int, packing: Packing) -> None:
    dice = random.Random(seed)
    capacity, most = dice.randint(1, 600), dice.randint(1, 40)
    lengths = [dice.randint(1, 2 * capacity) for _ in range(dice.randint(0, 300))]
    passes = packing.group(lengths, capacity, most)
    assert sorted(index for indices in passes for index in indices) == list(range(len(lengths)))
    for indices in passes:
        assert indices == sorted(indices)
        assert 1 <= len(indices) <= most
        assert packing.tokens([lengths[i] for i in indices]) <= capacity or len(indices) == 1


@pytest.mark.parametrize("seed", range(20))
def test_few_passes(seed: int) -> None:
    dice = random.Random(seed)
    lengths = [dice.randint(1, 512) for _ in range(200)]
    least = math.ceil(sum(lengths) / 512)
    assert len(pack(lengths, 512, 256)) <= 11 / 9 * least + 1


def test_a_long_text_does_not_enlarge_other_passes() -> None:
    assert pack([10, 900, 10], 20, 8) == [[1], [0, 2]]


def test_nothing_to_pack() -> None:
    assert pack([], 512, 256) == []
    assert pack_padded([], 512, 256) == []


@pytest.mark.parametrize("seed", range(20))
def test_little_padding_between_texts_of_like_length(seed: int) -> None:
    """Lengths as of paragraphs, as many as are packed together."""
    dice = random.Random(seed)
    lengths = [min(512, max(3, int(dice.lognormvariate(4, 0.8)))) for _ in range(120)]
    passes = pack_padded(lengths, 512, 256)
    computed = sum(PADDED.tokens([lengths[i] for i in indices]) for indices in passes)
    assert computed <= 1.1 * sum(lengths)


def test_texts_of_like_length_share_a_pass() -> None:
    assert pack_padded([10, 30, 11, 29, 9], 64, 8) == [[1, 3], [0, 2, 4]]
