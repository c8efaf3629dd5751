"""What a chat session remembers: its messages, and how they are written to files.

The module does not know terminals, commands or models.
"""

import json
from collections.abc import Sequence
from typing import Any

from gritlite.errors import FormatError

Messages = list[dict[str, str]]


class Session:
    """The messages of a chat, each with `role` and `content`."""

    def __init__(self, system: str = "") -> None:
        self.messages: Messages = []
        self.system = system

    @property
    def system(self) -> str:
        """The system message, or an empty text."""
        return self.messages[0]["content"] if self._begins_with_system() else ""

    @system.setter
    def system(self, text: str) -> None:
        if self._begins_with_system():
            del self.messages[0]
        if text:
            self.messages.insert(0, {"role": "system", "content": text})

    def _begins_with_system(self) -> bool:
        return bool(self.messages) and self.messages[0]["role"] == "system"

    def ask(self, text: str) -> None:
        """Add what the user says."""
        self.messages.append({"role": "user", "content": text})

    def answer(self, text: str) -> None:
        """Add what the model answered."""
        self.messages.append({"role": "assistant", "content": text})

    def withdraw(self) -> None:
        """Take the last message back, for which there is no answer."""
        self.messages.pop()

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def to_json(self) -> str:
        """The messages as a JSON array."""
        return json.dumps(self.messages, ensure_ascii=False, indent=2) + "\n"

    def load_json(self, text: str) -> None:
        """Put the messages of a JSON array in the place of the session's own.

        Raises FormatError for what is no array of messages and UsageError for a
        message that is wrong; the session's own messages then stay.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"not JSON: {error}") from error
        if not isinstance(found, list):
            raise FormatError('not a JSON array of {"role": ..., "content": ...}')
        if found:
            _check(found)
        self.messages = [{"role": each["role"], "content": each["content"]} for each in found]


def _check(messages: Sequence[dict[str, Any]]) -> None:
    # the runtime's rule; by the time a file is loaded the runtime is too
    from gritlite.runtime.template import check_messages

    check_messages(messages)
