"""Which texts are held out of training, so that models are chosen by what they have not seen.

A text is held out by its words alone, whatever source it comes to and in whatever order: all
questions on a passage, and all summaries of an abstract, go with it.
"""

import hashlib

from words import words

ONE_IN = 20


def is_held_out(text: str) -> bool:
    """Whether a passage, or an abstract, is not trained on."""
    digest = hashlib.blake2b(" ".join(words(text)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % ONE_IN == 0
