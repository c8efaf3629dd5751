"""From a pattern's tree to the automaton of all texts in which it is found.

A pattern without anchors may be found anywhere, as JSON Schema wants. The way is the
textbook's: Thompson's construction, then the subset construction (Aho, Sethi, Ullman:
Compilers, 3.7), with `^` and `$` as steps that only the ends of a text allow.
"""

from collections.abc import Iterable

from gritlite.runtime.schema import automaton, characters
from gritlite.runtime.schema.automaton import Automaton, TooLargeError
from gritlite.runtime.schema.characters import ALL, Ranges
from gritlite.runtime.schema.clock import tick
from gritlite.runtime.schema.pattern import Anchor, Choice, Letters, Repeat, Sequence, Tree

MAX_NODES = 50_000  # of the nondeterministic automaton
MAX_WORK = 1_000_000  # nodes visited while it is made deterministic: about a second

FOUND = -1  # the pattern was found, whatever follows
State = tuple[frozenset[int], bool]  # nodes, and whether no character was read yet


def found_in(tree: Tree) -> Automaton:
    """Return the automaton of the texts in which a pattern is found. Raises TooLargeError."""
    nodes = _Nodes()
    first = nodes.add()
    nodes.letters[first].append((ALL, first))
    end = nodes.build(tree, first)
    search = _Search(nodes, end)
    return automaton.explore(search.state([first], at_start=True), search.step, search.accepts)


class _Nodes:
    """A nondeterministic automaton: free steps, perhaps under an anchor, and steps by letters."""

    def __init__(self) -> None:
        self.free: list[list[tuple[int, str]]] = []
        self.letters: list[list[tuple[Ranges, int]]] = []

    def add(self) -> int:
        if len(self.free) >= MAX_NODES:
            raise TooLargeError(f"its repetitions unfold to more than {MAX_NODES} parts")
        self.free.append([])
        self.letters.append([])
        return len(self.free) - 1

    def _link(self, start: int, anchor: str = "") -> int:
        end = self.add()
        self.free[start].append((end, anchor))
        return end

    def build(self, tree: Tree, start: int) -> int:
        """Add a tree behind a node and return the node where it ends."""
        match tree:
            case Letters(ranges):
                end = self.add()
                self.letters[start].append((ranges, end))
                return end
            case Anchor(sign):
                return self._link(start, sign)
            case Sequence(parts):
                for part in parts:
                    start = self.build(part, start)
                return start
            case Choice(options):
                ends = [self.build(option, self._link(start)) for option in options]
                end = self.add()
                for node in ends:
                    self.free[node].append((end, ""))
                return end
            case Repeat(part, low, high):
                return self._repeat(part, low, high, start)

    def _repeat(self, part: Tree, low: int, high: int | None, start: int) -> int:
        for _ in range(low):
            start = self.build(part, start)
        if high is None:
            loop = self._link(start)
            self.free[self.build(part, loop)].append((loop, ""))
            return self._link(loop)
        skips = [start]
        for _ in range(high - low):
            start = self.build(part, self._link(start))
            skips.append(start)
        end = self.add()
        for node in skips:
            self.free[node].append((end, ""))
        return end


class _Search:
    """The subset construction's states: sets of nodes."""

    def __init__(self, nodes: _Nodes, end: int) -> None:
        self._nodes = nodes
        self._end = end
        self._work = 0

    def state(self, nodes: Iterable[int], *, at_start: bool) -> State:
        reached = self._reach(nodes, "^" if at_start else "")
        return (frozenset([FOUND]), False) if self._end in reached else (reached, at_start)

    def _reach(self, nodes: Iterable[int], anchors: str) -> frozenset[int]:
        """Return the nodes that free steps lead to, under some anchors."""
        reached = set(nodes)
        todo = list(reached)
        tick()
        while todo:
            self._work += 1
            for node, anchor in self._nodes.free[todo.pop()]:
                if anchor in anchors and node not in reached:
                    reached.add(node)
                    todo.append(node)
        if self._work > MAX_WORK:
            raise TooLargeError("its alternatives and repetitions multiply to too many states")
        return frozenset(reached)

    def accepts(self, state: State) -> bool:
        nodes, at_start = state
        return FOUND in nodes or self._end in self._reach(nodes, "^$" if at_start else "$")

    def step(self, state: State) -> Iterable[tuple[Ranges, State]]:
        nodes, _ = state
        if FOUND in nodes:
            return [(ALL, state)]
        edges = [edge for node in nodes for edge in self._nodes.letters[node]]
        self._work += sum(len(ranges) for ranges, _ in edges)
        found: dict[frozenset[int], list[tuple[int, int]]] = {}
        for low, high, targets in _segments(edges):
            found.setdefault(targets, []).append((low, high))
        return [
            (characters.ranges(pairs), self.state(targets, at_start=False))
            for targets, pairs in found.items()
        ]


def _segments(edges: list[tuple[Ranges, int]]) -> Iterable[tuple[int, int, frozenset[int]]]:
    """Yield ranges of characters that lead to the same nodes."""
    events: dict[int, list[tuple[int, int]]] = {}
    for ranges, to in edges:
        for low, high in ranges:
            events.setdefault(low, []).append((to, 1))
            events.setdefault(high + 1, []).append((to, -1))
    open_edges: dict[int, int] = {}
    before = 0
    for place in sorted(events):
        if open_edges:
            yield before, place - 1, frozenset(open_edges)
        for to, change in events[place]:
            count = open_edges.get(to, 0) + change
            if count:
                open_edges[to] = count
            else:
                open_edges.pop(to)
        before = place
