"""Log-probabilities of an answer's tokens: of the model's own distribution, before any sampler.

Temperature, filters, penalties and grammars change which token is chosen, and not these numbers,
as with OpenAI's `logprobs`.
"""

from dataclasses import dataclass

import numpy as np

from gritlite.runtime.engine import Logits, Sampler


@dataclass(frozen=True)
class TokenLogProbability:
    """A chosen token, its natural log-probability, and those of the likeliest tokens by id."""

    token: int
    log_probability: float
    likeliest: tuple[tuple[int, float], ...]


class RecordingSampler:
    """A sampler that keeps a record of each choice, with the `count` likeliest tokens."""

    def __init__(self, sampler: Sampler, count: int) -> None:
        self.records: list[TokenLogProbability] = []
        self._sampler = sampler
        self._count = count

    def choose(self, logits: Logits) -> int:
        """Return the token that the sampler chooses."""
        token = self._sampler.choose(logits)
        self.records.append(log_probabilities(logits, token, self._count))
        return token

    def close(self) -> None:
        """Free the sampler."""
        self._sampler.close()


def log_probabilities(logits: Logits, token: int, count: int) -> TokenLogProbability:
    """Return the log softmax of logits, float32 [vocabulary], at a token and the likeliest."""
    scores = logits.astype(np.float64)
    scores -= scores.max()
    scores -= np.log(np.exp(scores).sum())
    count = min(count, len(scores))
    found = np.argpartition(-scores, count - 1)[:count] if count else ()
    likeliest = sorted(((int(each), float(scores[each])) for each in found), key=lambda p: -p[1])
    return TokenLogProbability(token, float(scores[token]), tuple(likeliest))
