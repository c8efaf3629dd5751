"""How a schema is refused: by the keyword's name and the place of its part."""

from gritlite.errors import UsageError
from gritlite.system.wording import printable


def refusal(keyword: str, pointer: str, reason: str) -> UsageError:
    """Return the error for a keyword that cannot be held."""
    return UsageError(f"the JSON schema's {keyword!r} at {shown(pointer)} cannot be held: {reason}")


def shown(pointer: str) -> str:
    """Return a pointer for a message: one line, not too long."""
    text = printable(pointer)
    return text if len(text) <= 120 else text[:58] + "..." + text[-58:]
