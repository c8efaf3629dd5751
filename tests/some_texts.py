"""Texts made of the words that the tiny tokenizers were trained on."""

import numpy as np

from tests.tiny_tokenizers import SENTENCES


def some_texts(count: int, seed: int = 0) -> list[str]:
    """Different texts of 3 to some 300 tokens, in no order of length."""
    random = np.random.default_rng(seed)
    words = " ".join(SENTENCES).split()
    sizes = random.geometric(0.07, count).clip(1, 80)
    return [f"{n} {' '.join(random.choice(words, size=size))}" for n, size in enumerate(sizes)]
