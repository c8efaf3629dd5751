"""Prepared graphs compute what llama.cpp computes, and are whole or not there."""

import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gritlite.convert import convert
from gritlite.errors import (
    ArchitectureError,
    CancelledError,
    FileError,
    LibraryError,
    MissingExtraError,
    OutOfMemoryError,
)
from gritlite.modelfile.header import read_header
from gritlite.runtime.llama import LlamaEngine
from gritlite.runtime.onnx import graph_cache, preparation
from gritlite.runtime.onnx.forms import FORMS, Form
from gritlite.runtime.onnx.input_maxima import measure_inputs
from gritlite.runtime.onnx.opening import open_graph
from gritlite.system import machine
from tests.runtime.onnx.preparing import cosines, found, graph_states, prepared, states
from tests.sample_gguf import write_model
from tests.tiny import CASES, make_checkpoint

pytestmark = pytest.mark.usefixtures("cache_folder")

INT8, BLOCKS = Form("onnx", "int8"), Form("onnx", "blocks")
MODES = ("bidirectional", "causal")
# llama.cpp keeps keys and values in float16
CLOSE = {"rtol": 1e-3, "atol": 3e-3}


@pytest.mark.parametrize("case", CASES)
def test_float32_is_llama(tiny_file: Callable[..., Path], case):
    path = tiny_file(case)
    graph = prepared(path)
    for attention in MODES:
        hidden, kept = graph_states(path, graph, attention)
        expected, expected_kept = states(LlamaEngine(path, threads=1, gpu_layers=0), attention)
        np.testing.assert_allclose(hidden, expected, **CLOSE)
        for ours, theirs in zip(kept, expected_kept, strict=True):
            pairs = zip((*ours.keys, *ours.values), (*theirs.keys, *theirs.values), strict=True)
            for mine, other in pairs:
                np.testing.assert_allclose(mine.astype(np.float32), other, **CLOSE)


@pytest.mark.parametrize("case", ["llama-biases", "mixtral", "qwen2"])
def test_int8_smoothed_by_what_was_measured(tiny_file: Callable[..., Path], case):
    path = tiny_file(case)
    graph = prepared(path, INT8, maxima=measure_inputs(read_header(path), threads=1))
    assert len(graph.value_factors()) == 2
    for attention in MODES:
        hidden, (*_, kept) = graph_states(path, graph, attention)
        expected, (*_, theirs) = states(LlamaEngine(path, threads=1, gpu_layers=0), attention)
        # rounding changes the choice of experts of a few tokens
        assert np.quantile(cosines(hidden, expected), 0.2) > 0.999
        for mine, other in zip(kept.values, theirs.values, strict=True):  # smoothing is undone
            rows = (each.reshape(len(each), -1).astype(np.float32) for each in (mine, other))
            assert np.quantile(cosines(*rows), 0.2) > 0.998


def test_blocks_are_the_numbers_of_the_file(tmp_path):
    make_checkpoint(tmp_path / "checkpoint", hidden=256, feed_forward=512)
    path = tmp_path / "model.gguf"
    convert(tmp_path / "checkpoint", path, "q8_0")
    graph = prepared(path, BLOCKS)
    assert graph.value_factors() is None
    for attention in MODES:
        hidden, _ = graph_states(path, graph, attention)
        expected, _ = states(LlamaEngine(path, threads=1, gpu_layers=0), attention)
        assert cosines(hidden, expected).min() > 0.9995  # inputs are rounded in both


def test_progress_moves_to_its_end(tiny_path):
    steps: list[tuple[int, int]] = []
    prepared(tiny_path, progress=lambda *step: steps.append(step))
    done = [each for each, _ in steps]
    assert done == sorted(set(done))
    assert {total for _, total in steps} == {done[-1]}
    assert len(done) >= 4


def test_a_graph_is_written_once(tiny_path):
    graph = prepared(tiny_path)
    written = (graph.path / "weights.bin").stat().st_mtime_ns
    assert prepared(tiny_path) == found(tiny_path) == graph
    assert (graph.path / "weights.bin").stat().st_mtime_ns == written
    assert sorted(graph.sizes) == ["embed.onnx", "prefill.onnx", "weights.bin"]
    assert graph.bytes == sum(graph.sizes.values()) > 100_000


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_cancel(tiny_path, steps):
    cancel = threading.Event()
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) >= steps:
            cancel.set()

    if not steps:
        cancel.set()
    with pytest.raises(CancelledError, match="cancelled"):
        prepared(tiny_path, progress=progress, cancel=cancel)
    assert len(seen) == steps
    assert found(tiny_path) is None
    assert left() == []
    assert prepared(tiny_path) == found(tiny_path)


