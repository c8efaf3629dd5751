"""Which rows a step learns from."""

from itertools import islice

from gritlite.train.batches import Rotation, picks


def test_an_epoch_takes_every_row_once_and_the_next_in_another_order() -> None:
    rotation = Rotation(list(range(100)), 10, (1,))
    first = [next(rotation) for _ in range(10)]
    second = [next(rotation) for _ in range(10)]
    assert sorted(row for batch in first for row in batch) == list(range(100))
    assert sorted(row for batch in second for row in batch) == list(range(100))
    assert first != second


def test_batches_hold_rows_of_like_length() -> None:
    lengths = [row % 50 for row in range(400)]
    spreads = []
    rotation = Rotation(lengths, 8, (1,))
    for _ in range(50):
        batch = [lengths[row] for row in next(rotation)]
        spreads.append(max(batch) - min(batch))
    assert max(spreads) < 25  # of 49; batches drawn blindly spread over 40 on average


def test_a_batch_larger_than_its_source_is_the_whole_source() -> None:
    assert sorted(next(Rotation([1, 2, 3], 8, (0,)))) == [0, 1, 2]


def test_sources_are_picked_as_often_as_their_shares_say_and_always_alike() -> None:
    def some(seed: int) -> list[tuple[int, tuple[int, ...]]]:
        chosen = picks([[1] * 50, [1] * 50], [5, 5], [3, 1], seed)
        return [(pick.source, pick.rows) for pick in islice(chosen, 400)]

    assert some(1) == some(1)
    assert some(1) != some(2)
    assert 270 < sum(source == 0 for source, _ in some(1)) < 330
