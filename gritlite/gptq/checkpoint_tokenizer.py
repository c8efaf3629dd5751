"""Tokenize with a checkpoint's own tokenizer, through the interface that calibration needs.

The ids equal those of the runtime with the converted file (tests/oracle).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from gritlite.convert.pretrained import load_config, load_tokenizer
from gritlite.errors import EmptyTextError
from gritlite.prompt import EmbedFormat
from gritlite.runtime.template import GRIT_TEMPLATE, Message


class CheckpointTokenizer:
    """The tokenizer methods of `GritLM`, implemented with a transformers tokenizer.

    `max_length` is the longest sequence, in tokens, that the model was trained for.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        self.max_length = max_length
        self.format = EmbedFormat()

    @classmethod
    def of(cls, model: Path) -> Self:
        """Load that of a Hugging Face folder or GGUF file. Raises FileError, ArchitectureError."""
        return cls(load_tokenizer(model), load_config(model).max_position_embeddings)

    @property
    def bos(self) -> int | None:
        """The token that begins every input, None where the tokenizer adds none."""
        ids = self._tokenizer("").input_ids
        return self._tokenizer.bos_token_id if self._tokenizer.bos_token_id in ids[:1] else None

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a plain text, without BOS; nothing in it becomes a control token."""
        return self._plain(text)[len(self._begin) :]

    def embed_tokens(
        self, text: str, *, instruction: str = "", max_length: int | None = None
    ) -> list[list[int]]:
        """Token ids of prompt and text, in pieces of `max_length`, each behind the prompt.

        Raises EmptyTextError.
        """
        prompt = instruction or self.format.prompt
        start = len(self._plain(prompt))
        ids = self._plain(prompt + text)
        head, body = ids[:start], ids[start:]
        if not body:
            raise EmptyTextError("empty, without tokens to pool: leave it out", 0)
        room = (max_length or self.max_length) - start
        return [head + body[place : place + room] for place in range(0, len(body), room)]

    def chat_tokens(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat, up to where the next answer begins."""
        rendered = self._tokenizer.apply_chat_template(
            list(messages),
            chat_template=self._tokenizer.chat_template or GRIT_TEMPLATE,
            tokenize=False,
            add_generation_prompt=True,
        )
        return list(self._tokenizer(rendered, add_special_tokens=False).input_ids)

    @property
    def _begin(self) -> list[int]:
        return [] if self.bos is None else [self.bos]

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer(text, split_special_tokens=True).input_ids)
