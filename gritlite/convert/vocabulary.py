"""A tokenizer as GGUF stores it, independent of the files it was read from.

The module does not read files. Keys: llama.cpp's gguf-py/gguf/constants.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from gritlite.convert.json_files import shown
from gritlite.errors import ArchitectureError, TokenizerError

PAD_SCORE = -10_000.0  # as llama.cpp's converter


class TokenType(IntEnum):
    """llama.h's enum llama_token_type; SentencePiece numbers its types the same way."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Token:
    """One entry of the vocabulary. Scores order merges if there is no merge list."""

    text: str
    type: TokenType = TokenType.NORMAL
    score: float = 0.0


@dataclass(frozen=True)
class BaseVocabulary:
    """A tokenizer before tokens are added, like Vocabulary; an unused id is None."""

    model: str
    pre: str
    tokens: tuple[Token | None, ...]
    merges: tuple[str, ...]
    add_space_prefix: bool
    normalizer: str | None


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer.

    `model` is "llama" (merges by score, unknown bytes as byte tokens) or "gpt2" (merges
    by list, on bytes). `pre` is llama.cpp's name of the pre-tokenizer. `tokens` is
    indexed by id. `special_ids` has the ids of those of bos, eos, unk and pad that
    exist, and `end_ids` the ids of tokens beside eos that end an answer. `normalizer` is a
    Unicode normalization form ("NFC") that llama.cpp does not apply itself, or None.
    """

    model: str
    pre: str
    tokens: tuple[Token, ...]
    merges: tuple[str, ...] = ()
    special_ids: Mapping[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool = False
    normalizer: str | None = None
    chat_template: str | None = None
    end_ids: tuple[int, ...] = ()

    def padded(self, size: int) -> "Vocabulary":
        """Return a copy with unused tokens added up to `size`, as in llama.cpp's converter.

        `size` is the number of rows of the embedding matrix. Raises ArchitectureError if
        there are more tokens than rows.
        """
        if len(self.tokens) > size:
            raise ArchitectureError(
                f"the tokenizer has {len(self.tokens)} tokens, but the embedding matrix "
                f"only {size} rows: the tokenizer's files belong to another model"
            )
        padding = tuple(
            Token(f"[PAD{number}]", TokenType.UNUSED, PAD_SCORE)
            for number in range(len(self.tokens), size)
        )
        return replace(self, tokens=self.tokens + padding)

    def check(self) -> None:
        """Raise TokenizerError for anything llama.cpp would abort on or get wrong."""
        self._check_texts()
        self._check_roles()
        if self.model == "llama":
            self._check_control_tokens()

    def _check_texts(self) -> None:
        seen: dict[str, int] = {}
        for number, token in enumerate(self.tokens):
            if not token.text:
                raise TokenizerError(f"token {number} is empty")
            if "\0" in token.text:
                raise TokenizerError(
                    f"token {number} is {shown(token.text)}: llama.cpp cuts it at the zero byte"
                )
            if token.text in seen:
                raise TokenizerError(
                    f"tokens {seen[token.text]} and {number} are both {shown(token.text)}: "
                    "llama.cpp needs them distinct"
                )
            seen[token.text] = number

    def _check_roles(self) -> None:
        for name, number in self.special_ids.items():
            if not 0 <= number < len(self.tokens):
                raise TokenizerError(f"the {name} token has the id {number}, which does not exist")
        for number in self.end_ids:
            if not 0 <= number < len(self.tokens):
                raise TokenizerError(
                    f"an end token has the id {number}, which does not exist: correct eos_token_id"
                )
        for name, added in (("bos", self.add_bos), ("eos", self.add_eos)):
            if added and name not in self.special_ids:
                raise TokenizerError(f"a {name} token must be added to texts, but there is none")

    def _check_control_tokens(self) -> None:
        """Check that no control token is joined from two others: llama.cpp would do that."""
        ordinary = {token.text for token in self.tokens if token.type == TokenType.NORMAL}
        for token in self.tokens:
            if token.type == TokenType.CONTROL:
                text = token.text
                if any({text[:cut], text[cut:]} <= ordinary for cut in range(1, len(text))):
                    raise TokenizerError(
                        f"llama.cpp would produce the control token {shown(text)} from plain text, "
                        "because its parts are tokens too"
                    )
