"""Numbers and foreign words in messages."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 document", "2,000 documents"; `plural` where "s" is not enough."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def printable(text: str) -> str:
    """A text that may hold anything, with unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
