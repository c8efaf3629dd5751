"""Tokenizes prompts and texts, and marks which tokens belong to the text.

Like the official package, it tokenizes prompt and text as one string, so that merges may
cross the boundary, and counts the prompt's tokens by tokenizing it alone. One difference
is deliberate: control tokens are recognised in the prompt, which is trusted, and never in
the text, which is not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gritlite.errors import TokenizerError
from gritlite.runtime.engine import Tokens, Vocabulary

_EASY = 32  # characters a token
_CHANGED = "\u0344"  # by every Unicode form
_LONG = 1 << 18  # characters that take longer to tokenize than it takes to look at all tokens once
_USUAL = 8  # characters a token, rather too many than too few
_WINDOW = 1 << 12  # characters in which a border is looked for
_BLANKS = " \t\n\r"
# a part of a letter is U+FFFD, and some vocabularies write a space as U+2581
_LETTER_BEFORE_BLANK = re.compile(rf"([^\W\d_]|\ufffd)[{_BLANKS}\u2581]")


@dataclass(frozen=True)
class PromptTokens:
    """A tokenized prompt, to precede many texts.

    `head` contains the tokens up to and including the prompt's last control token,
    `tail` is the plain text after it, and `length` the number of tokens in the whole
    prompt, which pooling leaves out.
    """

    head: Tokens
    tail: str
    length: int


@dataclass(frozen=True)
class TextTokens:
    """Token ids of a prompt and a text, int32 [n]; those of the text begin at `start`."""

    ids: Tokens
    start: int

    @property
    def content(self) -> int:
        """The number of tokens in the text alone."""
        return len(self.ids) - self.start


class Tokenizer:
    """Tokenizes texts for embedding with one file's vocabulary. Thread-safe."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        newline = vocabulary.tokenize("\n", parse_control=False)
        # SentencePiece vocabularies add a space before a text
        self._adds_space = len(newline) > 1 and vocabulary.piece(int(newline[0])) == b" "
        self._newline_length = len(newline)

    @cached_property
    def _most_characters(self) -> int:
        """The most characters of a text that one token stands for.

        It has no more bytes than the longest token, or where texts take a Unicode form, than
        four times as many: NFKC makes one byte of four (of U+1D5BA), NFC one of three.
        """
        longest = max(map(len, self._pieces()))
        has_form = self.vocabulary.normalize(_CHANGED) != _CHANGED
        return longest * (4 if has_form else 1)

    @cached_property
    def _ends_words(self) -> bool:
        """Whether every token ends between a letter and a blank."""
        return not any(
            _LETTER_BEFORE_BLANK.search(piece.decode("utf-8", "replace"))
            for piece in self._pieces()
        )

    @cached_property
    def _control_texts(self) -> list[str]:
        return control_token_texts(self.vocabulary)

    def _pieces(self) -> Iterator[bytes]:
        return (self.vocabulary.piece(i, special=True) for i in range(self.vocabulary.size))

    def tokens_beyond(self, characters: int, limit: int) -> int:
        """A number of tokens over `limit` that any text of so many characters has at least.

        0 if their number does not prove it. For byte-level BPE, and SentencePiece with tokens
        for bytes.
        """
        if characters <= limit * _EASY:  # it takes longer to look at all tokens once
            return 0
        least = -(-characters // self._most_characters)
        return least if least > limit else 0

    @property
    def end(self) -> Tokens:
        """EOS where the vocabulary adds it to a text, else nothing."""
        vocabulary = self.vocabulary
        return np.array([vocabulary.eos] if vocabulary.adds_eos else [], np.int32)

    def prompt(self, text: str, *, add_bos: bool = True) -> PromptTokens:
        """Tokenize a prompt once for many texts.

        Raises TokenizerError for a vocabulary with control tokens for plain text.
        """
        vocabulary = self.vocabulary
        whole = vocabulary.tokenize(text, parse_control=True)
        head, tail = np.empty(0, np.int32), text
        control = np.flatnonzero(vocabulary.control[whole])
        if len(control):
            last_control = vocabulary.token_text(int(whole[control[-1]]))
            if last_control not in text:
                raise TokenizerError(
                    f"the vocabulary marks its token {int(whole[control[-1]])} for a part of the "
                    f"prompt {text!r} as a control token: convert the model again"
                )
            cut = text.rindex(last_control) + len(last_control)
            head = vocabulary.tokenize(text[:cut], parse_control=True)
            tail = text[cut:]
        if add_bos and vocabulary.adds_bos:
            head = np.concatenate([np.array([vocabulary.bos], np.int32), head])
        alone = vocabulary.tokenize(tail, parse_control=False)
        return PromptTokens(head, tail, len(head) + len(alone))

    def text(self, prompt: PromptTokens, text: str) -> TextTokens:
        """Tokenize a text after its prompt."""
        body = self.plain(prompt.tail + text)
        return TextTokens(np.concatenate([prompt.head, body]), prompt.length)

    def beginning(self, prompt: PromptTokens, text: str, most: int) -> TextTokens:
        """Tokenize a text after its prompt, or of a long one more than its first `most` tokens.

        A long text is cut between a letter and a blank. Where no token of the vocabulary holds
        both, no merge crosses the cut, so the tokens before it are those of the whole text.
        """
        size = max(most * _USUAL, _WINDOW)
        while len(text) > max(2 * size, _LONG) and (cut := self._border(prompt, text, size)):
            first = self.text(prompt, text[:cut])
            if len(first.ids) > most:
                return first
            size *= 2
        return self.text(prompt, text)

    def _border(self, prompt: PromptTokens, text: str, size: int) -> int:
        """How many of the first `size` characters can be tokenized without the others; 0: none."""
        at = next((i for i in range(size, size - _WINDOW, -1) if self._is_border(text, i)), 0)
        first = prompt.tail + text[:at]
        # what `plain` does about a control token's text depends on all of a text
        has_control = any(word in first for word in self._control_texts)
        return 0 if has_control or not self._ends_words or not _is_unicode(text) else at

    def _is_border(self, text: str, at: int) -> bool:
        """Whether a blank follows what is a letter, also in the vocabulary's Unicode form."""
        return text[at] in _BLANKS and self.vocabulary.normalize(text[at - 1])[-1:].isalpha()

    def plain(self, text: str, *, continues: bool = False) -> Tokens:
        """Tokenize a text without recognising control tokens.

        `continues` means that other text precedes it.
        """
        vocabulary = self.vocabulary
        text = vocabulary.normalize(text)
        tokens = self.ids(text, parse_control=False, continues=continues)
        merged = {vocabulary.token_text(int(token)) for token in tokens[vocabulary.control[tokens]]}
        if not merged:
            return tokens
        # SentencePiece can merge plain pieces ("<s" + ">") into a control token: split its text
        # after the first character, so that no merge can cross
        borders = (f"(?<={re.escape(word[0])})(?={re.escape(word[1:])})" for word in merged)
        parts = [
            self.ids(part, parse_control=False, continues=continues or number > 0)
            for number, part in enumerate(re.split("|".join(borders), text))
        ]
        return np.concatenate(parts)

    def ids(self, text: str, *, parse_control: bool, continues: bool) -> Tokens:
        """Tokenize a text, without the added space if it continues another."""
        if not (continues and self._adds_space):
            return self.vocabulary.tokenize(text, parse_control=parse_control)
        # add the space before a newline instead, which merges with nothing, and drop both
        tokens = self.vocabulary.tokenize("\n" + text, parse_control=parse_control)
        return tokens[self._newline_length :]


def _is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which tokenizing would refuse."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def control_token_texts(vocabulary: Vocabulary) -> list[str]:
    """Return the texts of the control tokens, the longest first."""
    texts = {vocabulary.token_text(int(token)) for token in np.flatnonzero(vocabulary.control)}
    return sorted(texts - {""}, key=len, reverse=True)


def control_token_text(vocabulary: Vocabulary, token: int) -> str:
    """Return the text of a BOS or EOS token for templates, "" if the vocabulary has none.

    llama.cpp reports an arbitrary token in that case: id 11 for byte-level BPE.
    """
    return vocabulary.token_text(token) if token >= 0 and vocabulary.control[token] else ""
