"""The memory of a loaded model, freed when its last user is gone.

Contexts read the weights, so the weights must outlive them in whatever order the garbage
collector finds both. The module does not know what its users compute.
"""

import contextlib
import ctypes
import os
import weakref
from collections.abc import Callable

from gritlite.runtime.llama.library import C


class NativeModel:
    """A loaded model's C pointer, and the objects that use it."""

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self._pointers = [pointer]  # a list, as its `pop` is atomic
        self._users: set[object] = set()
        self._process = os.getpid()

    def free_with(self, user: object, free: Callable[[], None]) -> "weakref.finalize[..., object]":
        """Return what ends the use of the model by `user`; it also runs when `user` is dropped.

        `free` is called then. The model is freed with its last user. In a forked process nothing
        is freed: the threads that would have to end are not there.
        """
        token = object()
        self._users.add(token)

        def end() -> None:
            if os.getpid() == self._process:
                free()
                self._users.discard(token)
                self._free_unused()

        finalizer = weakref.finalize(user, end)
        finalizer.atexit = False  # the end of the process frees everything
        return finalizer

    def _free_unused(self) -> None:
        if not self._users:
            with contextlib.suppress(IndexError):  # another thread was faster
                C.llama_model_free(self._pointers.pop())
