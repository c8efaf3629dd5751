"""A flag that ends the pass of a context.

llama.cpp asks its abort callback before each node of the graph. A callback in Python would wait
for the interpreter's lock there, up to a thousand times a pass; libc's strlen does not.
"""

import ctypes
import os

from gritlite.runtime.llama.library import C

_LIBC = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
# of the text "" it is 0, which says go on, and of "x" it is 1, which says stop
_LENGTH = ctypes.cast(_LIBC.strlen, C.ggml_abort_callback)


class StopFlag:
    """The abort flag of one context. It must live as long as the context computes."""

    def __init__(self, context: ctypes.c_void_p) -> None:
        self._text = ctypes.create_string_buffer(2)
        C.llama_set_abort_callback(context, _LENGTH, ctypes.addressof(self._text))

    def set(self) -> None:
        """End the pass in progress after the node that is being computed."""
        self._text[0] = b"x"

    def clear(self) -> None:
        """Let the next pass run."""
        self._text[0] = b"\0"
