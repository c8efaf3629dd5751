"""Bit allocation, compared with trying every combination."""

import itertools
import random

import pytest
from gguf import GGMLQuantizationType as Q

from gritlite.quant.bit_allocation import TypeOption, minimize_loss, minimize_size

TYPES = (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q8_0)


def random_options(seed: int) -> dict[str, list[TypeOption]]:
    """Five tensors of different sizes and sensitivities; errors fall as bits grow, but unevenly."""
    dice = random.Random(seed)
    options = {}
    for tensor in "abcde":
        size, gain = dice.randint(5, 60), dice.expovariate(1)
        options[tensor] = [
            TypeOption(type, bits * size, gain * 4.0**-bits * dice.uniform(0.7, 1.4))
            for type, bits in zip(TYPES, (2, 3, 4, 8), strict=True)
        ]
    return options


def every_way(options: dict[str, list[TypeOption]]) -> list[tuple[int, float]]:
    return [
        (sum(option.bytes for option in way), sum(option.loss for option in way))
        for way in itertools.product(*options.values())
    ]


@pytest.mark.parametrize("seed", range(30))
def test_no_way_of_the_same_size_or_less_loses_less(seed: int) -> None:
    """Exact at sizes that the steps reach; off by at most one step at others."""
    options = random_options(seed)
    ways = every_way(options)
    smallest, largest = min(ways)[0], max(size for size, _ in ways)
    step = max(each[0].loss for each in options.values())
    for share in (0.0, 0.1, 0.3, 0.5, 0.8, 1.0):
        limit = int(smallest + share * (largest - smallest))
        chosen = minimize_loss(options, limit)
        size = sum(option.bytes for option in chosen.values())
        loss = sum(option.loss for option in chosen.values())
        assert size <= limit
        assert loss <= min(other for bytes, other in ways if bytes <= limit) + step
        reached = minimize_size(options, loss)
        assert sum(option.loss for option in reached.values()) <= loss
        exact = sum(option.bytes for option in reached.values())
        assert sum(option.loss for option in reached.values()) == pytest.approx(
            min(other for bytes, other in ways if bytes <= exact)
        )


def test_bits_go_where_a_byte_is_worth_most() -> None:
    options = {
        "sensitive": [TypeOption(Q.Q2_K, 100, 5.0), TypeOption(Q.Q4_K, 200, 1.0)],
        "small": [TypeOption(Q.Q2_K, 10, 1.0), TypeOption(Q.Q4_K, 20, 0.1)],
        "dull": [TypeOption(Q.Q2_K, 100, 0.2), TypeOption(Q.Q4_K, 200, 0.1)],
    }

    def types(limit: int) -> list[Q]:
        return [option.type for option in minimize_loss(options, limit).values()]

    assert types(210) == [Q.Q2_K, Q.Q2_K, Q.Q2_K]
    assert types(220) == [Q.Q2_K, Q.Q4_K, Q.Q2_K]
    assert types(320) == [Q.Q4_K, Q.Q4_K, Q.Q2_K]
    assert types(420) == [Q.Q4_K, Q.Q4_K, Q.Q4_K]


def test_a_type_that_is_larger_and_worse_is_never_taken() -> None:
    options = {
        "a": [TypeOption(Q.Q2_K, 10, 1.0), TypeOption(Q.Q3_K, 20, 2.0), TypeOption(Q.Q4_K, 30, 0.5)]
    }
    for limit in (10, 20, 29):
        assert minimize_loss(options, limit)["a"].type == Q.Q2_K
    assert minimize_loss(options, 30)["a"].type == Q.Q4_K


def test_what_cannot_be_reached() -> None:
    options = random_options(0)
    assert all(option.type == Q.Q2_K for option in minimize_loss(options, 3).values())
    least = {name: min(each, key=lambda option: option.loss) for name, each in options.items()}
    assert minimize_size(options, 0.0) == least
