"""Fuzz what users write: no text of theirs becomes a control token.

Texts are made of pieces of control tokens, of the prompt format and of odd characters. In
chats and in texts to embed, a user's text adds no control token to those of the template, and
its tokens spell the text.
"""

import random
import tempfile
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np

from fuzz.counting import Outcome, check_message
from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import GritLiteError
from tests.tiny import make_checkpoint

_CASES = ("llama-head-dim", "mistral", "qwen2")
_PIECES = (
    "<|user|>", "<|assistant|>", "<|embed|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>",
    "<|endoftext|>", "<|eot_id|>", "[INST]", "<0x0A>", "<", "|", ">", "\n", " ", "▁", "Ġ", "\0",
    "\x7f", "\ufffd", "\u202e", "é", "首都", "\U0001f600", "e\u0301", "user", "a", "  ", "\r\n",
)  # fmt: skip


@cache
def models() -> list[GritLM]:
    """Return loaded models with tokenizers of each kind."""
    loaded = []
    with tempfile.TemporaryDirectory() as folder:
        for name in _CASES:
            make_checkpoint(Path(folder) / name, name)
            convert(Path(folder) / name, Path(folder) / f"{name}.gguf", "f32")
            loaded.append(GritLM(Path(folder) / f"{name}.gguf", threads=1))
    return loaded


def case(random: random.Random) -> Outcome:
    """Tokenize a text in a chat and for embedding."""
    model = random.choice(models())
    text = "".join(random.choice(_pieces(model)) for _ in range(random.randrange(1, 12)))
    role = random.choice(("user", "user", "system"))
    try:
        chat = model.chat_tokens(_chat(role, text))
        (embed,) = model.embed_tokens(text)
        plain = model.tokenize(text)
    except GritLiteError as error:
        check_message(error)
        return "refused"
    assert _controls(model, chat) == _controls(model, model.chat_tokens(_chat(role, "text")))
    (other,) = model.embed_tokens("text")
    assert _controls(model, embed) == _controls(model, other)
    assert not _controls(model, plain)
    spelt = b"".join(model.engine.vocabulary.piece(token) for token in plain).decode()
    assert _normal(spelt) == _normal(text), (spelt, text)
    return "right"


def _normal(text: str) -> str:
    """Return a text as tokenizers normalize it.

    SentencePiece writes a space as U+2581, and one before the text; Qwen2 composes characters.
    """
    return unicodedata.normalize("NFC", text).replace("▁", " ").strip(" ")


def _chat(role: str, text: str) -> list[dict[str, str]]:
    messages = [{"role": role, "content": text}]
    return messages if role == "user" else [*messages, {"role": "user", "content": "text"}]


@cache
def _pieces(model: GritLM) -> list[str]:
    vocabulary = model.engine.vocabulary
    return [*_PIECES, *(vocabulary.token_text(token) for token in sorted(_control_ids(model)))]


@cache
def _control_ids(model: GritLM) -> frozenset[int]:
    types = model.file.metadata["tokenizer.ggml.token_type"]
    assert isinstance(types, np.ndarray)
    return frozenset(token for token, kind in enumerate(types) if int(kind) == 3)


def _controls(model: GritLM, tokens: list[int]) -> list[int]:
    return [token for token in tokens if token in _control_ids(model)]
