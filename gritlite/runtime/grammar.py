"""GBNF grammars, validated before llama.cpp parses them.

llama.cpp reports grammar errors to standard error only, overflows its stack on deep
nesting, and loops forever at `{3,1}`. The checks here reject such grammars first.
Source: grammars/README.md and the parser in src/llama-grammar.cpp.
"""

import re

from gritlite.errors import UsageError

MAX_DEPTH = 200
MAX_RULES = 5000
MAX_REPETITIONS = 2000  # MAX_REPETITION_THRESHOLD of llama-grammar.cpp

_ESCAPE = r'\\(?:[trn\\"\[\]-]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})'
_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_ITEM = re.compile(
    rf"""(?P<text>"(?:[^"\\\0]|{_ESCAPE})*")
    |(?P<characters>\[\^?(?:[^\]\\\0]|{_ESCAPE})*\])
    |(?P<token>!?<(?:\[[0-9]{{1,9}}\]|[^>\[\0][^>\0]*)>)
    |(?P<rule>[a-zA-Z0-9-]+)
    |(?P<any>\.)
    |(?P<open>\()
    |(?P<close>\))
    |(?P<or>\|)
    |(?P<repeat>[*+?]|\{{[ \t]*(?P<low>[0-9]+)[ \t]*(?:,[ \t]*(?P<high>[0-9]*)[ \t]*)?\}})
    """,
    re.VERBOSE,
)


def check_grammar(text: str) -> None:
    """Raise UsageError, with the line, for a grammar that llama.cpp would reject."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UsageError("the grammar contains half of a surrogate pair, which is not a character")
    rules: set[str] = set()
    used: dict[str, int] = {}
    place = _skip(text, 0, lines=True)
    while place < len(text):
        name = _NAME.match(text, place)
        if name is None:
            raise _error(text, place, "a rule must begin with its name")
        rules.add(name.group())
        place = _skip(text, name.end(), lines=False)
        if not text.startswith("::=", place):
            raise _error(text, place, "'::=' must follow a rule's name")
        place = _check_body(text, _skip(text, place + 3, lines=True), used)
        if text[place : place + 1] not in ("", "\r", "\n"):
            raise _error(text, place, "this is not part of a rule")
        place = _skip(text, place, lines=True)
    if "root" not in rules:
        raise UsageError("the grammar has no rule 'root'")
    for missing in used.keys() - rules:
        raise _error(text, used[missing], f"there is no rule {missing!r}")
    if len(rules) > MAX_RULES:
        raise UsageError(f"the grammar has {len(rules)} rules: at most {MAX_RULES} are supported")


def _check_body(text: str, place: int, used: dict[str, int]) -> int:
    """Check a rule's body, after `::=`, and return where it ends."""
    depth = 0
    repeatable = False  # whether the last item can be repeated
    while item := _ITEM.match(text, place):
        kind = item.lastgroup
        if item["open"]:
            depth += 1
            if depth > MAX_DEPTH:
                raise _error(text, place, f"more than {MAX_DEPTH} parentheses are open")
        elif item["close"]:
            depth -= 1
            if depth < 0:
                raise _error(text, place, "this parenthesis was not opened")
        elif item["repeat"]:
            _check_repetition(text, item, repeatable)
        elif item["rule"]:
            used.setdefault(item["rule"], place)
        repeatable = kind not in ("open", "or") and item.group() not in ('""', "[]", "[^]")
        lines = depth > 0 or kind in ("open", "or")
        place = _skip(text, item.end(), lines=lines)
    if depth:
        raise _error(text, place, "a parenthesis is not closed, or this is not part of a rule")
    return place


def _check_repetition(text: str, item: re.Match[str], repeatable: bool) -> None:
    if not repeatable:
        raise _error(text, item.start(), f"there is nothing to repeat before {item.group()!r}")
    if item["low"] is None:
        return
    low = int(item["low"])
    high = int(item["high"]) if item["high"] else low
    if high < low:
        raise _error(text, item.start(), f"the bounds of {item.group()} are in the wrong order")
    if high > MAX_REPETITIONS:
        raise _error(
            text, item.start(), f"{item.group()} repeats more than {MAX_REPETITIONS} times"
        )


def _skip(text: str, place: int, *, lines: bool) -> int:
    match = (_SPACE_AND_LINES if lines else _SPACE).match(text, place)
    return match.end() if match else place


def _error(text: str, place: int, problem: str) -> UsageError:
    line = text.count("\n", 0, place) + 1
    rest = text[place : place + 20].partition("\n")[0]
    return UsageError(f"the grammar's line {line} is wrong at {rest!a}: {problem}")
