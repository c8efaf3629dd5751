"""What the user of a command can do about an error of the library.

The library does not know the command line, so its messages do not name options. A
command adds that part as a note (PEP 678), which `console` prints after the message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gritlite.errors import GritLiteError, InputTooLongError

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM


@contextmanager
def advice(kind: type[GritLiteError], text: str, *, about: str = "") -> Iterator[None]:
    """Add `text` to errors of `kind` whose message contains `about`; also a decorator."""
    try:
        yield
    except kind as error:
        if about in str(error):
            error.add_note(text)
        raise


@contextmanager
def context_advice(model: "GritLM") -> Iterator[None]:
    """Say with errors about a full context whether an option can make it longer."""
    with advice(InputTooLongError, context_remedy(model), about="context"):
        yield


def context_remedy(model: "GritLM") -> str:
    """How a context that is too short can be made longer, or that it cannot."""
    longest = model.longest_context
    if model.context_length < longest:
        return f"--context-length makes it longer, up to {longest:,} tokens"
    return f"it cannot be longer: the model computes at most {longest:,} tokens"


def advised_message(error: GritLiteError) -> str:
    """An error's message with the advice added to it."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])
