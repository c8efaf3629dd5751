"""Printing an answer while it is generated, and the notices that belong to it."""

import itertools
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from gritlite.cli.shared.advice import context_remedy
from gritlite.cli.shared.interrupts import cancel_on_interrupt
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.progress import alongside, progress_bar
from gritlite.cli.shared.word_wrap import WordWrap, terminal_columns
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM
    from gritlite.runtime.pieces import FinishReason

_MOMENT, _TICK = 0.5, 0.2  # seconds
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
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def new_tokens(self) -> int: ...

    def cancel(self) -> None:
        """End the answer within one token."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Course:
    """How an answer came: seconds from its beginning to its first piece and to its end.

    `read` is how many tokens were evaluated before it began.
    """

    first: float
    end: float
    read: int


def print_answer(
    answer: AnswerStream, model: "GritLM", *, wrap: bool = True, stoppable: bool = True
) -> Course:
    """Write an answer to standard output as it is generated, and a line end after it.

    Once it has begun, Ctrl-C only ends the answer if it is `stoppable`; before, it raises
    KeyboardInterrupt.

    On a terminal control characters are escaped, lines are broken between words if `wrap`,
    and a bar shows how a long prompt is read. Elsewhere the text is written as it is.
    """
    # what the terminal's encoding lacks is shown as "?"
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    started, new = time.perf_counter(), answer.new_tokens
    if sys.stdout.isatty():
        with _reading_bar(new, model):
            first = next(answer, "")
    else:
        first = next(answer, "")
    read = time.perf_counter()
    with cancel_on_interrupt(answer) if stoppable else nullcontext():
        for text in _shown(itertools.chain([first], answer), wrap=wrap):
            sys.stdout.write(text)
            sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
    return Course(read - started, time.perf_counter() - started, new)


def _shown(pieces: Iterable[str], *, wrap: bool) -> Iterator[str]:
    """The pieces as standard output shows them."""
    if not sys.stdout.isatty():
        yield from pieces
        return
    lines = WordWrap(terminal_columns if wrap else lambda: 0)
    for piece in pieces:
        yield lines.feed(piece.translate(_ESCAPES))
    yield lines.finish()


@contextmanager
def _reading_bar(total: int, model: "GritLM") -> Iterator[None]:
    """Show how much of a prompt has been read, once that takes more than a moment."""
    before = model.evaluated

    def show(ended: threading.Event) -> None:
        if ended.wait(_MOMENT):
            return
        with progress_bar("reading", unit="token", total=total) as bar:
            while not ended.wait(_TICK):
                bar.update(min(model.evaluated - before, total) - bar.n)
                bar.refresh()

    with alongside(show):
        yield


def print_cut_notice(
    answer: AnswerStream, model: "GritLM", *, option: str = "--max-tokens"
) -> None:
    """Say why an answer was cut, if it was. `option` is what sets the most tokens of one."""
    if answer.finish_reason == "length":
        limit = counted(len(answer.generated), "token")
        print_notice(f"the answer was cut at {limit}, the limit of {option}")
    elif answer.finish_reason == "loop":
        print_notice("the answer was stopped: it only repeated itself")
    elif answer.finish_reason == "context":
        print_notice(
            f"the answer was cut: the context of {model.context_length:,} tokens is full; "
            f"{context_remedy(model)}"
        )


def print_dropped_notice(count: int, model: "GritLM") -> None:
    """Say that the oldest `count` messages of a chat no longer fit the context."""
    messages = "message was" if count == 1 else f"{counted(count, 'message')} were"
    print_notice(
        f"the context of {model.context_length:,} tokens is full: the oldest {messages} left out; "
        f"{context_remedy(model)}"
    )
