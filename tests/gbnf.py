"""An oracle for grammars: reads GBNF on its own, writes random texts of one, and checks texts.

It covers what gritlite's converter writes: literals, classes that list what is in them,
groups, alternatives, repetitions and rules.
"""

import random
import re
from functools import cache

Symbol = str | tuple[tuple[int, int], ...]  # a rule's name, or ranges of code points
Rules = dict[str, list[list[Symbol]]]

_ITEM = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<letters>\[(?:[^\]\\]|\\.)*\])|(?P<name>[\w-]+)
    |(?P<sign>[()|])|(?P<repeat>[*+?]|\{(?P<low>\d+)(?P<comma>,?)(?P<high>\d*)\}))""",
    re.VERBOSE,
)
_LETTER = re.compile(r"\\(?:x([0-9A-F]{2})|u([0-9A-F]{4})|U([0-9A-F]{8})|(.))|([^\\])", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def parse(grammar: str) -> Rules:
    """Return the rules of a grammar, with groups and repetitions as rules of their own."""
    rules: Rules = {}
    for line in grammar.splitlines():
        name, _, body = line.partition(" ::= ")
        assert name not in rules, f"{name} is defined twice"
        _Body(rules, body, name).read()
    for alternatives in rules.values():
        for one in alternatives:
            assert all(symbol in rules for symbol in one if isinstance(symbol, str)), one
    return rules


def _letters(text: str) -> list[int]:
    codes = []
    for found in _LETTER.finditer(text):
        code = found[1] or found[2] or found[3]
        codes.append(int(code, 16) if code else ord(_NAMED.get(found[4], found[4] or found[5])))
    return codes


class _Body:
    """A rule's body. Repetitions become rules as llama.cpp's parser makes them."""

    def __init__(self, rules: Rules, body: str, name: str) -> None:
        self.rules, self.items, self.name = rules, list(_ITEM.finditer(body.strip())), name
        assert "".join(item[0] for item in self.items).split() == body.split(), body
        self.place = 0

    def read(self) -> None:
        self.rules[self.name] = self._alternatives()
        assert self.place == len(self.items)

    def _new(self, alternatives: list[list[Symbol]]) -> str:
        name = f"{self.name}_{len(self.rules)}"
        self.rules[name] = alternatives
        return name

    def _alternatives(self) -> list[list[Symbol]]:
        found: list[list[Symbol]] = [[]]
        last = 0
        while self.place < len(self.items):
            item = self.items[self.place]
            self.place += 1
            if item["sign"] == ")":
                break
            if item["sign"] == "|":
                found.append([])
                continue
            if item["repeat"]:
                found[-1][last:] = self._repeated(found[-1][last:], item)
                continue
            last = len(found[-1])
            if item["sign"] == "(":
                found[-1].append(self._new([]))
                self.rules[str(found[-1][-1])] = self._alternatives()
            elif item["text"]:
                found[-1] += [((code, code),) for code in _letters(item["text"][1:-1])]
            elif item["letters"]:
                found[-1].append(_ranges(item["letters"][1:-1]))
            else:
                found[-1].append(item["name"])
        return found

    def _repeated(self, part: list[Symbol], item: re.Match[str]) -> list[Symbol]:
        low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(item["repeat"], (0, 0))
        if item["low"]:
            low = int(item["low"])
            high = int(item["high"]) if item["high"] else None if item["comma"] else low
        if high is None:
            loop = self._new([])
            self.rules[loop] = [[*part, loop], []]
            return [*part * low, loop]
        rest: list[Symbol] = []
        for _ in range(high - low):
            rest = [self._new([[*part, *rest], []])]
        return [*part * low, *rest]


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    found = []
    letter = r"(?:\\(?:x..|u....|U........|.)|[^\\])"
    for one in re.finditer(rf"({letter})(?:-({letter}))?", text):
        low = _letters(one[1])[0]
        found.append((low, _letters(one[2])[0] if one[2] else low))
    return tuple(found)


class Texts:
    """Writes random texts of a grammar, and tells whether a text is one."""

    def __init__(self, grammar: str) -> None:
        self._rules = parse(grammar)
        self._costs = self._cheapest()

    def _cheapest(self) -> dict[str, float]:
        """Return the length of each rule's shortest text."""
        costs = dict.fromkeys(self._rules, float("inf"))
        changed = True
        while changed:
            changed = False
            for name, alternatives in self._rules.items():
                cost = min(self._cost(one, costs) for one in alternatives)
                if cost < costs[name]:
                    costs[name], changed = cost, True
        return costs

    @staticmethod
    def _cost(symbols: list[Symbol], costs: dict[str, float]) -> float:
        return 0.1 + sum(costs[one] if isinstance(one, str) else 1 for one in symbols)

    def dead_ends(self) -> list[str]:
        """Return the rules that no text belongs to and that can be reached."""
        reached, todo = {"root"}, ["root"]
        while todo:
            for one in (s for alternative in self._rules[todo.pop()] for s in alternative):
                if isinstance(one, str) and one not in reached:
                    reached.add(one)
                    todo.append(one)
        return [name for name in reached if self._costs[name] == float("inf")]

    def random(self, dice: random.Random, size: int = 60) -> str:
        """Return a text, which ends as soon as it can after `size` characters."""
        text: list[str] = []
        todo: list[Symbol] = ["root"]
        while todo:
            symbol = todo.pop()
            if not isinstance(symbol, str):
                low, high = dice.choice(symbol)
                text.append(chr(dice.choice((low, high, dice.randint(low, high)))))
                continue
            options = self._rules[symbol]
            if len(text) > size:
                option = min(options, key=lambda one: self._cost(one, self._costs))
            else:
                option = dice.choice(options)
            todo += reversed(option)
        return "".join(text)

    def has(self, text: str) -> bool:
        """Return whether a text belongs to the grammar."""
        stacks = self._advance([("root",)])
        for letter in text:
            after = [
                stack[1:]
                for stack in stacks
                if stack and any(low <= ord(letter) <= high for low, high in stack[0])
            ]
            stacks = self._advance(after)
        return () in stacks

    def _advance(self, stacks: list[tuple[Symbol, ...]]) -> set[tuple[Symbol, ...]]:
        """Return the stacks that begin with a character, or are empty."""
        seen = set(stacks)
        todo = list(seen)
        done = set()
        while todo:
            stack = todo.pop()
            if not stack or not isinstance(stack[0], str):
                done.add(stack)
                continue
            for option in self._rules[stack[0]]:
                after = (*option, *stack[1:])
                if after not in seen:
                    seen.add(after)
                    todo.append(after)
        return done


@cache
def texts(grammar: str) -> Texts:
    """Return a grammar's texts, read once."""
    return Texts(grammar)
