"""What was typed in earlier chats, for the arrow keys: a file that only its user can read.

One JSON string on each line, the oldest first. A message that begins with a space is not
kept, as in shells. The module knows no terminal.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_state_path

VARIABLE = "GRITLITE_HISTORY"
KEPT = 1000  # messages
_LARGEST = 1 << 16  # bytes of a message that is kept
_MOST_READ = 1 << 24  # bytes
_PRIVATE = 0o600


class History:
    """The messages in a file. Without a file nothing is kept.

    Raises OSError from `load` and `add` if the file cannot be read or written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def load(self) -> list[str]:
        """The last messages, the oldest first. Lines that are damaged are left out."""
        if self.path is None or not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - _MOST_READ))
            lines = file.read(_MOST_READ).splitlines(keepends=True)
        if len(lines) > 2 * KEPT:
            self._write(b"".join(lines[-KEPT:]))
        return [message for line in lines[-KEPT:] if (message := _message(line))]

    def add(self, message: str) -> None:
        """Append a message, in one write, so that two chats can share the file."""
        line = json.dumps(message).encode() + b"\n"
        if self.path is None or message.startswith(" ") or len(line) > _LARGEST:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.path, "ab", opener=_private) as file:
            file.write(line)

    def _write(self, content: bytes) -> None:
        """Replace the file in one step."""
        assert self.path is not None
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with open(new, "xb", opener=_private) as file:
                file.write(content)
            new.replace(self.path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _PRIVATE)


def _message(line: bytes) -> str:
    with suppress(ValueError, RecursionError):
        message = json.loads(line)
        if isinstance(message, str):
            return message
    return ""


def users_history() -> History:
    """The history in $GRITLITE_HISTORY, or else in the folder where the system keeps states.

    An empty variable keeps none, and so does a user without a home folder.
    """
    stated = os.environ.get(VARIABLE)
    try:
        if stated is not None:
            return History(Path(stated).expanduser() if stated else None)
        return History(user_state_path("gritlite", appauthor=False) / "chat_history.jsonl")
    except RuntimeError:  # no home folder
        return History(None)
