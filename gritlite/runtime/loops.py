"""Whether a text has begun to repeat itself without end, as greedy answers of small models do.

A text loops where its end is one piece again and again, for many repetitions and many
characters, so that refrains, lists and code do not count. Pieces that differ in their numbers
only ("Figure 11: Figure 12: ...") count as the same, but have to be repeated more often. Lines,
zeros and spaces, without a letter, may go on for a long time. Knows no languages and no tokens.
"""

import re

WINDOW = 2_000  # characters at the end that are looked at
_LONGEST_PIECE = 250  # characters

_EXACT = (8, 300)  # repetitions and characters, at least
_BUT_FOR_NUMBERS = (24, 400)
_WITHOUT_LETTERS = 1_000  # characters

_DIGITS = re.compile(r"\d+")


def loops(text: str) -> bool:
    """Whether the end of `text` repeats one piece without end."""
    end = text[-WINDOW:]
    return _repeats(end, *_EXACT) or _repeats(_DIGITS.sub("0", end), *_BUT_FOR_NUMBERS)


def _repeats(text: str, times: int, characters: int) -> bool:
    period = _period_of_the_end(text, characters)
    if period is None:
        return False
    piece = text[-period:]
    if not any(map(str.isalpha, piece)):
        return _period_of_the_end(text, _WITHOUT_LETTERS) is not None
    length = max(times * period, characters)
    return length <= len(text) and text[-length:-period] == text[period - length :]


def _period_of_the_end(text: str, characters: int) -> int | None:
    """The shortest period of the last `characters`, None if it is over the longest piece.

    Knuth, Morris and Pratt's failure function: a text has the period n - b, where b is the
    length of its longest border.
    """
    end = text[-characters:]
    if len(end) < characters:
        return None
    border = [0] * len(end)
    for index in range(1, len(end)):
        length = border[index - 1]
        while length and end[index] != end[length]:
            length = border[length - 1]
        border[index] = length + (end[index] == end[length])
    period = len(end) - border[-1]
    return period if period <= min(_LONGEST_PIECE, len(end) // 2) else None
