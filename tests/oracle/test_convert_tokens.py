"""A converted tokenizer gives, in llama.cpp, the ids that transformers gives for the checkpoint."""

import unicodedata
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from gritlite.convert import convert
from gritlite.modelfile.header import read_header
from tests.nasty_texts import NASTY_TEXTS
from tests.reference import loaded, tokenize
from tests.tiny import make_checkpoint
from tests.tiny_tokenizers import BYTE_LEVEL_KINDS, SENTENCES

pytestmark = pytest.mark.torch

TEXTS = (*NASTY_TEXTS, *SENTENCES, *(a + b for a in NASTY_TEXTS[::5] for b in SENTENCES))


@pytest.mark.parametrize(
    ("case", "tokenizer"),
    [
        ("mistral", "sentencepiece"),
        ("mistral", "sentencepiece-json"),
        *[("llama-tied", kind) for kind in BYTE_LEVEL_KINDS],
    ],
)
def test_ids_are_those_of_transformers(case: str, tokenizer: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", case, tokenizer=tokenizer)
    check_ids(folder, tmp_path / "model.gguf")


def test_as_saved_again_by_transformers(tmp_path: Path) -> None:
    """transformers 5 leaves out tokenizer.model, and rewrites the other files."""
    folder = make_checkpoint(tmp_path / "model")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "saved" / name).write_bytes((folder / name).read_bytes())
    check_ids(tmp_path / "saved", tmp_path / "model.gguf")


def test_a_prefix_only_where_there_is_no_space(tmp_path: Path) -> None:
    """transformers 5 reads Llama's tokenizer so; llama.cpp always puts a space before a text."""
    folder = make_checkpoint(tmp_path / "model", "llama-tied", tokenizer="sentencepiece-json")
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.save_pretrained(folder)
    assert "Metaspace" in (folder / "tokenizer.json").read_text("utf-8")
    convert(folder, tmp_path / "model.gguf", "f16")
    with loaded(tmp_path / "model.gguf", vocab_only=True) as model:
        for text in TEXTS:
            # of nothing but one space llama.cpp would be left with nothing
            if text != " ":
                shorter = text[1:] if text.startswith((" ", "\u2581")) else text
                assert tokenize(model, shorter) == theirs(text).input_ids, repr(text)


def check_ids(folder: Path, output: Path) -> None:
    convert(folder, output, "f16")
    form = read_header(output).metadata.get("grit.tokenizer.normalizer")
    theirs = AutoTokenizer.from_pretrained(folder)
    with loaded(output, vocab_only=True) as model:
        for text in TEXTS:
            normal = unicodedata.normalize(form, text) if form else text
            assert tokenize(model, normal) == theirs(text).input_ids, repr(text)
