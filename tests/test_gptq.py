"""What `convert_to_gptq` refuses, and leaves behind, around GPTQModel (tests/gptq runs that)."""

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gritlite.convert import convert
from gritlite.errors import (
    FormatError,
    LibraryError,
    MissingExtraError,
    OutputExistsError,
    UsageError,
)
from gritlite.gptq import conversion
from gritlite.gptq.conversion import convert_to_gptq
from gritlite.prompt import encode_projection
from gritlite.system import processes
from tests.sample_gguf import rewrite
from tests.tiny import make_checkpoint, write_tensors


@pytest.fixture(autouse=True)
def extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were installed."""
    monkeypatch.setattr(conversion, "find_spec", lambda _: True)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("some words\n" * 2000)
    return path


def test_a_quantized_source(checkpoint: Path, text: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "q8_0.gguf", "q8_0")
    with pytest.raises(UsageError, match=r"q8_0\.gguf is quantized already \(token_embd.weight\)"):
        convert_to_gptq(tmp_path / "q8_0.gguf", tmp_path / "solved", [text])


def test_without_the_extra(
    checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"GPTQ needs the package gptqmodel: .*\[gptq\]"):
        convert_to_gptq(checkpoint, tmp_path / "solved", [text])


@pytest.mark.parametrize(
    ("key", "value"),
    [("prompt", "passage: "), ("projection", encode_projection(np.eye(64)))],
)
def test_a_source_with_prompts_or_a_projection_of_its_own(
    checkpoint: Path, text: Path, tmp_path: Path, key: str, value: str
) -> None:
    convert(checkpoint, tmp_path / "f32.gguf", "f32")
    own = rewrite(
        tmp_path / "f32.gguf",
        tmp_path / "own.gguf",
        lambda writer: writer.add_string(f"grit.embed.{key}", value),
        without=(f"grit.embed.{key}",),
    )
    with pytest.raises(
        UsageError, match="embeds with prompts, a pooling or a projection of its own"
    ):
        convert_to_gptq(own, tmp_path / "solved", [text])


def test_a_source_without_an_output_matrix(text: Path, tmp_path: Path) -> None:
    """transformers would make one of random numbers."""
    folder = make_checkpoint(tmp_path / "model", "qwen2", hidden=64)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    write_tensors(folder, {name.removeprefix("model."): each for name, each in tensors.items()})
    convert(folder, tmp_path / "model.gguf", "f32")
    for source in (folder, tmp_path / "model.gguf"):
        with pytest.raises(UsageError, match="has no output matrix"):
            convert_to_gptq(source, tmp_path / "solved", [text])


def test_a_missing_shard(checkpoint: Path, text: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"")
    with pytest.raises(FormatError):
        convert_to_gptq(checkpoint, tmp_path / "solved", [text])


def test_an_output_that_stands(checkpoint: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / "solved").mkdir()
    with pytest.raises(OutputExistsError, match="solved exists already"):
        convert_to_gptq(checkpoint, tmp_path / "solved", [text])


def test_a_failure_gives_its_last_words_and_leaves_nothing(
    checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(conversion, "_passes", lambda *_: [])
    child = ["-c", "import sys; print(1, 2); sys.exit('torch: no room\\n\\nout of memory\\n')"]
    monkeypatch.setattr(processes, "module_command", lambda _: (sys.executable, *child))
    seen: list[tuple[int, int]] = []
    with pytest.raises(LibraryError, match=r"^GPTQModel failed: out of memory$"):
        convert_to_gptq(
            checkpoint, tmp_path / "solved", [text], on_progress=lambda *done: seen.append(done)
        )
    assert seen == [(1, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
