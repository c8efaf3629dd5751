"""Counts in messages: "1 text", "2,000 texts"."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun, in the plural (by default with an "s") unless it is 1."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
