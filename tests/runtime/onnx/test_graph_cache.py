"""A graph in the cache is used only if it is whole and fits; others are made again."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gritlite.errors import FileError
from gritlite.modelfile.header import read_header
from gritlite.runtime.onnx import graph_cache, packages
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.graph_cache import GraphFolder
from gritlite.runtime.onnx.input_maxima import measure_inputs
from gritlite.system import processor
from tests.runtime.onnx.preparing import FLOAT32, found, graph_states, prepared

pytestmark = pytest.mark.usefixtures("cache_folder")

BLOCKS, INT8 = Form("onnx", "blocks"), Form("onnx", "int8")


@pytest.fixture
def graph(tiny_path: Path) -> GraphFolder:
    return prepared(tiny_path)


def changed_record(graph: GraphFolder, **changes: object) -> None:
    path = graph.path / "graph.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGE = {
    "no record": lambda graph: (graph.path / "graph.json").unlink(),
    "half a record": lambda graph: os.truncate(graph.path / "graph.json", 100),
    "an empty record": lambda graph: (graph.path / "graph.json").write_text("{}"),
    "a list": lambda graph: (graph.path / "graph.json").write_text("[]"),
    "another format": lambda graph: changed_record(graph, version=0),
    "no files": lambda graph: changed_record(graph, files=None),
    "no model": lambda graph: changed_record(graph, model=None),
    "weights too short": lambda graph: os.truncate(graph.path / "weights.bin", 5000),
    "weights too long": lambda graph: os.truncate(graph.path / "weights.bin", 10**7),
    "no weights": lambda graph: (graph.path / "weights.bin").unlink(),
    "no graph": lambda graph: (graph.path / "prefill.onnx").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_made_again(tiny_path, graph, damage):
    expected, _ = graph_states(tiny_path, graph, "bidirectional")
    DAMAGE[damage](graph)
    assert found(tiny_path) is None
    assert [entry.graph for entry in graph_cache.entries()] == [None]
    again = prepared(tiny_path)
    assert again == graph == found(tiny_path)
    assert graph_cache.verify(again) == []
    hidden, _ = graph_states(tiny_path, again, "bidirectional")
    np.testing.assert_array_equal(hidden, expected)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (graph_cache, "GRAPH_VERSION", -1),
        (packages, "version", lambda _: "0.1"),
        (processor, "kernel_flags", lambda: ("avx3",)),
    ],
)
def test_a_graph_for_something_else(tiny_path, graph, monkeypatch, module, name, value):
    monkeypatch.setattr(module, name, value)
    assert found(tiny_path) is None
    assert prepared(tiny_path) == graph
    monkeypatch.undo()


def test_an_edited_model(tiny_path, tmp_path, graph):
    path = Path(shutil.copy(tiny_path, tmp_path / "model.gguf"))
    assert found(path) == graph  # the same bytes at another place
    tensor = read_header(path).tensors[-1]
    with path.open("r+b") as file:
        file.seek(tensor.offset + tensor.size - 4)
        file.write(np.float32(3).tobytes())
    assert found(path) is None
    edited = prepared(path)
    assert edited.path != graph.path
    assert found(tiny_path) == graph


def test_the_graph_of_what_a_file_was_is_removed(tiny_path, tiny_file, tmp_path, graph):
    path = Path(shutil.copy(tiny_path, tmp_path / "model.gguf"))
    graph_cache.remove(graph_cache.entries()[0])
    before, blocks = prepared(path), prepared(path, BLOCKS)
    shutil.copy(tiny_file("qwen2"), path)
    after = prepared(path)
    assert not before.path.exists()
    assert {entry.path for entry in graph_cache.entries()} == {blocks.path, after.path}


def test_forms_stand_beside_each_other(tiny_path, graph):
    other = prepared(tiny_path, BLOCKS)
    assert other.path != graph.path
    assert (found(tiny_path), found(tiny_path, BLOCKS)) == (graph, other)
    assert found(tiny_path, INT8) is None


def test_verify_reads_what_sizes_do_not_tell(tiny_path, graph):
    with (graph.path / "weights.bin").open("r+b") as file:
        file.write(b"damage")
    assert found(tiny_path) == graph
    assert graph_cache.verify(graph) == ["weights.bin"]
    (graph.path / "embed.onnx").unlink()
    assert graph_cache.verify(graph) == ["embed.onnx", "weights.bin"]


def test_entries_and_removal(tiny_path, tiny_file, graph):
    other = prepared(tiny_file("qwen2"), BLOCKS)
    entries = graph_cache.entries()
    assert {entry.graph.path for entry in entries} == {graph.path, other.path}
    first = next(entry for entry in entries if entry.path == graph.path)
    assert (first.model, first.form) == (tiny_path, "onnx-float32")
    assert first.bytes == graph.bytes + (graph.path / "graph.json").stat().st_size
    graph_cache.remove(first)
    graph_cache.remove(first)  # what another process removed is no error
    assert not graph.path.exists()
    assert [entry.graph for entry in graph_cache.entries()] == [other]
    assert found(tiny_path) is None


def test_no_graphs_yet():
    assert graph_cache.entries() == []


def test_a_removal_that_fails(graph, monkeypatch):
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", fail)
    (entry,) = graph_cache.entries()
    with pytest.raises(FileError, match=r"cannot remove .*: Permission denied"):
        graph_cache.remove(entry)


def test_factors_of_values(tiny_path):
    graph = prepared(tiny_path, INT8, maxima=measure_inputs(read_header(tiny_path), threads=1))
    factors = graph.value_factors()
    assert [each.shape for each in factors] == [(2, 32)] * 2
    assert all((each > 0).all() and each.dtype == np.float32 for each in factors)
    (graph.path / "value_factors.npy").write_bytes(b"nothing")
    with pytest.raises(FileError, match=r"cannot read .*value_factors\.npy"):
        graph.value_factors()


def test_a_session_outlives_the_removal_of_its_graph(tiny_path, graph):
    from gritlite.runtime.onnx.opening import open_graph

    engine = open_graph(graph, read_header(tiny_path), threads=1)
    opened = engine.open_pass(64, "bidirectional")
    ids = [np.arange(5, 40, dtype=np.int32)]
    before, _ = opened.run(ids, [0])
    graph_cache.remove(graph_cache.entries()[0])
    after, _ = opened.run(ids, [0])
    np.testing.assert_array_equal(before, after)
    opened.close()
    engine.close()


def test_a_cache_that_cannot_be_written(tiny_path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "file" / "cache"))
    assert found(tiny_path, FLOAT32) is None
    assert graph_cache.entries() == []
    with pytest.raises(FileError, match="set GRITLITE_CACHE to a folder"):
        prepared(tiny_path)
