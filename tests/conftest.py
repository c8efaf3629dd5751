"""Models for all tests: tiny random ones made here, and the real small one that is pulled."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gritlite import FileError, GritLM
from gritlite.convert import convert
from gritlite.modelfile.header import GGUFFile
from gritlite.system.locate import locate
from tests.tiny import make_checkpoint
from tests.tiny_adapters import make_adapter, write_projection, write_said

# a shell's background jobs ignore Ctrl-C, and nohup's a hang-up, and hand that on to their
# children, but the children that tests start are to be interrupted
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# tests that use ONNX Runtime by itself tell nobody either
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# no graph in the user's cache is used, and none is prepared, unless a test asks for it
os.environ["GRITLITE_ENGINE"] = "llama"


def _usual_handlers() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Undo what a command that ran in this process did: Ctrl-C would end a later test."""
    _usual_handlers()
    yield
    _usual_handlers()


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes f32 GGUF files of tiny checkpoints, each once: `tiny_file("qwen2", context=256)`."""
    made: dict[tuple[object, ...], Path] = {}

    def make(case: str, **options: object) -> Path:
        key = (case, *sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp(case)
            make_checkpoint(folder / "checkpoint", case, **options)
            convert(folder / "checkpoint", folder / "model.gguf", "f32")
            made[key] = folder / "model.gguf"
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_path(tiny_file: Callable[..., Path]) -> Path:
    """A Llama with a byte-level BPE tokenizer and a context of 1,024 tokens."""
    return tiny_file("llama-head-dim")


@pytest.fixture(scope="session", params=["plain", "projected"])
def sized_path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A model of 64 dimensions whose adapter was trained to be cut to 8 and 16, f32."""
    folder = tmp_path_factory.mktemp("sized")
    base = make_checkpoint(folder / "base", "llama-head-dim")
    adapter = make_adapter(folder / "adapter", base)
    write_said(adapter, {"grit.embed.trained": "true", "grit.embed.sizes": "8 16"})
    if request.param == "projected":
        write_projection(adapter, 64)
    convert(base, folder / "model.gguf", "f32", adapter=adapter)
    return folder / "model.gguf"


@pytest.fixture
def sized_model(sized_path: Path) -> Iterator[GritLM]:
    """`sized_path` loaded, on one thread."""
    with GritLM(sized_path, threads=1) as model:
        yield model


@pytest.fixture
def tiny_model(tiny_path: Path) -> Iterator[GritLM]:
    """`tiny_path` loaded, on one thread."""
    with GritLM(tiny_path, threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def graph_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the graphs of tests, each of which is made once."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def exact_graph(monkeypatch: pytest.MonkeyPatch, graph_cache_folder: Path) -> None:
    """What embeds and reads prompts of any model is a float32 graph, without a check."""
    from gritlite.runtime import engine_choice
    from gritlite.runtime.onnx.forms import Form
    from gritlite.runtime.onnx.preparation import prepare

    def prepared(file: GGUFFile, options: Any, *_: object) -> object:
        return prepare(file, Form("onnx", "float32"), threads=options.threads)

    monkeypatch.setenv("GRITLITE_CACHE", str(graph_cache_folder))
    monkeypatch.setenv("GRITLITE_ENGINE", "onnx")
    monkeypatch.setattr(engine_choice, "_prepared", prepared)
    monkeypatch.setattr(engine_choice, "_reads_prompts", lambda *_: True)


@pytest.fixture(params=["llama", "onnx"])
def both_engines(request: pytest.FixtureRequest) -> str:
    """Run a test with each engine; return its name."""
    if request.param == "onnx":
        request.getfixturevalue("exact_graph")
    return str(request.param)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct, the base of the default model, from the cache."""
    try:
        return locate("base")
    except FileError as error:
        pytest.fail(f"the tests marked `real` need the default model, run `make pull`: {error}")


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a home folder of its own for other libraries' caches."""
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "HF_TOKEN",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "HF_HUB_CACHE",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"
