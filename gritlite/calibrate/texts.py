"""Calibration texts: read from files, and cut into the passes that both modes make of them.

A text file is embedded paragraph by paragraph, and read on in generate mode as
one stream of chunks of 512 tokens, each beginning with BOS, as llama.cpp's own
imatrix tool cuts it. A JSON Lines file holds rows of three kinds:

    {"text": "..."}                           for both modes, as a paragraph is
    {"text": "...", "instruction": "..."}     to embed, the instruction in plain words
    {"messages": [{"role", "content"}, ...]}  to generate, in the model's chat format
"""

import re
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
from gritlite.runtime.template import Message, check_messages
from gritlite.system.textfiles import JSON_LINES, parse_json, read_lines, read_text

Tokens = tuple[int, ...]


class TokenSource(Tokenizing, Protocol):
    """A `GritLM`, or a checkpoint's tokenizer that gives the same tokens."""

    @property
    def max_length(self) -> int:
        """The most tokens of one sequence."""

    @property
    def format(self) -> EmbedFormat:
        """How texts are embedded."""

    def embed_tokens(
        self, text: str, *, instruction: str = "", max_length: int | None = None
    ) -> list[list[int]]:
        """Prompt and text as token ids, in pieces of `max_length`."""

    def chat_tokens(self, messages: Sequence[Message]) -> list[int]:
        """A chat as token ids, up to where the next answer begins."""


@dataclass(frozen=True)
class Pass:
    """Sequences of tokens that one pass evaluates side by side."""

    sequences: tuple[Tokens, ...]
    causal: bool

    @property
    def tokens(self) -> int:
        """How many tokens it has."""
        return sum(map(len, self.sequences))


def tokens_by_mode(passes: Iterable[Pass]) -> tuple[int, int]:
    """How many tokens passes embed, and how many they read."""
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

    Raises FileError, and FormatError that names file and line, also for a file
    that holds nothing.
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
            rows = [{"text": paragraph} for paragraph in _paragraphs(stream)]
        if not rows:
            raise FormatError(f"{path} holds no text to calibrate with")
        documents += [
            InstructedText(row.get("instruction", ""), row["text"]) for row in rows if "text" in row
        ]
        chats += [tuple(row["messages"]) for row in rows if "messages" in row]
        if stream:
            streams.append(stream)
    return CalibrationText(tuple(documents), tuple(streams), tuple(chats))


def pass_tokens(model: TokenSource) -> int:
    """The tokens of one pass: llama.cpp's chunk, or what a small model was trained for."""
    return min(PASS_TOKENS, model.max_length)


def embed_passes(model: TokenSource, texts: CalibrationText) -> list[Pass]:
    """Bidirectional passes over the documents, packed; long ones in pieces.

    Raises InputError if there are none.
    """
    if not texts.documents:
        raise InputError(
            'there is nothing to embed, only chats: give a text file too, or rows with "text"'
        )
    size = pass_tokens(model)
    sequences: list[Tokens] = []
    for instruction, text in texts.documents:
        prompt = model.format.with_instruction(instruction)
        pieces = model.embed_tokens(text, instruction=prompt, max_length=size)
        sequences += map(tuple, pieces)
    return _packed(sequences, size, causal=False)


def generate_passes(model: TokenSource, texts: CalibrationText) -> list[Pass]:
    """Causal passes over the streams, a chunk each, and over the chats, packed.

    The tokens behind a stream's last whole chunk are left out, as llama.cpp does.
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
            f"the calibration text has less than {size} tokens, one pass: give more of it"
        )
    return passes


def _packed(sequences: Sequence[Tokens], size: int, *, causal: bool) -> list[Pass]:
    packs = pack([len(tokens) for tokens in sequences], size, MAX_SEQUENCES)
    return [Pass(tuple(sequences[i] for i in indices), causal) for indices in packs]


def _paragraphs(text: str) -> list[str]:
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if part]


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for place, line in read_lines(path):
        row = parse_json(line, place)
        if not isinstance(row, dict) or row.keys() not in _KINDS:
            raise FormatError(f'{place}: expected "text", with "instruction" or not, or "messages"')
        if "messages" in row:
            if not isinstance(row["messages"], list):
                raise FormatError(f'{place}: "messages" is no list')
            try:
                check_messages(row["messages"])
            except UsageError as error:
                raise FormatError(f"{place}: {error}") from error
        elif not all(isinstance(value, str) and value.strip() for value in row.values()):
            raise FormatError(f"{place}: a text is empty, or none")
        yield row


_KINDS = ({"text"}, {"text", "instruction"}, {"messages"})
