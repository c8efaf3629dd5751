"""Packing texts into passes."""

import math
import random

import pytest

from gritlite.runtime.packing import pack


@pytest.mark.parametrize("seed", range(60))
def test_every_text_once_within_the_limits(seed: int) -> None:
    dice = random.Random(seed)
    capacity, most = dice.randint(1, 600), dice.randint(1, 40)
    lengths = [dice.randint(1, 2 * capacity) for _ in range(dice.randint(0, 300))]
    passes = pack(lengths, capacity, most)
    assert sorted(index for indices in passes for index in indices) == list(range(len(lengths)))
    for indices in passes:
        assert indices == sorted(indices)
        assert 1 <= len(indices) <= most
        assert sum(lengths[i] for i in indices) <= capacity or len(indices) == 1


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
