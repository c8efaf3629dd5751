"""An answer on its way to the screen, and what there is to say about it afterwards."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gritlite.cli.shared.respondents import Said

# control characters could drive the terminal; line ends and tabs are text
_SHOWN = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_VISIBLE = {code: shown for code, shown in _SHOWN.items() if chr(code) not in "\n\t"}


def show(answer: Iterator[str]) -> None:
    """Write the pieces to standard output as they come, and a line end after the last."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # what the screen cannot show
    terminal = sys.stdout.isatty()
    for piece in answer:
        sys.stdout.write(piece.translate(_VISIBLE) if terminal else piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


@contextmanager
def interrupt_cancels(answer: "Said") -> Iterator[None]:
    """Let Ctrl-C end the answer and not the program."""
    before = signal.signal(signal.SIGINT, lambda *_: answer.cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def say_how_it_ended(answer: "Said", context_length: int) -> None:
    """Tell on standard error why an answer is shorter than it would be."""
    if answer.finish_reason == "length":
        tell(f"the answer was cut at {len(answer.generated):,} tokens, the limit of --max-tokens")
    elif answer.finish_reason == "context":
        tell(
            f"the answer was cut: the context of {context_length:,} tokens is full "
            "(--context-length)"
        )


def tell(message: str) -> None:
    """Write a line to standard error."""
    click.echo(f"gritlite: {message}", err=True)


def tell_dropped(count: int, context_length: int) -> None:
    """Say that the oldest messages did not take part."""
    messages = "message was" if count == 1 else f"{count:,} messages were"
    tell(
        f"the context of {context_length:,} tokens is full: the oldest {messages} left out "
        "(--context-length)"
    )
