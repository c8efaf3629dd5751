"""Tokenize training rows, to the same ids as in the runtime.

Control tokens come from templates only: a text that spells one is embedded as plain
text, and refused in a chat, where it could not be distinguished from the template's own.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gritlite.errors import FormatError
from gritlite.prompt import EmbedFormat, after_document, cached_question, question_after
from gritlite.train.rows import ChatRow, DocumentRow, Text

if TYPE_CHECKING:
    from gritlite.runtime.template import Message


@dataclass(frozen=True)
class EmbedTokens:
    """A prompt and a text; the mean is taken from `start` on."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class GenerateTokens:
    """Tokens of which those where `loss` is True are learned.

    They begin with `documents` of so many tokens, whose states were stored: each attends to
    itself, in both directions. `prompt` is what the answer follows where the same documents
    stand in the user's message.
    """

    ids: tuple[int, ...]
    loss: tuple[bool, ...]
    documents: tuple[int, ...] = ()
    prompt: tuple[int, ...] = ()

    @property
    def learned(self) -> list[int]:
        """The tokens to be learned."""
        return [token for token, is_learned in zip(self.ids, self.loss, strict=True) if is_learned]

    def as_prompt(self) -> "GenerateTokens":
        """The answer after the documents in a prompt."""
        begin = self.loss.index(True)
        ids, loss = self.ids[begin:], self.loss[begin:]
        return GenerateTokens(self.prompt + ids, (False,) * len(self.prompt) + loss)


class Formatter:
    """Formats rows as prompts and tokenizes them, up to `max_tokens` per text.

    `tokenizer` is a transformers tokenizer.
    """

    def __init__(self, tokenizer: Any, embed_format: EmbedFormat) -> None:
        # llama.cpp comes with it, which training from packed rows does without
        from gritlite.runtime.template import GRIT_TEMPLATE

        self._tokenizer = tokenizer
        self._format = embed_format
        self._template = tokenizer.chat_template or GRIT_TEMPLATE
        self._controls = tuple(
            str(token) for token in tokenizer.added_tokens_decoder.values() if token.special
        )
        self._prompt_lengths: dict[str, int] = {}

    @property
    def digest(self) -> str:
        """What tells these tokens from others': a digest of the tokenizer and the prompts."""
        said = [self._tokenizer.backend_tokenizer.to_str(), self._template, repr(self._format)]
        return hashlib.sha256("\0".join(said).encode()).hexdigest()

    def embed(self, text: Text, max_tokens: int) -> EmbedTokens:
        """Tokenize a text to embed, cut to `max_tokens` including its prompt.

        Raises FormatError if none of its tokens remain.
        """
        prompt = self._format.with_instruction(text.instruction)
        if prompt not in self._prompt_lengths:
            self._prompt_lengths[prompt] = len(self._plain(prompt))
        start = self._prompt_lengths[prompt]
        ids = self._plain(prompt + text.text)[:max_tokens]
        if len(ids) <= start:
            raise FormatError(f"no token is left of {text.text[:40]!r} within {max_tokens}")
        return EmbedTokens(ids, start)

    def chat(self, row: ChatRow, max_tokens: int) -> GenerateTokens | None:
        """Tokenize a chat whose assistant turns are learned; None if it exceeds `max_tokens`.

        All of a plain text is learned, and it is cut instead.
        """
        if len(row.turns) == 1:
            ids = self._plain(row.turns[0])[:max_tokens]
            return GenerateTokens(ids, (False,) + (True,) * (len(ids) - 1))
        messages = [
            {"role": "assistant" if number % 2 else "user", "content": turn}
            for number, turn in enumerate(row.turns)
        ]
        return _fitting(self._learned(self._exchanges(messages)), max_tokens)

    def document(self, row: DocumentRow, max_tokens: int) -> GenerateTokens | None:
        """Tokenize an answer from documents' states; None if it exceeds `max_tokens`.

        As the runtime joins states, only the first has a BOS token.
        """
        documents = [self._plain(self._format.prompt + text) for text in row.documents]
        begins = documents[0][0] == self._tokenizer.bos_token_id
        bos = self._tokenizer.bos_token if begins else ""
        documents[1:] = [ids[1:] if begins else ids for ids in documents[1:]]
        question = cached_question(row.question)
        ((prompt, answer),) = self._exchanges(_exchange(question, row.answer))
        rest = self._learned([(after_document(prompt, bos), answer)])
        before = tuple(token for ids in documents for token in ids)
        ids, loss = before + rest.ids, (False,) * len(before) + rest.loss
        lengths = tuple(len(ids) for ids in documents)
        told = question_after(row.documents, row.question)
        ((whole, _),) = self._exchanges(_exchange(told, row.answer))
        return _fitting(GenerateTokens(ids, loss, lengths, self._control(whole)), max_tokens)

    def _exchanges(self, messages: "Sequence[Message]") -> Iterator[tuple[str, str]]:
        """Yield for each assistant turn what was added before it, and the turn itself."""
        for message in messages:
            self._check(message["content"])
        behind = ""
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                prompt = self._render(messages[:number], generates=True)
                answered = self._render(messages[: number + 1], generates=False)
                yield _behind(behind, prompt), _behind(prompt, answered)
                behind = answered

    def _learned(self, exchanges: Iterable[tuple[str, str]]) -> GenerateTokens:
        """Tokenize prompts and answers; the answers and their end tokens are learned."""
        ids: list[int] = []
        loss: list[bool] = []
        for prompt, answer in exchanges:
            before, said = self._control(prompt), self._control(answer)
            if self._tokenizer.eos_token_id not in said:
                raise FormatError("the chat template does not end an answer with the end token")
            # what the template puts behind the end token is not the model's to say
            learned = said.index(self._tokenizer.eos_token_id) + 1
            ids += (*before, *said)
            loss += [False] * len(before) + [True] * learned + [False] * (len(said) - learned)
        return GenerateTokens(tuple(ids), tuple(loss))

    def _render(self, messages: "Sequence[Message]", *, generates: bool) -> str:
        rendered: str = self._tokenizer.apply_chat_template(
            list(messages),
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=generates,
        )
        return rendered

    def _check(self, text: str) -> None:
        for control in self._controls:
            if control in text:
                raise FormatError(f"a text spells the control token {control}: reword it")

    def _plain(self, text: str) -> tuple[int, ...]:
        """Tokenize without control tokens, after the BOS token if the tokenizer adds one."""
        return tuple(self._tokenizer(text, split_special_tokens=True).input_ids)

    def _control(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False).input_ids)


def _exchange(question: str, answer: str) -> "list[Message]":
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _behind(start: str, rendered: str) -> str:
    """Return what follows an earlier rendering of a chat's start in the whole chat."""
    if not rendered.startswith(start):
        raise FormatError(
            "the chat template changes earlier turns when it renders later ones, so it cannot be "
            "trained"
        )
    return rendered[len(start) :]


def _fitting(tokens: GenerateTokens, max_tokens: int) -> GenerateTokens | None:
    return tokens if len(tokens.ids) <= max_tokens else None
