"""Which rows a step learns from."""

from itertools import islice

import pytest

from gritlite.train.batches import Batch, EpochBatches, sample_batches


def test_an_epoch_takes_every_row_once_and_the_next_in_another_order() -> None:
    rotation = EpochBatches(list(range(100)), 10, (1,))
    first = [next(rotation) for _ in range(10)]
    second = [next(rotation) for _ in range(10)]
    assert sorted(row for batch in first for row in batch) == list(range(100))
    assert sorted(row for batch in second for row in batch) == list(range(100))
    assert first != second


def test_batches_hold_rows_of_like_length() -> None:
    lengths = [row % 50 for row in range(400)]
    spreads = []
    rotation = EpochBatches(lengths, 8, (1,))
    for _ in range(50):
        batch = [lengths[row] for row in next(rotation)]
        spreads.append(max(batch) - min(batch))
    assert max(spreads) < 25  # of 49; batches drawn blindly spread over 40 on average


def test_a_batch_larger_than_its_source_is_the_whole_source() -> None:
    assert sorted(next(EpochBatches([1, 2, 3], 8, (0,)))) == [0, 1, 2]


def some(seed: int, count: int) -> list[Batch]:
    return list(islice(sample_batches([[1] * 50, [1] * 50], [5, 5], [3, 1], seed), count))


def test_the_same_seed_gives_the_same_rows() -> None:
    assert some(1, 100) == some(1, 100)
    assert some(1, 100) != some(2, 100)


@pytest.mark.parametrize("count", [4, 40, 403])
def test_sources_are_picked_as_often_as_their_shares_say_at_any_time(count: int) -> None:
    assert abs(sum(pick.source == 0 for pick in some(1, count)) - 0.75 * count) < 1
