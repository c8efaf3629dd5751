"""Texts and queries as the full-text index reads them: folded, and cut where no spaces are.

Folding makes equal what people take for the same word (café and cafe, Straße and STRASSE,
full-width and plain letters): Unicode's compatibility form without the accents of Latin,
Greek, Cyrillic, Arabic and Hebrew letters, in lower case, as Lucene's ICUFoldingFilter and
ASCIIFoldingFilter do. Marks that make another letter (Japanese が, Thai and Indian vowels)
stay. All four i's of Turkish are one.

Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese put no spaces between words, or
write particles onto them. Their characters are indexed as overlapping pairs, as Lucene's
CJKBigramFilter does, and the last of a run alone, so that every character begins a term and
a query of one character is a prefix: 東京都 gives 東京, 京都 and 都. Knows neither words nor
grammar: 京都 (Kyoto) is found in 東京都 (Tokyo), though ranked behind texts that share more.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

# accents and points (U+0300 to U+036F), Hebrew points, Arabic vowels and tatweel
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]")
# letters that do not decompose, as Lucene's ASCIIFoldingFilter writes them
_LETTERS = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ł": "l",
        "ħ": "h",
        "þ": "th",
        "\u0131": "i",
    }
)
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\uac00-\ud7a3"  # Korean
)
# ASCII and signs that the tokenizer takes like those of ASCII: what texts in English hold
_PLAIN = re.compile(
    "[\x00-\x7f\u00a0-\u00a9\u00ab\u00ae-\u00b1\u00b7\u00bb\u2010-\u2027\u2030-\u205e\u20a0-\u20b8]*"
)
_RUN = re.compile(f"[{_UNSPACED}]+")


def folded(text: str) -> str | None:
    """The words of a text, separated by spaces; None if the tokenizer reads it the same as it is.

    Of ASCII it makes lower case, and cuts at what is no letter or digit.
    """
    if _PLAIN.fullmatch(text):
        return None
    return " ".join(term for word in _words(text) for term in _terms(word))


def query_terms(query: str) -> list[str]:
    """The different terms of a query in FTS5's syntax, in their order."""
    terms: dict[str, None] = {}
    for word in _words(query):
        if not _RUN.match(word):
            terms[f'"{word}"'] = None
        elif len(characters := _characters(word)) == 1:
            terms[f'"{word}" *'] = None
        else:
            terms.update((f'"{pair}"', None) for pair in _pairs(characters))
    return list(terms)


def _is_part_of_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def _words(text: str) -> Iterator[str]:
    """The folded words of a text: runs of letters, digits and marks, cut where scripts meet."""
    decomposed = _ACCENTS.sub("", unicodedata.normalize("NFKD", text).casefold())
    whole = unicodedata.normalize("NFKC", decomposed).translate(_LETTERS)
    spaced = "".join(c if _is_part_of_word(c) else " " for c in whole)
    return iter(_RUN.sub(r" \g<0> ", spaced).split())


def _terms(word: str) -> Iterator[str]:
    """What is indexed of a word."""
    if not _RUN.match(word):
        yield word
        return
    characters = _characters(word)
    yield from _pairs(characters)
    yield characters[-1]


def _pairs(characters: list[str]) -> Iterator[str]:
    return (first + second for first, second in pairwise(characters))


def _characters(run: str) -> list[str]:
    """The characters of a run, each with the marks that follow it."""
    characters: list[str] = []
    for character in run:
        if characters and unicodedata.category(character)[0] == "M":
            characters[-1] += character
        else:
            characters.append(character)
    return characters
