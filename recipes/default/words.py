"""Text utilities: words, sentences, truncation at sentence ends, English detection, WikiText style.

Simple heuristics for training text: an abbreviation that is not in `ABBREVIATIONS` ends a
sentence. The module knows no data set.
"""

import re
import unicodedata
from collections.abc import Iterator

_WORD = re.compile(r"[a-z0-9]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"\u201d\u2019')\]]*\s+(?=[\"\u201c\u2018'(\[]?[A-Z0-9])")


def words(text: str) -> list[str]:
    """The words of `text` for comparing: lower case, without accents, letters and digits only."""
    plain = unicodedata.normalize("NFKD", text)
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)).lower())


# an abbreviation with a full stop inside, "U.S.", is told by that
ABBREVIATIONS = frozenset(
    words(
        "mr mrs ms dr prof st vs etc eg ie jr sr inc ltd co corp no vol fig al approx c ca cf gen "
        "col sgt lt capt rep sen gov"
    )
)
# the commonest words of English: more than a sixth of any running text is made of them
FUNCTION_WORDS = frozenset(
    words(
        "the of and to a in is it that for on was with as are be by this at from or an have not "
        "you i he she they we his her its their which but all can has had were will my your"
    )
)


def squeeze(text: str) -> str:
    """`text` on one line, each run of white space one space."""
    return " ".join(text.split())


def sentences(text: str) -> list[str]:
    """`text` cut after full stops, question marks and exclamation marks."""
    return list(_sentences(squeeze(text)))


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(text):
        before = text[start : end.start()].rstrip("\"\u201d\u2019')]").rsplit(" ", 1)[-1]
        stem = before.rstrip(".").lstrip("(\"\u201c'[").lower()
        if before.endswith(".") and _is_short(stem):
            continue
        yield text[start : end.end()].strip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()


def _is_short(stem: str) -> bool:
    """Whether a full stop after `stem` ends no sentence: "Dr. Smith", "J. Smith", "U.S. law"."""
    initial = len(stem) == 1 and stem.isalpha() and stem != "i"
    return initial or stem in ABBREVIATIONS or (stem[:1].isalpha() and "." in stem)


def cut(text: str, limit: int) -> str:
    """The leading whole sentences of `text` within `limit` words; empty if the first is longer."""
    kept: list[str] = []
    for sentence in sentences(text):
        limit -= len(sentence.split())
        if limit < 0:
            break
        kept.append(sentence)
    return " ".join(kept)


def is_english(text: str) -> bool:
    """Whether running text looks English: Latin letters, and a sixth of it function words."""
    tokens = text.lower().split()
    letters = [c for c in text if c.isalpha()]
    if not letters or sum(c.isascii() for c in letters) < 0.95 * len(letters):
        return False
    return sum(token.strip(".,;:\"'()") in FUNCTION_WORDS for token in tokens) * 6 >= len(tokens)


def is_clean(text: str) -> bool:
    """Whether `text` is prose, not a list, an address, a menu or markup."""
    symbols = sum(
        not (
            c.isalnum()
            or c.isspace()
            or c in ".,;:'\"!?()-\u2013\u2014\u2019\u201c\u201d\u2018%$&/"
        )
        for c in text
    )
    return (
        "http" not in text
        and not re.search(r"[a-z][,;.][a-z]{3}", text)
        and "www." not in text
        and "@" not in text
        and symbols * 50 <= len(text)
        and sum(c.isdigit() for c in text) * 8 <= len(text)
        and sum(c.isupper() for c in text) * 6 <= len(text)
    )


def wikitext_style(text: str) -> str:
    """`text` spelled as WikiText-2 is: tokens apart, `@-@`, `@,@` and `@.@` inside words.

    WikiText's `<unk>` is left out on purpose: a model that chats must not learn to write it.
    """
    text = re.sub(r"[\u201c\u201d]", '"', text).replace("\u2019", "'").replace("\u2018", "'")
    text = re.sub(r"(?<=\w)-(?=\w)", " @-@ ", text)
    text = re.sub(r"(?<=\d),(?=\d{3})", " @,@ ", text)
    text = re.sub(r"(?<=\d)\.(?=\d)", " @.@ ", text)
    text = re.sub(r"(?<=\w)('(?:s|re|ve|ll|d|m|t)\b)", r" \1", text)
    text = re.sub(r"(?<=s)'(?=\s)", " '", text)
    text = re.sub(r"(?<=[a-z]{2})([.!?])(?=[\s\")]|$)", r" \1", text)
    text = re.sub(r"(?<=\d)([.!?])(?=[\s\")]|$)", r" \1", text)
    text = re.sub(r"(?<![@\s]),|,(?![@\s])", " , ", text)
    text = re.sub(r"([\"();:\[\]$%\u2013\u2014])", r" \1 ", text)
    return f" {squeeze(text)} "
