"""Vectors of checkpoints that sentence-transformers saved, by gritlite and by itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from gritlite import GritLM
from gritlite.convert import convert
from tests.tiny import make_checkpoint
from tests.tiny_tokenizers import SENTENCES

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
PROMPTS = {"query": "Instruct: Find the passage\nQuery: ", "document": ""}


def without_chat(folder: Path) -> Path:
    """Remove the chat template: with one, version 6 writes texts as messages."""
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    settings.pop("chat_template", None)
    path.write_text(json.dumps(settings), "utf-8")
    return folder


def saved(folder: Path, case: str, **config: Any) -> tuple[Path, SentenceTransformer]:
    """A model of random weights as sentence-transformers saves it."""
    checkpoint = without_chat(make_checkpoint(folder / "checkpoint", case, **config))
    transformer = Transformer(str(checkpoint), max_seq_length=512)
    transformer.tokenizer.pad_token = transformer.tokenizer.eos_token
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="lasttoken")
    model = SentenceTransformer(
        modules=[transformer, pooling, Normalize()], prompts=PROMPTS, device="cpu"
    )
    model.save(str(folder / "saved"))
    return folder / "saved", model


@pytest.mark.parametrize("case", ["mistral", "qwen2", "llama-tied"])
def test_the_last_tokens_vectors_agree(tmp_path: Path, case: str) -> None:
    folder, theirs = saved(tmp_path, case)
    report = convert(folder, tmp_path / "model.gguf", "f32")
    assert any("last token" in notice for notice in report.notices)
    with GritLM(tmp_path / "model.gguf", threads=1) as ours:
        found = ours.encode(list(SENTENCES))
        expected = theirs.encode(list(SENTENCES), prompt_name="document")
        assert ((found * expected).sum(-1) > 0.99999).all()
        found = ours.encode(list(SENTENCES), instruction=PROMPTS["query"])
        expected = theirs.encode(list(SENTENCES), prompt_name="query")
        assert ((found * expected).sum(-1) > 0.99999).all()
        assert ours.format.with_instruction("Find the passage") == PROMPTS["query"]


def test_texts_end_with_eos_where_the_tokenizer_adds_it(tmp_path: Path) -> None:
    """As those of e5-mistral do; a truncated text too."""
    checkpoint = without_chat(make_checkpoint(tmp_path / "checkpoint", "mistral"))
    path = checkpoint / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    template = content["post_processor"]
    template["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    template["special_tokens"]["</s>"] = {"id": "</s>", "ids": [2], "tokens": ["</s>"]}
    path.write_text(json.dumps(content), "utf-8")
    transformer = Transformer(str(checkpoint), max_seq_length=12)
    transformer.tokenizer.pad_token = transformer.tokenizer.eos_token
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="lasttoken")
    theirs = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    theirs.save(str(tmp_path / "saved"))
    assert theirs.tokenize(["a text"])["input_ids"][0][-1] == 2
    convert(tmp_path / "saved", tmp_path / "model.gguf", "f32")
    with GritLM(tmp_path / "model.gguf", threads=1) as ours:
        found = ours.encode(list(SENTENCES), max_length=12)
    assert (np.sum(found * theirs.encode(list(SENTENCES)), axis=-1) > 0.99999).all()
