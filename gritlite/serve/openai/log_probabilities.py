"""`logprobs` in OpenAI's two shapes: of chats, and of completions.

They are of the model's own distribution, as OpenAI's: before temperature, filters, penalties
and grammars.
"""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from gritlite.runtime.engine import Vocabulary
from gritlite.runtime.log_probabilities import TokenLogProbability
from gritlite.serve.service.answers import AnswerStream


class Likely(BaseModel):
    """A token and its log-probability."""

    token: str = Field(description="Its text; bytes that are not UTF-8 are replaced.")
    logprob: float = Field(description="Natural, of the distribution before any sampler.")
    bytes: list[int] = Field(description="Its bytes.")


class TokenLogprob(Likely):
    """A token of an answer."""

    top_logprobs: list[Likely] = Field(description="The likeliest tokens at its place.")


class ChatLogprobs(BaseModel):
    """The log-probabilities of an answer's tokens."""

    content: list[TokenLogprob]
    refusal: None = None


class CompletionLogprobs(BaseModel):
    """The log-probabilities of an answer's tokens, a list for each kind of fact."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int] = Field(description="Where in the choice's text each token begins.")


@dataclass(frozen=True)
class PlacedToken:
    """A token's record, and the number of characters of the answer before it."""

    record: TokenLogProbability
    start: int


class Teller:
    """Tells of each token of one answer once, when the text in which it begins is told.

    Tokens of a stop string, which the text does not have, are never told.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._told = 0
        self._start = 0

    def until(self, answer: AnswerStream, length: int) -> list[PlacedToken]:
        """The tokens not told yet that begin before `length` characters."""
        found: list[PlacedToken] = []
        for record in answer.logprobs[self._told :]:
            if self._start >= length:
                break
            found.append(PlacedToken(record, self._start))
            self._told += 1
            self._start += len(self._decoder.decode(self._vocabulary.piece(record.token)))
        return found

    def chat(self, answer: AnswerStream, length: int) -> ChatLogprobs:
        """`until` in the shape of chats."""
        return ChatLogprobs(content=list(self._of_chat(self.until(answer, length))))

    def _of_chat(self, tokens: Sequence[PlacedToken]) -> Iterator[TokenLogprob]:
        for token in tokens:
            record = token.record
            top = [Likely(**self._likely(*pair)) for pair in record.likeliest]
            likely = self._likely(record.token, record.log_probability)
            yield TokenLogprob(**likely, top_logprobs=top)

    def _likely(self, token: int, log_probability: float) -> dict[str, Any]:
        piece = self._vocabulary.piece(token, special=True)
        text = piece.decode("utf-8", "replace")
        return {"token": text, "logprob": log_probability, "bytes": list(piece)}

    def completion(self, answer: AnswerStream, length: int) -> CompletionLogprobs:
        """`until` in the shape of completions."""
        tokens = self.until(answer, length)
        return CompletionLogprobs(
            tokens=[self._text(token.record.token) for token in tokens],
            token_logprobs=[token.record.log_probability for token in tokens],
            top_logprobs=[self._top(token.record) for token in tokens],
            text_offset=[token.start for token in tokens],
        )

    def _text(self, token: int) -> str:
        return self._vocabulary.piece(token, special=True).decode("utf-8", "replace")

    def _top(self, record: TokenLogProbability) -> dict[str, float]:
        """The likeliest tokens by text, and the chosen one, which may not be among them."""
        pairs = [*record.likeliest, (record.token, record.log_probability)]
        best: dict[str, float] = {}
        for token, value in pairs:  # the likeliest first: of tokens with one text it stays
            best.setdefault(self._text(token), value)
        return best
