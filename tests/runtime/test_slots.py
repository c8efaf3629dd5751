"""Which slot an answer takes: its own, or else one near those that are taken."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from gritlite.runtime.slots import Slot, Slots


@dataclass
class Cache:
    """Holds so many tokens; the owner's are reusable."""

    tokens: int = 0
    owner: Any = None

    def reusable(self, _document: object, tokens: list[int]) -> int:
        return self.tokens if tokens and tokens[0] == self.owner else 0


@dataclass(eq=False)
class Answer:
    number: int
    document: None = None
    tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = [self.number] * 9


def claimed(slots: Slots, answer: Answer) -> int:
    slot = slots.claim(answer, lambda: False)
    assert slot is not None
    return slot.index


def opened(*held: tuple[int, int | None]) -> Slots:
    """Slots whose caches hold so many tokens of an answer."""
    caches: Any = [Cache(tokens, owner) for tokens, owner in held]
    return Slots([Slot(index, cache) for index, cache in enumerate(caches)])


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([(0, None)] * 8, 1),
        # an empty one far away is not worth a batch that has a token for each slot up to there
        ([(0, None), (90, 5), (90, 6), (0, None)], 1),
        # unless there is more of the answer than would be lost
        ([(0, None), (90, 5), (90, 6), (9, 2)], 3),
    ],
)
def test_a_slot_near_one_that_is_taken(held: list[tuple[int, int | None]], expected: int) -> None:
    slots = opened(*held)
    assert claimed(slots, Answer(1)) == 0
    assert claimed(slots, Answer(2)) == expected


def test_a_slot_between_those_that_are_taken() -> None:
    slots = opened(*[(0, None)] * 6)
    answers = [Answer(number) for number in range(6)]
    for answer in answers:
        claimed(slots, answer)
    freed = [slots.of(answer).index for answer in (answers[2], answers[5])]  # type: ignore[union-attr]
    for answer in (answers[2], answers[5]):
        slots.release(answer)
    assert freed == [2, 5]
    assert claimed(slots, Answer(7)) == 2


def test_alone_an_answer_takes_the_emptiest() -> None:
    assert claimed(opened((90, 5), (20, 6), (50, 7)), Answer(1)) == 1
