"""Which files of llama_cpp's libraries a frozen app needs.

Wheels hold each library under up to three names, as they cannot hold links: libggml.so,
libggml.so.0 and libggml.so.0.25.3. llama_cpp loads libllama by its short name; the libraries
name each other, and gritlite them, with the first number of the version. One file of each is
enough, and two would be loaded as two libraries.
"""

import re
from collections.abc import Iterable

_LOADED_BY_SHORT_NAME = ("libllama", "libmtmd")
_NAME = re.compile(r"(?P<stem>[^.]+)(?P<before>(?:\.\d+)*)\.(?:so|dylib|dll)(?P<after>(?:\.\d+)*)")


def needed(names: Iterable[str]) -> list[str]:
    """One name of each library, that by which it is loaded, in order; other files are left out."""
    best: dict[str, tuple[bool, int, str]] = {}
    for name in names:
        found = _NAME.fullmatch(name)
        if found is not None:
            stem = found["stem"]
            numbers = (found["before"] + found["after"]).count(".")
            wanted = 0 if stem in _LOADED_BY_SHORT_NAME else 1
            choice = (numbers != wanted, numbers, name)
            best[stem] = min(best.get(stem, choice), choice)
    return sorted(name for _, _, name in best.values())
