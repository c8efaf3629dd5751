"""Printing an answer while it is generated, and the notices that belong to it."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, Self

from gritlite.cli.shared.notices import print_notice

if TYPE_CHECKING:
    from gritlite.runtime.answer import FinishReason

# control characters could drive the terminal; line ends and tabs are text
_ESCAPES = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}


class AnswerStream(Iterator[str], Protocol):
    """An answer that is being generated: an `Answer` or a `StoreAnswer`."""

    @property
    def text(self) -> str: ...
    @property
    def generated(self) -> list[int]: ...
    @property
    def finish_reason(self) -> "FinishReason | None": ...
    @property
    def dropped(self) -> int: ...

    def cancel(self) -> None:
        """End the answer within one token."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def print_answer(pieces: Iterator[str]) -> None:
    """Write the pieces to standard output as they come, and a line end after the last.

    Control characters are escaped on a terminal, and written as they are elsewhere.
    """
    # what the terminal's encoding lacks is shown as "?"
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    terminal = sys.stdout.isatty()
    for piece in pieces:
        sys.stdout.write(piece.translate(_ESCAPES) if terminal else piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_cut_notice(answer: AnswerStream, context_length: int) -> None:
    """Say why an answer was cut, if it was."""
    if answer.finish_reason == "length":
        print_notice(
            f"the answer was cut at {len(answer.generated):,} tokens, the limit of --max-tokens"
        )
    elif answer.finish_reason == "context":
        print_notice(
            f"the answer was cut: the context of {context_length:,} tokens is full "
            "(--context-length)"
        )


def print_dropped_notice(count: int, context_length: int) -> None:
    """Say that the oldest `count` messages of a chat no longer fit the context."""
    messages = "message was" if count == 1 else f"{count:,} messages were"
    print_notice(
        f"the context of {context_length:,} tokens is full: the oldest {messages} left out "
        "(--context-length)"
    )
