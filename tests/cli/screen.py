"""A child process with a terminal of its own: typed into, and seen through pyte's emulator."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import pyte

LIMIT = 60  # seconds
CTRL_C, CTRL_D, ENTER, TAB, UP = "\x03", "\x04", "\r", "\t", "\x1b[A"


class Screen:
    """`gritlite` at a terminal."""

    def __init__(self, *arguments, columns=80, **environment):
        self._screen = pyte.Screen(columns, 200)
        self._stream = pyte.ByteStream(self._screen)
        self._parent, self._child = pty.openpty()
        size = struct.pack("4H", 200, columns, 0, 0)
        fcntl.ioctl(self._child, termios.TIOCSWINSZ, size)

        def own_the_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "gritlite", *map(str, arguments)],
            stdin=self._child,
            stdout=self._child,
            stderr=self._child,
            preexec_fn=own_the_terminal,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )

    @property
    def shows_keys(self):
        """Whether the terminal itself shows what is typed."""
        return bool(termios.tcgetattr(self._child)[3] & termios.ECHO)

    @property
    def lines(self):
        """What the screen shows."""
        text = "\n".join(line.rstrip() for line in self._screen.display)
        return text.rstrip("\n").split("\n")

    @property
    def text(self):
        return "\n".join(self.lines)

    def type(self, text):
        os.write(self._parent, text.encode())

    def paste(self, text):
        """Paste as terminals do: lines end in carriage returns."""
        keys = text.replace("\n", ENTER)
        self.type(f"\x1b[200~{keys}\x1b[201~")

    def read(self, seconds):
        """Show what comes within this time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._parent], [], [], left)[0]:
                self._stream.feed(os.read(self._parent, 65536))

    def wait_for(self, condition):
        """Read until a text is on the screen, or a function of this screen is true."""
        end = time.monotonic() + LIMIT
        while not (condition in self.text if isinstance(condition, str) else condition(self)):
            if self.process.poll() is not None:  # what it wrote last can still be read
                end = min(end, time.monotonic() + 0.5)
            assert time.monotonic() < end, f"no {condition!r} in:\n{self.text}"
            self.read(0.05)

    def wait_for_prompt(self, before=""):
        """Read until the last line is an empty prompt, below a text."""
        self.wait_for(lambda screen: screen.lines[-1] == ">" and before in screen.text)

    def do(self, text):
        """Type a line; the lines that come after it, up to the next prompt."""
        count = len(self.lines)
        self.type(text + ENTER)
        self.wait_for(lambda screen: len(screen.lines) > count and screen.lines[-1] == ">")
        return "\n".join(self.lines[count:-1])

    def end(self):
        status = self.process.wait(LIMIT)
        self.close()
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for end in (self._parent, self._child):
            if end >= 0:
                os.close(end)
        self._parent = self._child = -1
