"""The messages of a chat session, in memory and as JSON.

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
        """The system message; an empty text if there is none."""
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
        """Add the user's message."""
        self.messages.append({"role": "user", "content": text})

    def answer(self, text: str) -> None:
        """Add the model's answer."""
        self.messages.append({"role": "assistant", "content": text})

    def withdraw(self) -> None:
        """Remove the last message, which got no answer."""
        self.messages.pop()

    def last_question(self) -> str | None:
        """The user's last message; None if there is none."""
        asked = [message for message in self.messages if message["role"] == "user"]
        return asked[-1]["content"] if asked else None

    def withdraw_turn(self) -> None:
        """Remove the user's last message, and what follows it."""
        while self.messages.pop()["role"] != "user":
            pass

    def reset(self) -> None:
        """Remove all messages but the system message."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def to_json(self) -> str:
        """The messages as a JSON array."""
        return json.dumps(self.messages, ensure_ascii=False, indent=2) + "\n"

    def load_json(self, text: str) -> None:
        """Replace the messages with those of a JSON array.

        Raises FormatError if the text is not such an array and UsageError for an
        invalid message; the session then keeps the messages that it has.
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
    # the runtime's rule: imported late, when the runtime has been loaded anyway
    from gritlite.runtime.template import check_messages

    check_messages(messages)
