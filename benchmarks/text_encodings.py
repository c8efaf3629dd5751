"""How often the encoding of a text is detected, by gritlite and by charset-normalizer.

The texts are messages of programs in 20 languages, from the catalogues that a Debian system
holds (/usr/share/locale): run `python benchmarks/text_encodings.py` there. A detection is right
if it gives the text; "refused" is no detection.
"""

import gettext
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import charset_normalizer

from gritlite.errors import FormatError
from gritlite.rag.formats.encoding import decode

_LOCALES = Path("/usr/share/locale")
_PROGRAMS = ("bash", "coreutils", "diffutils", "dpkg", "findutils", "grep", "make", "sed", "tar")
_ENCODINGS = {
    "de": ("cp1252", "cp850", "mac_roman"),
    "fr": ("cp1252", "iso8859-15", "mac_roman"),
    **dict.fromkeys(("es", "it", "pt_BR", "sv", "nl", "fi", "da"), ("cp1252",)),
    **dict.fromkeys(("cs", "pl", "hu"), ("cp1250", "iso8859-2")),
    "ru": ("cp1251", "koi8-r", "cp866"),
    "uk": ("cp1251",),
    "el": ("cp1253", "iso8859-7"),
    "tr": ("cp1254",),
    "ja": ("cp932", "euc_jp", "iso2022_jp", "utf-16-le"),
    "zh_CN": ("gb18030",),
    "zh_TW": ("big5",),
    "ko": ("cp949",),
}
_LENGTHS = (40, 80, 160, 400, 3000)  # characters
_SAMPLES = 12  # of each length, language and encoding


def main() -> None:
    """Print how many texts of each length are right, wrong and refused."""
    print("length  detector             right  wrong  refused")
    for length in _LENGTHS:
        counts = {name: Counter[str]() for name in _DETECTORS}
        for text, data in _samples(length):
            for name, detect in _DETECTORS.items():
                found = detect(data)
                outcome = "refused" if found is None else "right" if found == text else "wrong"
                counts[name][outcome] += 1
        for name, count in counts.items():
            numbers = (f"{count[outcome]:7}" for outcome in ("right", "wrong", "refused"))
            print(f"{length:6}  {name:18}", *numbers)


def _samples(length: int) -> Iterator[tuple[str, bytes]]:
    """Texts with characters beyond ASCII, of about a length, in each encoding."""
    for language, encodings in _ENCODINGS.items():
        messages = _messages(language)
        for encoding in encodings if messages else ():
            choices = random.Random(f"{language} {encoding} {length}")
            for _ in range(_SAMPLES):
                text = ""
                while len(text) < length:
                    text += choices.choice(messages) + "\n"
                data = text[:length].encode(encoding, "ignore")
                yield data.decode(encoding), data


def _messages(language: str) -> list[str]:
    found: list[str] = []
    for program in _PROGRAMS:
        path = _LOCALES / language / "LC_MESSAGES" / f"{program}.mo"
        if path.exists():
            with path.open("rb") as file:
                catalogue = vars(gettext.GNUTranslations(file))["_catalog"]
            found += [text for key, text in catalogue.items() if key and isinstance(text, str)]
    return [text for text in found if len(text) > 60 and not text.isascii()]


def _ours(data: bytes) -> str | None:
    try:
        return decode(data).text
    except FormatError:
        return None


def _charset_normalizer(data: bytes) -> str | None:
    best = charset_normalizer.from_bytes(data).best()
    return None if best is None else str(best)


_DETECTORS: dict[str, Callable[[bytes], str | None]] = {
    "gritlite": _ours,
    "charset-normalizer": _charset_normalizer,
}


if __name__ == "__main__":
    main()
