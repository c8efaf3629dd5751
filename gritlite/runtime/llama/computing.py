"""The thread in which llama.cpp loads and computes: one a process, for all models.

llama.cpp's OpenMP keeps a team of threads for each thread that calls it. Where two teams are
more threads than processors, it sends waiting ones to sleep at each of the thousand steps of a
pass, and a token takes four times as long.
"""

import os

from gritlite.runtime.compute_thread import ComputeThread

_threads: dict[int, ComputeThread] = {}  # by process: a forked one has none of its parent's


def compute_thread() -> ComputeThread:
    """Return the thread of this process."""
    return _threads.setdefault(os.getpid(), ComputeThread("llama.cpp"))
