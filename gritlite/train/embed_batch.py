"""A batch to embed: rows that name texts, and each distinct text once."""

from collections.abc import Sequence

import torch

from gritlite.train.examples import Taught, TokenizedPair
from gritlite.train.tokens import EmbedTokens


class EmbedBatch:
    """The distinct texts of a batch of pairs, and which passage belongs to which query.

    A passage that several queries share is therefore not a negative of any of them.
    """

    def __init__(self, pairs: Sequence[TokenizedPair]) -> None:
        self.pairs = pairs
        self.texts: list[EmbedTokens] = []
        self.taught: list[Taught] = []
        places: dict[EmbedTokens, int] = {}

        def place(tokens: EmbedTokens, taught: Taught) -> int:
            if tokens not in places:
                places[tokens] = len(self.texts)
                self.texts.append(tokens)
                self.taught.append(taught)
            return places[tokens]

        members = [
            [place(*member) for member in zip(pair.texts, pair.taught, strict=True)]
            for pair in pairs
        ]
        self.queries = [texts[0] for texts in members]
        self.firsts = [texts[1] for texts in members if len(texts) > 1]
        self.passages = sorted({text for texts in members for text in texts[1:]})
        column = {text: number for number, text in enumerate(self.passages)}
        self.own = torch.zeros(len(pairs), len(self.passages), dtype=torch.bool)
        for row, (pair, texts) in enumerate(zip(pairs, members, strict=True)):
            for text in texts[1 : 1 + pair.positives]:
                self.own[row, column[text]] = True
