"""Refuses llama.cpp in a process that was forked after it had run with several threads.

OpenMP keeps its threads for the next call. A forked process believes that it has them, and
waits for them for ever; a model of its own does not help.
"""

import os

from gritlite.errors import UsageError

_with_threads: set[int] = set()  # processes in which contexts of several threads were made


def note_threads(threads: int) -> None:
    """Remember that this process runs llama.cpp with `threads` threads."""
    if threads > 1:
        _with_threads.add(os.getpid())


def check_fork() -> None:
    """Raise UsageError if only a process from which this one was forked had several threads."""
    if _with_threads and os.getpid() not in _with_threads:
        raise UsageError(
            "llama.cpp has run with several threads in a process of which this one is a fork, and "
            "would wait here for ever: start processes by 'spawn' instead of 'fork'"
        )
