"""What embeds, as chosen on the command line."""

from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from gritlite.cli.commands.embed import command as embed
from gritlite.cli.commands.search import command as search
from gritlite.cli.shared import engines
from gritlite.runtime import engine_choice
from gritlite.runtime.engine_choice import Engines, Precision


def test_the_values_are_those_of_the_library() -> None:
    assert get_args(Engines) == engines.ENGINES
    assert get_args(Precision) == engines.PRECISIONS


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The arguments with which engines are prepared; nothing is."""
    calls: list[dict] = []

    def prepare_engine(model, *, progress, **options):
        calls.append(options)
        for done in (0, 500, 1000):
            progress(done, 1000)
        return "llama"

    monkeypatch.setattr(engine_choice, "prepare_engine", prepare_engine)
    monkeypatch.setattr(engine_choice, "most_bytes", lambda *_: 5 << 20)
    monkeypatch.setattr(engine_choice, "open_graph", lambda *_: None)
    monkeypatch.setattr("gritlite.runtime.model.open_graph", lambda *_: None)
    monkeypatch.setenv("GRITLITE_ENGINE", "auto")
    return calls


def run_embed(path: Path, *options: str):
    texts = path.with_name("texts.txt")
    texts.write_text("one text\nanother text\n", "utf-8")
    return CliRunner().invoke(embed, [str(texts), "-m", str(path), *options])


def test_the_first_long_input_of_embed_compares_engines(asked, tiny_path, monkeypatch) -> None:
    assert run_embed(tiny_path).exit_code == 0
    assert asked == []
    monkeypatch.setattr("gritlite.cli.commands.embed._LONG", 10)
    done = run_embed(tiny_path, "--threads", "2")
    assert done.exit_code == 0
    assert asked == [{"engine": "auto", "precision": None, "threads": 2, "gpu_layers": "auto"}]
    (line,) = [line for line in done.stderr.splitlines() if "engines" in line]
    assert line == (
        "gritlite: comparing engines, once for model.gguf; up to 5.0 MiB stay in the cache"
    )


def test_llama_is_not_compared(asked, tiny_path: Path, monkeypatch) -> None:
    assert run_embed(tiny_path, "--engine", "llama").exit_code == 0
    monkeypatch.setenv("GRITLITE_ENGINE", "llama")
    assert run_embed(tiny_path).exit_code == 0
    assert asked == []


def test_a_runtime_is_prepared(asked, tiny_path: Path) -> None:
    done = run_embed(tiny_path, "--engine", "onnx", "--precision", "fast")
    assert done.exit_code == 0
    assert [each["engine"] for each in asked] == ["onnx"]
    assert [each["precision"] for each in asked] == ["fast"]
    assert "preparing the graph for onnx, once for model.gguf" in done.stderr


def test_a_search_compares_nothing(asked, tiny_path: Path, tmp_path: Path) -> None:
    arguments = ["words", "--store", str(tmp_path / "none.grit"), "-m", str(tiny_path)]
    assert CliRunner().invoke(search, arguments).exit_code == 1  # there is no store
    assert asked == []


def test_a_mistyped_engine(tiny_path: Path, monkeypatch) -> None:
    assert "Did you mean 'onnx'?" in run_embed(tiny_path, "--engine", "onxx").stderr


def test_the_vectors_of_a_graph(exact_graph, tiny_path: Path) -> None:
    graph, llama = run_embed(tiny_path), run_embed(tiny_path, "--engine", "llama")
    assert graph.exit_code == llama.exit_code == 0
    assert graph.stdout != llama.stdout
    assert len(graph.stdout.splitlines()) == 2
