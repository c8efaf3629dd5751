"""Numbers in messages."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 document", "2,000 documents"; `plural` where "s" is not enough."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
