"""From a prompt and a text to token ids, and which of them are the text's own.

The official package tokenizes prompt and text in one piece, so that merges may
cross the border, and counts the prompt's tokens by tokenizing it alone; the
same is done here. One thing differs on purpose: control tokens are recognised
in the prompt, which we wrote, and never in the text, which anybody may have
written.
"""

import re
from dataclasses import dataclass

import numpy as np

from gritlite.runtime.engine import Tokens, Vocabulary


@dataclass(frozen=True)
class PromptTokens:
    """A prompt made ready to be put before texts.

    `head` are the tokens up to and including the prompt's last control token,
    `tail` the plain text that follows it, and `length` the number of tokens of
    the whole prompt, which the pooled mean leaves out.
    """

    head: Tokens
    tail: str
    length: int


@dataclass(frozen=True)
class TextTokens:
    """A prompt and a text as token ids, int32 [n]; the first `start` are not the text's own."""

    ids: Tokens
    start: int

    @property
    def content(self) -> int:
        """The number of the text's own tokens."""
        return len(self.ids) - self.start


class Tokenizer:
    """Tokenizes texts for embedding with one file's vocabulary. Thread-safe."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        newline = vocabulary.tokenize("\n", parse_control=False)
        # SentencePiece vocabularies put a space before a text
        self._adds_space = len(newline) > 1 and vocabulary.piece(int(newline[0])) == b" "
        self._newline_length = len(newline)

    def prompt(self, text: str, *, add_bos: bool = True) -> PromptTokens:
        """Tokenize a prompt once for many texts."""
        vocabulary = self.vocabulary
        whole = vocabulary.tokenize(text, parse_control=True)
        head, tail = np.empty(0, np.int32), text
        control = np.flatnonzero(vocabulary.control[whole])
        if len(control):
            spelled = vocabulary.token_text(int(whole[control[-1]]))
            cut = text.rindex(spelled) + len(spelled)
            head = vocabulary.tokenize(text[:cut], parse_control=True)
            tail = text[cut:]
        if add_bos and vocabulary.adds_bos:
            head = np.concatenate([np.array([vocabulary.bos], np.int32), head])
        alone = vocabulary.tokenize(tail, parse_control=False)
        return PromptTokens(head, tail, len(head) + len(alone))

    def text(self, prompt: PromptTokens, text: str) -> TextTokens:
        """Tokenize a text behind its prompt."""
        body = self.plain(prompt.tail + text)
        return TextTokens(np.concatenate([prompt.head, body]), prompt.length)

    def plain(self, text: str, *, continues: bool = False) -> Tokens:
        """Tokenize a text in which nothing becomes a control token.

        `continues` says that other text stands before it.
        """
        vocabulary = self.vocabulary
        text = vocabulary.normalize(text)
        tokens = self.ids(text, parse_control=False, continues=continues)
        spelled = {
            vocabulary.token_text(int(token)) for token in tokens[vocabulary.control[tokens]]
        }
        if not spelled:
            return tokens
        # SentencePiece merges may spell a control token from plain pieces ("<s" + ">"): such
        # spellings are cut after their first character, where no merge can reach across
        borders = (f"(?<={re.escape(word[0])})(?={re.escape(word[1:])})" for word in spelled)
        parts = [
            self.ids(part, parse_control=False, continues=continues or number > 0)
            for number, part in enumerate(re.split("|".join(borders), text))
        ]
        return np.concatenate(parts)

    def ids(self, text: str, *, parse_control: bool, continues: bool) -> Tokens:
        """Tokenize a text, without the space before it where it continues another."""
        if not (continues and self._adds_space):
            return self.vocabulary.tokenize(text, parse_control=parse_control)
        # the space then stands before a newline, which merges with nothing
        behind = self.vocabulary.tokenize("\n" + text, parse_control=parse_control)
        return behind[self._newline_length :]


def control_token_texts(vocabulary: Vocabulary) -> list[str]:
    """How the control tokens are spelled, the longest first."""
    texts = {vocabulary.token_text(int(token)) for token in np.flatnonzero(vocabulary.control)}
    return sorted(texts - {""}, key=len, reverse=True)


def control_token_text(vocabulary: Vocabulary, token: int) -> str:
    """How a BOS or EOS token is written in a template, "" where the vocabulary has none.

    llama.cpp then names a token all the same: 11 in byte-level BPE, whatever that is.
    """
    return vocabulary.token_text(token) if token >= 0 and vocabulary.control[token] else ""
