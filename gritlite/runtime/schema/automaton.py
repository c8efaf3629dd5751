"""Finite automata over characters: a set of texts that can be joined, cut and subtracted.

A state's transitions are disjoint sets of characters, each with the next state. Every
automaton here is deterministic, and from each of its states some text is accepted: a
grammar made from it never reaches a dead end. It knows nothing of patterns or JSON.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gritlite.runtime.schema import characters
from gritlite.runtime.schema.characters import ALL, Ranges
from gritlite.runtime.schema.clock import tick

MAX_STATES = 5_000

S = TypeVar("S", bound=Hashable)
Step = tuple[Ranges, int]


class TooLargeError(ValueError):
    """An automaton would have more than MAX_STATES states."""


@dataclass(frozen=True)
class Automaton:
    """State 0 is the first. `steps[i]` are the transitions of state i."""

    steps: tuple[tuple[Step, ...], ...]
    accepting: frozenset[int]

    @property
    def is_empty(self) -> bool:
        """Whether no text is accepted."""
        return not self.accepting

    def accepts(self, text: str) -> bool:
        """Return whether a text is accepted."""
        state = 0
        for letter in text:
            after = [to for on, to in self.steps[state] if characters.has(on, letter)]
            if not after:
                return False
            state = after[0]
        return state in self.accepting


def explore(
    start: S,
    step: Callable[[S], Iterable[tuple[Ranges, S]]],
    accepts: Callable[[S], bool],
    limit: int = MAX_STATES,
) -> Automaton:
    """Return the automaton of all states that can be reached from `start`.

    Raises TooLargeError for more than `limit` of them.
    """
    numbers = {start: 0}
    order = [start]
    steps: list[list[Step]] = []
    for state in order:
        tick()
        steps.append([])
        for on, after in step(state):
            if not on:
                continue
            if after not in numbers:
                if len(order) >= limit:
                    raise TooLargeError(f"it needs more than {limit} states")
                numbers[after] = len(order)
                order.append(after)
            steps[-1].append((on, numbers[after]))
    return _trimmed(steps, [number for number, state in enumerate(order) if accepts(state)])


def _trimmed(steps: Sequence[Sequence[Step]], accepting: Iterable[int]) -> Automaton:
    """Return an automaton without the states from which nothing is accepted."""
    before: list[list[int]] = [[] for _ in steps]
    for number, found in enumerate(steps):
        for _, to in found:
            before[to].append(number)
    useful = set(accepting)
    todo = list(useful)
    while todo:
        for number in before[todo.pop()]:
            if number not in useful:
                useful.add(number)
                todo.append(number)
    kept = [number for number in range(len(steps)) if number in useful or number == 0]
    new = {number: place for place, number in enumerate(kept)}
    left = [[(on, new[to]) for on, to in steps[number] if to in useful] for number in kept]
    return Automaton(tuple(map(_merged, left)), frozenset(new[number] for number in accepting))


def _merged(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return transitions with one set of characters for each next state."""
    found: dict[int, list[Ranges]] = {}
    for on, to in steps:
        found.setdefault(to, []).append(on)
    return tuple((characters.union(*sets), to) for to, sets in found.items())


def texts(words: Iterable[str]) -> Automaton:
    """Return the automaton of some texts: a trie, which words of one beginning share."""
    nodes: list[dict[str, int]] = [{}]
    ends = set()
    for word in words:
        place = 0
        for letter in word:
            if letter not in nodes[place]:
                nodes[place][letter] = len(nodes)
                nodes.append({})
            place = nodes[place][letter]
        ends.add(place)
    steps = [[(characters.of(letter), to) for letter, to in node.items()] for node in nodes]
    return _trimmed(steps, ends)


def lengths(low: int, high: int | None, limit: int = MAX_STATES) -> Automaton:
    """Return the automaton of all texts with `low` to `high` characters."""
    last = low if high is None else high

    def step(count: int) -> list[tuple[Ranges, int]]:
        if count == last:
            return [(ALL, count)] if high is None else []
        return [(ALL, count + 1)]

    return explore(0, step, lambda count: count >= low, limit)


EVERYTHING = lengths(0, None)
NOTHING = Automaton(((),), frozenset())

Pair = tuple[int | None, int | None]


def both(first: Automaton, second: Automaton) -> Automaton:
    """Return the texts that both accept."""
    if EVERYTHING in (first, second):
        return second if first == EVERYTHING else first
    return _combined(first, second, lambda a, b: a and b)


def either(first: Automaton, second: Automaton) -> Automaton:
    """Return the texts that one of the two accepts."""
    if NOTHING in (first, second):
        return second if first == NOTHING else first
    return _combined(first, second, lambda a, b: a or b)


def without(first: Automaton, second: Automaton) -> Automaton:
    """Return the texts that the first accepts and the second does not."""
    return _combined(first, second, lambda a, b: a and not b)


def _combined(first: Automaton, second: Automaton, keep: Callable[[bool, bool], bool]) -> Automaton:
    """Return the product of two automata; None stands for a state that accepts nothing."""

    def step(pair: Pair) -> Iterable[tuple[Ranges, Pair]]:
        a, b = pair
        steps_a = first.steps[a] if a is not None else ()
        steps_b = second.steps[b] if b is not None else ()
        if not keep(True, False) and not (steps_a and steps_b):
            return
        if not keep(False, True) and not steps_a:
            return
        for on, to in steps_a:
            rest = on
            for on_b, to_b in steps_b:
                common = characters.intersect(on, on_b)
                if common:
                    yield common, (to, to_b)
                    rest = characters.minus(rest, common)
            if keep(True, False):
                yield rest, (to, None)
        if keep(False, True):
            taken = characters.union(*(on for on, _ in steps_a))
            for on_b, to_b in steps_b:
                yield characters.minus(on_b, taken), (None, to_b)

    def accepts(pair: Pair) -> bool:
        return keep(pair[0] in first.accepting, pair[1] in second.accepting)

    start: Pair = (0, 0)
    return explore(start, step, accepts)


def limited(automaton: Automaton, low: int, high: int | None) -> Automaton:
    """Return the texts of an automaton that have `low` to `high` characters."""
    if low == 0 and high is None:
        return automaton

    def step(state: tuple[int, int]) -> Iterable[tuple[Ranges, tuple[int, int]]]:
        place, count = state
        if count == high:
            return
        after = count + 1 if high is not None else min(count + 1, low)
        for on, to in automaton.steps[place]:
            yield on, (to, after)

    return explore((0, 0), step, lambda state: state[0] in automaton.accepting and state[1] >= low)


def listed(automaton: Automaton, limit: int) -> list[str] | None:
    """Return all texts of an automaton, None if they are more than `limit`."""
    found: list[str] = []
    todo = [("", 0)]
    while todo:
        text, state = todo.pop(0)
        if state in automaton.accepting:
            found.append(text)
        for on, to in automaton.steps[state]:
            size = sum(high - low + 1 for low, high in on)
            if len(todo) + size + len(found) > limit:
                return None
            todo += [(text + chr(code), to) for low, high in on for code in range(low, high + 1)]
    return found
