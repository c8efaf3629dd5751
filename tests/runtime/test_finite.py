"""A model that computes NaN says so, and nothing of it is returned, stored or printed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gritlite import GritLM, NotFiniteError
from gritlite.cli.commands.embed import command as embed_command
from gritlite.modelfile.header import read_header
from gritlite.quant.finite import count_not_finite
from gritlite.rag.store import Store
from gritlite.runtime.scorer import Scorer

USER = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def damaged(tiny_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a copy of the tiny model with other bytes at the beginning of a tensor."""

    def damage(tensor: str, data: bytes = np.float32("nan").tobytes()) -> Path:
        content = bytearray(tiny_path.read_bytes())
        offset = next(t.offset for t in read_header(tiny_path).tensors if t.name == tensor)
        content[offset : offset + len(data)] = data
        path = tmp_path / "damaged.gguf"
        path.write_bytes(content)
        return path

    return damage


@pytest.mark.usefixtures("both_engines")
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_every_use_is_refused(damaged: Callable[..., Path], value: str) -> None:
    path = damaged("output_norm.weight", np.float32(value).tobytes())
    with GritLM(path, threads=1) as model:
        with pytest.raises(NotFiniteError, match="for the vector of text 1: its weights may be"):
            model.encode(["a", "b"])
        uses = (
            lambda: model.chat(USER, temperature=0),
            lambda: model.generate("Once", temperature=1.0),
            lambda: Scorer(model).score([5, 6, 7]),
            lambda: Scorer(model).logits([5, 6, 7]),
        )
        for use in uses:
            with pytest.raises(NotFiniteError, match="for the logits of the next token"):
                use()


@pytest.mark.usefixtures("both_engines")
def test_states_are_refused(damaged: Callable[..., Path]) -> None:
    with GritLM(damaged("blk.0.attn_norm.weight"), threads=1) as model:
        for make in (model.document_state, model.prefix_state):
            with pytest.raises(NotFiniteError, match="for a key-value state"):
                make("The inn was founded by Ada Brown.")


def test_the_text_is_numbered_among_all(
    tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = type(tiny_model._embedder._pass_for(8)).run
    tiny_model._embedder._free_pass()

    def overflow(self, sequences, starts, *, return_states=False, cancel=None):
        hidden, states = run(self, sequences, starts, return_states=return_states)
        if any(len(ids) == longest for ids in sequences):
            hidden[-1] = np.inf
        return hidden, states

    texts = ["some words " * 20] * 300 + ["some words " * 21]
    longest = len(tiny_model.embed_tokens(texts[-1])[0])
    monkeypatch.setattr("gritlite.runtime.llama.embedding_pass.LlamaPass.run", overflow)
    with pytest.raises(NotFiniteError, match="the vector of text 301"):
        list(tiny_model.encode_stream(texts))


@pytest.mark.usefixtures("both_engines")
def test_nothing_is_indexed(damaged: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The inn was founded by Ada Brown.")
    with (
        GritLM(damaged("output_norm.weight"), threads=1) as model,
        Store.open(tmp_path / "notes.grit", model) as store,
    ):
        with pytest.raises(NotFiniteError, match=r"for the vector of .*note\.txt, line 1: its wei"):
            store.add(tmp_path / "note.txt")
        with pytest.raises(NotFiniteError, match=r"for the vector of .*note\.txt, line 1: its wei"):
            store.plan()
        assert store.search("inn", mode="words") == []


@pytest.mark.usefixtures("both_engines")
def test_the_line_is_named(damaged: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\n\ntwo\n")
    model = str(damaged("output_norm.weight"))
    line = ["-m", model, "--skip-empty", "--threads", "1", str(tmp_path / "texts.txt")]
    with pytest.raises(NotFiniteError, match=r"for the vector of .*texts\.txt, line 1: its weig"):
        CliRunner().invoke(embed_command, line, standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "q8_0", "q4_k_m"])
def test_the_damaged_tensor_is_found(tmp_path: Path, tiny_file, type: str) -> None:
    from gritlite.convert import convert

    path = tmp_path / "model.gguf"
    convert(tiny_file("llama-head-dim", hidden=256, feed_forward=256), path, type)
    assert count_not_finite(read_header(path)) == {}
    tensor = next(t for t in read_header(path).tensors if t.name == "blk.1.ffn_up.weight")
    content = bytearray(path.read_bytes())
    content[tensor.offset : tensor.offset + tensor.size] = b"\xff" * tensor.size
    path.write_bytes(content)
    assert count_not_finite(read_header(path)) == {"blk.1.ffn_up.weight": tensor.elements}


def test_the_command_line(damaged: Callable[..., Path], tiny_path: Path) -> None:
    def run(*arguments: object, text: str = "hello\n") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gritlite", *map(str, arguments)]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    path = damaged("output_norm.weight")
    done = run("embed", "--model", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "gritlite: error: the model computed NaN or infinity" in done.stderr
    assert done.stderr.rstrip().endswith("gritlite inspect --check reads every weight")
    done = run("inspect", path, "--check")
    assert done.returncode == 2
    assert "NaN or infinite in output_norm.weight (1)" in done.stderr
    done = run("inspect", tiny_path, "--check")
    assert (done.returncode, done.stderr) == (0, "every weight is finite\n")
