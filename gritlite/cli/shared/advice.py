"""What the user of a command can do about an error of the library.

The library does not know the command line, so its messages do not name options. A
command adds that part as a note (PEP 678), which `console` prints after the message.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from gritlite.errors import GritLiteError


@contextmanager
def advice(kind: type[GritLiteError], text: str, *, about: str = "") -> Iterator[None]:
    """Add `text` to errors of `kind` whose message contains `about`; also a decorator."""
    try:
        yield
    except kind as error:
        if about in str(error):
            error.add_note(text)
        raise


def advised_message(error: GritLiteError) -> str:
    """An error's message with the advice added to it."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])
