r"""Rules for texts: automata as JSON strings or as plain text.

A string's characters are written as they are unless JSON wants an escape (RFC 8259,
section 7). Only where any character may follow may they be other `\u` escapes too.
"""

import json
from collections import Counter

from gritlite.runtime.schema import characters
from gritlite.runtime.schema.automaton import Automaton
from gritlite.runtime.schema.characters import ALL, Ranges
from gritlite.runtime.schema.gbnf import Grammar, letters, literal

# the rules that all strings share
SHARED = {
    "hex": "[0-9A-Fa-f]",
    # any character but quotes, backslashes, controls and surrogates
    "raw": "[\\x20-\\x21\\x23-\\x5B\\x5D-\\x7E\\x80-\\uD7FF\\uE000-\\U0010FFFF]",
    "pair": '[Dd] [89ABab] hex{2} "\\\\u" [Dd] [C-Fc-f] hex{2}',
    "unicode": '"u" ([0-9A-Ca-cE-Fe-f] hex{3} | [Dd] [0-7] hex{2} | pair)',
    "char": 'raw | "\\\\" (["\\\\/bfnrt] | unicode)',
    "string-end": 'char* "\\""',
}
_SHORT = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_SHORT_SET = 8  # ranges
_CONTROLS: Ranges = ((0, 0x1F),)
_ESCAPED = characters.union(_CONTROLS, characters.of(_SHORT))


def write(grammar: Grammar, found: Automaton, name: str, *, string: bool) -> str:
    """Add an automaton's rules, named after `name`, and return what stands for its texts.

    With `string` they are JSON strings, quotes included; otherwise plain text.
    """
    return _Writer(grammar, found, name, string).write()


class _Writer:
    def __init__(self, grammar: Grammar, found: Automaton, name: str, string: bool) -> None:
        self._grammar = grammar
        self._found = found
        self._name = name
        self._string = string
        self._arrivals = Counter(to for steps in found.steps for _, to in steps)

    def write(self) -> str:
        quote = [literal('"')] if self._string else []
        tail, first = self._follow(0)
        todo, known = [first], {first}
        while todo:
            state = todo.pop()
            if state is None:
                continue
            options = []
            for on, to in self._found.steps[state]:
                rest, after = self._follow(to)
                options += [" ".join([head, *rest]) for head in self._heads(on)]
                if after not in known:
                    known.add(after)
                    todo.append(after)
            if state in self._found.accepting:
                options.append(literal('"' if self._string else ""))
            self._grammar.define(self._rule(state), " | ".join(options))
        return " ".join([*quote, *tail])

    def _rule(self, state: int) -> str:
        return f"{self._name}-{state}"

    def _follow(self, state: int) -> tuple[list[str], int | None]:
        """Return what stands for the rest of a text, and the state whose rule it ends with.

        A way without a choice is written out; the state is None if the text ends with it.
        """
        text = ""
        while True:
            steps, accepting = self._found.steps[state], state in self._found.accepting
            if self._string and accepting and steps == ((ALL, state),):
                return self._pieces(text, "string-end"), None
            if not steps:
                return self._pieces(text + '"' * self._string), None
            letter = _single(steps[0][0])
            if accepting or len(steps) > 1 or not letter or self._arrivals[state] > 1:
                return self._pieces(text, self._rule(state)), state
            text += self._written(letter)
            state = steps[0][1]

    @staticmethod
    def _pieces(text: str, *rest: str) -> list[str]:
        return [*([literal(text)] if text else ()), *rest]

    def _written(self, letter: str) -> str:
        return json.dumps(letter, ensure_ascii=False)[1:-1] if self._string else letter

    def _letters(self, on: Ranges) -> str:
        """Return a set of characters; a long one is written once, as a rule of its own."""
        return letters(on) if len(on) <= _SHORT_SET else self._grammar.rule(letters(on))

    def _heads(self, on: Ranges) -> list[str]:
        """Return the ways to write one character out of a set."""
        if letter := _single(on):
            return [literal(self._written(letter))]
        if not self._string:
            return [self._letters(on)]
        plain = characters.minus(on, _ESCAPED)
        short = "".join(code for letter, code in _SHORT.items() if characters.has(on, letter))
        heads = [self._letters(plain)] if plain else []
        heads += [f"{literal(chr(92))} {letters(characters.of(short))}"] if short else []
        if heads:  # other control characters are left out: few want them, and many a `\u`
            return heads
        codes = [chr(code) for low, high in on for code in range(low, high + 1)]
        return [literal(self._written(letter)) for letter in codes]


def _single(on: Ranges) -> str:
    """Return the only character of a set, or an empty text."""
    return chr(on[0][0]) if len(on) == 1 and on[0][0] == on[0][1] else ""
