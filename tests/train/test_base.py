"""Bases that embed in another form than the trainer computes are refused before training."""

from pathlib import Path

import pytest

from gritlite.convert import convert
from gritlite.errors import FormatError
from gritlite.prompt import EmbedFormat
from gritlite.train.base import read_form
from tests.convert.test_accepted import sentence_transformers
from tests.tiny import make_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint", "llama-tied")


def test_gritlms_form_is_taken_from_a_folder_and_from_a_file(
    checkpoint: Path, tmp_path: Path
) -> None:
    convert(checkpoint, tmp_path / "model.gguf", "f32")
    assert read_form(checkpoint) == read_form(tmp_path / "model.gguf") == EmbedFormat()


def test_a_model_of_the_last_tokens_vector_is_refused(checkpoint: Path) -> None:
    sentence_transformers(checkpoint)
    with pytest.raises(FormatError, match="embeds by its last token"):
        read_form(checkpoint)


def test_a_file_for_llama_cpps_own_embedding_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "model.gguf", "f32", for_embedding=True)
    with pytest.raises(FormatError, match="counts their tokens: name the model that it was made"):
        read_form(tmp_path / "model.gguf")