def left() -> list[str]:
    """What is in the folder of graphs, but for locks."""
    folder = graph_cache.cache.folder("graphs")
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


KILLED = """
import contextlib, os, signal, sys
from pathlib import Path
from gritlite.modelfile.header import read_header
from gritlite.runtime.onnx import graph_cache, preparation
from gritlite.runtime.onnx.forms import Form
from gritlite.system import files

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def progress(done, total):
    if sys.argv[2] == "writing" and done > 2:
        kill()

files.remove_on_exit = lambda _: contextlib.nullcontext()  # as after a loss of power
if sys.argv[2] == "completing":
    graph_cache.complete = kill
file = read_header(Path(sys.argv[1]))
preparation.prepare(file, Form("onnx", "float32"), threads=1, progress=progress)
"""


@pytest.mark.parametrize("moment", ["writing", "completing"])
def test_a_killed_preparation_leaves_nothing_that_counts(tiny_path, moment):
    done = subprocess.run([sys.executable, "-c", KILLED, tiny_path, moment], check=False)
    assert done.returncode == -9
    assert [name.endswith(".part") for name in left()] == [True]
    assert found(tiny_path) is None
    graph = prepared(tiny_path)
    assert left() == [graph.path.name]  # what the killed one left is removed


def test_two_at_once(tiny_path):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(prepared(tiny_path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [found(tiny_path)] * 3
    assert left() == [results[0].path.name]


def test_a_file_that_changes_while_it_is_read(tiny_path, tmp_path):
    path = shutil.copy(tiny_path, tmp_path / "model.gguf")

    def progress(done: int, total: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FileError, match="was changed or moved"):
        prepared(path, progress=progress)
    assert left() == []


def test_a_full_disk(tiny_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(0, 0, 1 << 10)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FileError, match=r"needs \d+ MiB of disk space.* has 0 MiB: free some"):
        prepared(tiny_path)
    assert left() == []


def test_too_little_memory(tiny_path, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 1 << 10)
    with pytest.raises(OutOfMemoryError, match="writing the graph"):
        prepared(tiny_path)


def test_a_write_that_fails(tiny_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(graph_cache, "complete", fail)
    with pytest.raises(FileError, match=r"cannot write the graph of .*: Input/output error"):
        prepared(tiny_path)
    assert left() == []


def test_layers_that_no_graph_is_written_for(tmp_path):
    path = write_model(tmp_path / "model.gguf", arch="gemma")
    with pytest.raises(ArchitectureError, match="gemma"):
        prepared(path)
    assert left() == []


@pytest.mark.parametrize("form", FORMS)
def test_without_the_runtime(tiny_path, monkeypatch, form):
    graph = prepared(tiny_path)
    for name in ("gritlite.runtime.onnx.onnxruntime_package", "gritlite.graph.openvino_package"):
        monkeypatch.setitem(sys.modules, name, None)
    message = rf'pip install "gritlite\[{form.runtime}\]"'
    with pytest.raises(MissingExtraError, match=message):
        prepared(tiny_path, form)
    with pytest.raises(MissingExtraError, match=r'"gritlite\[onnx\]"'):
        open_graph(graph, read_header(tiny_path), threads=1)


def test_a_version_sends_no_telemetry():
    code = (
        "import sys\n"
        "from gritlite.runtime.onnx import packages\n"
        "packages.version('openvino')\n"
        "sys.exit('openvino_telemetry' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_graph_that_the_runtime_rejects(tiny_path, monkeypatch):
    from gritlite.runtime.onnx import onnx_files

    def optimize(source: Path, *_: object) -> None:
        source.write_bytes(b"no graph")
        real(source, *_)

    real = onnx_files._optimize
    monkeypatch.setattr(onnx_files, "_optimize", optimize)
    with pytest.raises(LibraryError, match="ONNX Runtime cannot load"):
        prepared(tiny_path)
    assert left() == []


def test_the_engine_has_llamas_vocabulary(tiny_path):
    engine = open_graph(prepared(tiny_path), read_header(tiny_path), threads=1)
    llama = LlamaEngine(tiny_path, threads=1, gpu_layers=0)
    text = "Boats are 1 of two: <s> ü"
    for parse in (True, False):
        ours, theirs = (
            each.vocabulary.tokenize(text, parse_control=parse) for each in (engine, llama)
        )
        np.testing.assert_array_equal(ours, theirs)
    assert (engine.dimension, engine.trained_context) == (llama.dimension, llama.trained_context)
    engine.close()
    llama.close()
