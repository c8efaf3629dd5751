"""Calibration texts: reads them from files and splits them into passes of both modes.

A text file is embedded paragraph by paragraph. In generate mode it is one stream of
chunks of 512 tokens, each beginning with BOS, split as llama.cpp's imatrix tool splits
it. A JSON Lines file holds rows of three kinds:

    {"text": "..."}                           for both modes, like a paragraph
    {"text": "...", "instruction": "..."}     to embed, the instruction in plain words
    {"messages": [{"role", "content"}, ...]}  to generate, in the model's chat format
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gritlite.errors import FormatError, InputError, UsageError
from gritlite.modelfile.memory import PASS_TOKENS
from gritlite.prompt import EmbedFormat
from gritlite.runtime.chunks import Tokenizing, whole_chunks
from gritlite.runtime.llama import MAX_SEQUENCES
from gritlite.runtime.packing import pack
from gritlite.runtime.sample_texts import paragraphs
from gritlite.runtime.template import Message, check_messages
from gritlite.system.textfiles import JSON_LINES, parse_json, read_lines, read_text

Tokens = tuple[int, ...]


class TokenSource(Tokenizing, Protocol):
    """Tokenizes texts and chats: a `GritLM`, or a checkpoint's equivalent tokenizer."""

    @property
    def max_length(self) -> int:
        """The maximum number of tokens in one sequence."""

    @property
    def format(self) -> EmbedFormat:
        """The embedding prompts and pooling."""

    def embed_tokens(
        self, text: str, *, instruction: str = "", max_length: int | None = None
    ) -> list[list[int]]:
        """Return the token ids of prompt and text, split into pieces of `max_length`."""

    def chat_tokens(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of a chat, up to where the next answer begins."""


@dataclass(frozen=True)
class Pass:
    """Token sequences that one pass evaluates independently of each other."""

    sequences: tuple[Tokens, ...]
    causal: bool

    @property
    def tokens(self) -> int:
        """The number of tokens in all sequences."""
        return sum(map(len, self.sequences))


def tokens_by_mode(passes: Iterable[Pass]) -> tuple[int, int]:
    """Return the number of tokens in bidirectional passes, and in causal ones."""
    found = {False: 0, True: 0}
    for each in passes:
        found[each.causal] += each.tokens
    return found[False], found[True]


class InstructedText(NamedTuple):
    """A text to embed and its instruction in plain words, "" for none."""

    instruction: str
    text: str


@dataclass(frozen=True)
class CalibrationText:
    """The contents of calibration files: `streams` has one text per file, `chats` messages."""

    documents: tuple[InstructedText, ...]
    streams: tuple[str, ...]
    chats: tuple[tuple[Message, ...], ...]


def read_texts(files: Sequence[Path]) -> CalibrationText:
    """Read calibration files.

    Raises FileError, and FormatError (with file and line) for a bad row or a file
    without text.
    """
    documents: list[InstructedText] = []
    streams: list[str] = []
    chats: list[tuple[Message, ...]] = []
    for path in files:
        if path.suffix in JSON_LINES:
            rows = list(_rows(path))
            stream = "\n\n".join(row["text"] for row in rows if row.keys() == {"text"})
        else:
            stream = read_text(path)
            rows = [{"text": paragraph} for paragraph in paragraphs(stream)]
        if not rows:
            raise FormatError(f"{path} has no text to calibrate on")
        documents += [
            InstructedText(row.get("instruction", ""), row["text"]) for row in rows if "text" in row
        ]
        chats += [tuple(row["messages"]) for row in rows if "messages" in row]
        if stream:
            streams.append(stream)
    return CalibrationText(tuple(documents), tuple(streams), tuple(chats))


def pass_tokens(model: TokenSource) -> int:
    """Return the tokens per pass: llama.cpp's chunk size, or `max_length` if it is smaller."""
    return min(PASS_TOKENS, model.max_length)


def embed_passes(model: TokenSource, texts: CalibrationText) -> list[Pass]:
    """Return packed bidirectional passes over the documents, long ones split into pieces.

    Raises InputError if there are no documents.
    """
    if not texts.documents:
        raise InputError(
            'there is nothing to embed, only chats: add a text file or rows with "text"'
        )
    size = pass_tokens(model)
    sequences: list[Tokens] = []
    for instruction, text in texts.documents:
        prompt = model.format.with_instruction(instruction)
        pieces = model.embed_tokens(text, instruction=prompt, max_length=size)
        sequences += map(tuple, pieces)
    return _packed(sequences, size, causal=False)


def generate_passes(model: TokenSource, texts: CalibrationText) -> list[Pass]:
    """Return causal passes: one per whole chunk of a stream, then the chats, packed.

    The tokens after a stream's last whole chunk are left out, as in llama.cpp. Raises
    InputError if there is no pass.
    """
    size = pass_tokens(model)
    passes = [
        Pass((tuple(chunk),), causal=True)
        for stream in texts.streams
        for chunk in whole_chunks(model, stream, size)
    ]
    chats = [tuple(model.chat_tokens(messages)) for messages in texts.chats]
    pieces = [chat[start : start + size] for chat in chats for start in range(0, len(chat), size)]
    passes += _packed(pieces, size, causal=True)
    if not passes:
        raise InputError(
            f"the calibration text has fewer than {size} tokens, one pass: add more text"
        )
    return passes


def _packed(sequences: Sequence[Tokens], size: int, *, causal: bool) -> list[Pass]:
    packs = pack([len(tokens) for tokens in sequences], size, MAX_SEQUENCES)
    return [Pass(tuple(sequences[i] for i in indices), causal) for indices in packs]


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for place, line in read_lines(path):
        row = parse_json(line, place)
        if not isinstance(row, dict) or row.keys() not in _KINDS:
            raise FormatError(
                f'{place}: expected "text" (optionally with "instruction") or "messages"'
            )
        if "messages" in row:
            if not isinstance(row["messages"], list):
                raise FormatError(f'{place}: "messages" is not a list')
            try:
                check_messages(row["messages"])
            except UsageError as error:
                raise FormatError(f"{place}: {error}") from error
        elif not all(isinstance(value, str) and value.strip() for value in row.values()):
            raise FormatError(f"{place}: a text is empty or not a string")
        yield row


_KINDS = ({"text"}, {"text", "instruction"}, {"messages"})
